-- Passwords that were wrong, counted by address.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_count_login: before and after a password is tried. p_outcome "ask" only asks; "failed" counts, the fifth locks
-- the address for a quarter of an hour; "succeeded" forgets. {"locked_until": time or null}. An address that nobody
-- has is counted like any other, so that the answers do not differ; what is a day old goes.
create or replace function public.pmc_count_login(p_email text, p_outcome text, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_email constant text := lower(p_email);
    v_locked timestamptz;
begin
    if p_outcome = 'failed' then
        delete from public.failed_login_attempts f where f.email in (
            select x.email from public.failed_login_attempts x
            where x.last_attempt_at < v_now - interval '1 day' limit 100 for update skip locked);
        insert into public.failed_login_attempts as f (email, attempts, last_attempt_at) values (v_email, 1, v_now)
        on conflict (email) do update
            set attempts = case when f.locked_until <= v_now or f.last_attempt_at < v_now - interval '15 minutes' then 1
                                else f.attempts + 1 end,
                locked_until = case when f.locked_until > v_now then f.locked_until
                                    when f.locked_until is null and f.last_attempt_at >= v_now - interval '15 minutes'
                                         and f.attempts + 1 >= 5 then v_now + interval '15 minutes' end,
                last_attempt_at = v_now;
    elsif p_outcome = 'succeeded' then
        delete from public.failed_login_attempts f where f.email = v_email;
    elsif p_outcome <> 'ask' then
        raise exception using errcode = '22023', message = 'p_outcome must be ask, failed or succeeded';
    end if;
    select f.locked_until into v_locked from public.failed_login_attempts f
    where f.email = v_email and f.locked_until > v_now;
    return jsonb_build_object('locked_until', v_locked);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
