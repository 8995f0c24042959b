-- The roles of a Supabase project, which belong to the server. The owner of its database is no superuser.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role supabase_auth_admin nologin noinherit createrole;
grant anon, authenticated, service_role to project with admin option;
