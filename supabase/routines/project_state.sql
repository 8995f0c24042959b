-- Until `./run.sh migrate --post-cutover`; after it post_cutover/project_state.sql stands in for this file.

set check_function_bodies = off;  -- they name functions of other files

-- Shows a baseline on the dashboard (and to the old code after a rollback). Never over the row of a section that
-- `workers` own, and not while the seats are unknown, which is not 0 (O29). The number alone is the key, as the
-- old Workers need it.
create or replace function pickmyclass.project_state(p_known pickmyclass.section_checks) returns void
language sql volatile as $$
    insert into public.class_states as state (
        term, subject, catalog_nbr, class_nbr, title, instructor_name, seats_available, seats_capacity,
        non_reserved_seats, location, meeting_times)
    select p_known.term, coalesce(p_known.subject, ''), coalesce(p_known.catalog_nbr, ''), p_known.class_nbr,
           p_known.title, p_known.instructor_name, p_known.seats_available, coalesce(p_known.seats_capacity, 0),
           p_known.non_reserved_seats, p_known.location, p_known.meeting_times
    where p_known.seats_available is not null
    on conflict (class_nbr) do update set
        term = excluded.term, subject = excluded.subject, catalog_nbr = excluded.catalog_nbr,
        title = excluded.title, instructor_name = excluded.instructor_name,
        seats_available = excluded.seats_available, seats_capacity = excluded.seats_capacity,
        non_reserved_seats = excluded.non_reserved_seats, location = excluded.location,
        meeting_times = excluded.meeting_times, last_checked_at = now()
        where state.term = excluded.term or pickmyclass.owner_of(state.term, state.class_nbr) <> 'workers'
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
