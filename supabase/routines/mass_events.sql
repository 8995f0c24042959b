-- The guards against mass events, which no campus does and a broken source does. Unusually many sections of a slot open
-- at once: their mail waits for a second look. Unusually many lose their instructors, or become other courses: not believed.

set check_function_bodies = off;  -- they name functions of other files

-- Whether so many full sections opened in one slot that the source is to be doubted: of the slot's checks
-- committed so far at least twenty sections had been full, and more than 30 % of those opened.
create or replace function pickmyclass.is_mass_event(p_slot timestamptz) returns boolean
language sql stable set search_path = '' as $$
    select count(*) >= 20 and count(*) filter (where opened) > 0.3 * count(*)
    from pickmyclass.checks_seen() where committed_slot = p_slot and was_full
$$;

-- The same for names: of the slot's checks at least twenty sections had an instructor, and more than 30 % lost theirs. A
-- page that cannot be read in one place looks just so.
create or replace function pickmyclass.names_look_lost(p_slot timestamptz) returns boolean
language sql stable set search_path = '' as $$
    select count(*) >= 20 and count(*) filter (where lost_name) > 0.3 * count(*)
    from pickmyclass.checks_seen() where committed_slot = p_slot and had_name
$$;

-- Gives the sections that lost their instructor in this slot, before that looked odd, the name back and takes the event
-- back. Rows that a check has locked are left to the next check that finds the same.
create or replace function pickmyclass.give_names_back(p_slot timestamptz) returns void
language plpgsql set search_path = '' as $$
declare v_section pickmyclass.section_checks;
begin
    for v_section in
        select * from pickmyclass.section_checks c
        where c.committed_slot = p_slot and c.lost_name and c.memory ->> 'last_instructor' is not null
        order by c.term, c.class_nbr for update skip locked
    loop
        delete from pickmyclass.section_events e
        where e.term = v_section.term and e.class_nbr = v_section.class_nbr and e.slot = p_slot
          and e.kind = 'instructor_unassigned';
        continue when not found;  -- it was lost before this slot
        update pickmyclass.section_checks c
           set instructor_name = c.memory ->> 'last_instructor', named = true, version = c.version + 1,
               memory = jsonb_set(c.memory, '{last_instructor}', 'null')
         where c.term = v_section.term and c.class_nbr = v_section.class_nbr
        returning c.* into v_section;
        perform pickmyclass.project_state(v_section);
    end loop;
end $$;

-- A check as if it had said nothing of the instructor.
create or replace function pickmyclass.with_name_of(p_known pickmyclass.section_checks, p_check jsonb) returns jsonb
language sql immutable set search_path = '' as $$
    select jsonb_set(jsonb_set(jsonb_set(p_check,
        '{facts,instructor_name}', to_jsonb(p_known.instructor_name)),
        '{facts,memory,last_instructor}', 'null'),
        '{events}', (select coalesce(jsonb_agg(e), '[]') from jsonb_array_elements(p_check -> 'events') e
                     where e ->> 'kind' <> 'instructor_unassigned'))
$$;

-- Whether the source shows other courses under so many numbers that it must be wrong, not they: at least five in this
-- slot already, and more than 20 % of its checks.
create or replace function pickmyclass.courses_look_wrong(p_slot timestamptz) returns boolean
language sql stable set search_path = '' as $$
    select count(*) >= 5
       and count(*) * 5 > (select count(*) from pickmyclass.checks_seen() c where c.committed_slot = p_slot)
    from pickmyclass.section_events e
    where e.slot = p_slot and e.kind = 'retired' and e.after is not null
      and e.created_at > clock_timestamp() - interval '2 hours'  -- for its index
$$;

-- Hold the seat mail of these rows' slots where a mass event is under way: all of it that is not yet frozen
-- and that no later check has confirmed. Returns the sections whose mail was held by this call, so that they
-- are queued once more; a section held before is not named again.
-- Rows that another mailer has leased are left to its own freeze, which asks again. Those of sections that went to
-- the workers are not held: no later check of ours would free them. So a switch must wait for this answer; where one
-- is under way already nobody waits for it here, with rows locked that others may need: the mailer comes again.
create or replace function pickmyclass.hold_mass_events(p_ids bigint[], p_worker text, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_slot     timestamptz;
    v_sections jsonb;
    v_recheck  jsonb := '[]';
begin
    for v_slot in
        select distinct o.slot from pickmyclass.outbox o
        where o.id = any (p_ids) and o.notification_type = 'seat_available' and not o.held and not o.confirmed
    loop
        continue when not pickmyclass.is_mass_event(v_slot);
        if not pg_try_advisory_xact_lock_shared(hashtextextended('pickmyclass:ownership', 0)) then
            raise exception using errcode = '55P03', message = 'a switch of ownership is under way; try again';
        end if;
        with doubtful as (
            select o.id, o.term, o.class_nbr from pickmyclass.outbox o
            where o.status = 'pending' and not o.held and not o.confirmed
              and o.notification_type = 'seat_available' and o.slot = v_slot
              and (o.leased_by is null or o.leased_by = p_worker or o.leased_until <= p_now)
              and pickmyclass.owner_of(o.term, o.class_nbr) = 'server'
              -- A check that was committed since has looked again already.
              and exists (select from pickmyclass.checks_seen() c
                          where c.term = o.term and c.class_nbr = o.class_nbr and c.observed_at <= o.event_at)
            for update of o skip locked
        ), named as (
            select distinct d.term, d.class_nbr from doubtful d
            where not exists (select from pickmyclass.outbox o
                              where o.status = 'pending' and o.held and o.slot = v_slot
                                and o.term = d.term and o.class_nbr = d.class_nbr)
        ), held as (
            update pickmyclass.outbox o set held = true, leased_by = null, leased_until = null,
                   last_error = 'held: unusually many sections opened at once'
            from doubtful d where o.id = d.id
        )
        select coalesce(jsonb_agg(jsonb_build_object('term', term, 'class_nbr', class_nbr)), '[]')
        into v_sections from named;
        v_recheck := v_recheck || v_sections;
    end loop;
    return v_recheck;
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
