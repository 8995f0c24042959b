-- What a Supabase project has before anyone migrates it, as far as PickMyClass touches it. The accounts belong to
-- another role than the rest.
create schema auth authorization supabase_auth_admin;
create table auth.users (
    id         uuid primary key default gen_random_uuid(),
    email      text unique,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
alter table auth.users owner to supabase_auth_admin;
create function auth.jwt() returns jsonb language sql stable as
$$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid language sql stable as
$$ select nullif(auth.jwt() ->> 'sub', '')::uuid $$;
grant usage on schema auth to project, anon, authenticated, service_role;
grant all on auth.users to project, service_role;
grant execute on all functions in schema auth to project;
create publication supabase_realtime;
alter publication supabase_realtime owner to project;
alter default privileges for role project in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role project in schema public
    grant execute on functions to anon, authenticated, service_role;
