-- The database itself: its settings, what was applied here, and what is ours outside our own schemas. A backup of public
-- and pickmyclass does not hold the latter, so a database restored from one misses it: new accounts would get no
-- profile, and the site's pages would not change by themselves. (And a project that gives everyone rights to whatever is
-- created in public opens our functions to everyone while they are restored.)

set check_function_bodies = off;  -- they name functions of other files

-- pmc_put_setting: writes one setting of the database's own rules (`max_watches`).
create or replace function public.pmc_put_setting(p_key text, p_value text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    insert into pickmyclass.settings (key, value) values (p_key, p_value)
    on conflict (key) do update set value = excluded.value;
    return jsonb_build_object('key', p_key, 'value', p_value);
end $$;

-- outside: what of it is missing, in words; with p_mend it is put back.
create or replace function pickmyclass.outside(p_mend boolean) returns text[]
language plpgsql as $$
declare v_missing text[] := '{}';
begin
    if not exists (select from pg_trigger t
                   where t.tgrelid = 'auth.users'::regclass and t.tgfoid = 'public.handle_new_user()'::regprocedure) then
        v_missing := v_missing || 'the trigger on auth.users that gives a new account its profile'::text;
        if p_mend then
            create trigger on_auth_user_created after insert on auth.users
                for each row execute function public.handle_new_user();
            insert into public.user_profiles (user_id) select u.id from auth.users u on conflict do nothing;
        end if;
    end if;
    if not exists (select from pg_publication_tables p where p.pubname = 'supabase_realtime'
                   and p.schemaname = 'public' and p.tablename = 'class_states') then
        v_missing := v_missing || 'class_states in the publication supabase_realtime'::text;
        if p_mend then
            alter publication supabase_realtime add table public.class_states;
        end if;
    end if;
    if exists (select from pg_proc p, unnest(array['anon', 'authenticated']) r
               where p.pronamespace = 'public'::regnamespace and p.proname like 'pmc\_%'
                 and has_function_privilege(r, p.oid, 'execute')) then
        v_missing := v_missing || 'the lock on functions that only the service may call'::text;
        if p_mend then
            perform pickmyclass.lock_down();
        end if;
    end if;
    return v_missing;
end $$;

-- pmc_read_schema: what has been applied here, for the doctor: version of the server, its time, what is missing outside
-- our schemas, its migrations and the checksums of its routine files (both null where another tool than `migrate` applied
-- them and keeps the books).
create or replace function public.pmc_read_schema() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_applied jsonb;
    v_routines jsonb;
begin
    if to_regclass('pickmyclass.schema_routines') is not null then
        select jsonb_agg(m.version order by m.version) into v_applied from pickmyclass.schema_migrations m;
        select jsonb_object_agg(r.name, r.checksum) into v_routines from pickmyclass.schema_routines r;
    end if;
    return jsonb_build_object(
        'server_version', current_setting('server_version'), 'server_time', clock_timestamp(),
        'outside', to_jsonb(pickmyclass.outside(false)), 'migrations', v_applied, 'routines', v_routines);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
