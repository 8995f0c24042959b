-- What every Supabase project has, only where it is missing: roles, accounts, the words of a token, the publication for
-- the browser. On a Supabase project every step finds its object and does nothing.

do $$
declare
    plain constant boolean := to_regclass('auth.users') is null;  -- not Supabase: ours to furnish
begin
    if not plain then
        return;
    end if;
    if to_regrole('anon') is null then
        create role anon nologin noinherit;
    end if;
    if to_regrole('authenticated') is null then
        create role authenticated nologin noinherit;
    end if;
    if to_regrole('service_role') is null then
        create role service_role nologin noinherit bypassrls;
    end if;
    if to_regrole('authenticator') is null then
        create role authenticator login noinherit;
        grant anon, authenticated, service_role to authenticator;
    end if;

    create schema if not exists auth;
    grant usage on schema auth to anon, authenticated, service_role;
    create table auth.users (
        id         uuid primary key default gen_random_uuid(),
        email      text unique,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
    );
    grant all on auth.users to service_role;

    -- Older Supabase projects let everyone use whatever is created in public; row level security is the fence.
    grant usage on schema public to anon, authenticated, service_role;
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges in schema public grant execute on functions to anon, authenticated, service_role;
end $$;

do $$
begin
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb language sql stable as
        $body$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $body$;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid language sql stable as
        $body$ select nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid $body$;
    end if;
    if not exists (select from pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
end $$;
