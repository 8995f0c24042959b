-- Looks between the ticks: who decides where to look next, and what that is decided on.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_read_looks: what the planner asks. `looked`: what was looked at since `p_since`, as [term, subject, null, when] of
-- a listing and [term, null, class_nbr, when] of a section. `sections`: those of ours that are watched since `p_since`,
-- with `p_all` every one, as [term, class_nbr, subject, watchers, open seats, when it last opened or filled, watched
-- since, last look]. With `p_all` also how many openings each hour of the day saw in two weeks. Times are epoch seconds,
-- null: never.
create or replace function public.pmc_read_looks(
    p_since timestamptz, p_all boolean, p_timezone text, p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_answer jsonb := jsonb_build_object('looked', (
        select coalesce(jsonb_agg(jsonb_build_array(
                   x.term, x.subject, x.class_nbr, floor(extract(epoch from x.looked_at)))), '[]')
        from (select l.term, l.subject, null as class_nbr, l.looked_at from pickmyclass.listings l
              where l.looked_at > p_since
              union all
              select c.term, null, c.class_nbr, c.observed_at from pickmyclass.section_checks c
              where c.observed_at > p_since) x));
begin
    -- Asked first, because all that is watched is gone through for them.
    if p_all or exists (select from public.class_watches w where w.created_at > p_since) then
        v_answer := v_answer || jsonb_build_object('sections', (
            select coalesce(jsonb_agg(jsonb_build_array(
                       s.term, s.class_nbr, coalesce(c.subject, s.subject), s.watchers,
                       coalesce(c.non_reserved_seats, c.seats_available), floor(extract(epoch from c.moved_at)),
                       floor(extract(epoch from nullif(s.watched_since, '-infinity'))),
                       floor(extract(epoch from c.observed_at)))), '[]')
            from pickmyclass.our_sections(v_now) s
            left join pickmyclass.checks_seen() c on c.term = s.term and c.class_nbr = s.class_nbr
            where p_all or s.watched_since > p_since));
    end if;
    if p_all then
        v_answer := v_answer || jsonb_build_object('openings', (
            select jsonb_agg(coalesce(o.openings, 0) order by h)
            from generate_series(0, 23) h
            left join (select extract(hour from e.observed_at at time zone p_timezone) as hour, count(*) as openings
                       from pickmyclass.section_events e
                       where e.kind = 'seat_available' and e.observed_at > v_now - interval '14 days'
                         and e.created_at > v_now - interval '15 days'
                       group by 1) o on o.hour = h));
    end if;
    return v_answer;
end $$;

-- pmc_take_looks: `leased` tells whether `p_worker` decides for the next `p_lease_seconds`; if so, with what
-- pmc_read_looks tells.
-- Race: of two at once one updates the row, and the other then finds the lease taken.
create or replace function public.pmc_take_looks(
    p_worker text, p_lease_seconds double precision, p_since timestamptz, p_all boolean, p_timezone text,
    p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.look_scheduler s set
        holder = p_worker, leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds)
    where s.holder is null or s.holder = p_worker or s.leased_until < clock_timestamp();
    if not found then
        return jsonb_build_object('leased', false);
    end if;
    perform pickmyclass.note_round(coalesce(p_now, clock_timestamp()));
    return public.pmc_read_looks(p_since, p_all, p_timezone, p_now) || jsonb_build_object('leased', true);
end $$;

-- Ends the round when every section that the source tells of was looked at since it began, and begins the next. One
-- long round moves what is usual by a tenth of three times the usual at most.
create or replace function pickmyclass.note_round(p_at timestamptz) returns void
language plpgsql as $$
declare
    v_began timestamptz;
    v_oldest timestamptz;
begin
    select s.round_began into v_began from pickmyclass.look_scheduler s;
    if v_began is null or v_began > p_at then
        update pickmyclass.look_scheduler s set round_began = p_at where s.only_row;
        return;
    end if;
    select min(coalesce(c.checked_at, '-infinity')) into v_oldest
    from pickmyclass.our_sections(p_at) o
    left join pickmyclass.checks_seen() c on c.term = o.term and c.class_nbr = o.class_nbr
    where c.last_error is null and coalesce(c.not_found_strikes, 0) = 0;
    if v_oldest >= v_began then
        update pickmyclass.look_scheduler s set
            round_began = p_at,
            round_seconds = extract(epoch from p_at - v_began),
            usual_seconds = coalesce(s.usual_seconds + 0.1 * (
                least(extract(epoch from p_at - v_began), 3 * s.usual_seconds) - s.usual_seconds),
                extract(epoch from p_at - v_began))
        where s.only_row;
    end if;
end $$;

-- pmc_leave_looks: a consumer that stops lets another decide at once.
create or replace function public.pmc_leave_looks(p_worker text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.look_scheduler s set holder = null, leased_until = null where s.holder = p_worker;
    return jsonb_build_object('left', found);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
