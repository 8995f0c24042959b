-- The point of no return: states are kept per term. The old Workers upsert on the number alone and cannot run after
-- this; ./run.sh migrate --post-cutover asks before it comes here.

do $$
begin
    if to_regclass('pickmyclass.ownership') is null then
        raise exception 'apply the ordinary migrations first';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('pickmyclass:ownership', 0));  -- a switch waits, or is waited for
    if exists (select from pickmyclass.ownership o where o.owner = 'workers') then
        raise exception 'workers still own sections; switch them to server first (./run.sh ops ownership server)';
    end if;
end $$;

alter table public.class_states
    drop constraint if exists class_states_class_nbr_key,
    drop constraint if exists class_states_term_class_nbr_key,
    add constraint class_states_term_class_nbr_key unique (term, class_nbr);
create index if not exists class_states_by_class_nbr on public.class_states (class_nbr);

-- As before, by the new key: no term overwrites another any more.
create or replace function pickmyclass.project_state(p_known pickmyclass.section_checks) returns void
language sql volatile as $$
    insert into public.class_states as state (
        term, subject, catalog_nbr, class_nbr, title, instructor_name, seats_available, seats_capacity,
        non_reserved_seats, location, meeting_times)
    select p_known.term, coalesce(p_known.subject, ''), coalesce(p_known.catalog_nbr, ''), p_known.class_nbr,
           p_known.title, p_known.instructor_name, p_known.seats_available, coalesce(p_known.seats_capacity, 0),
           p_known.non_reserved_seats, p_known.location, p_known.meeting_times
    where p_known.seats_available is not null
    on conflict (term, class_nbr) do update set
        subject = excluded.subject, catalog_nbr = excluded.catalog_nbr,
        title = excluded.title, instructor_name = excluded.instructor_name,
        seats_available = excluded.seats_available, seats_capacity = excluded.seats_capacity,
        non_reserved_seats = excluded.non_reserved_seats, location = excluded.location,
        meeting_times = excluded.meeting_times, last_checked_at = now()
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
