-- After `./run.sh migrate --post-cutover` this file stands in for ../project_state.sql: the same, by the new key.

set check_function_bodies = off;  -- they name functions of other files

-- Shows a baseline on the dashboard, not while the seats are unknown, which is not 0 (O29). Each term has a row of its
-- own, and `workers` own nothing any more.
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
