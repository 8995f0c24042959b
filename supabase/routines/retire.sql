-- Sections that the source does not know any more: strikes, and in the end their retirement.

set check_function_bodies = off;  -- they name functions of other files

-- Whether so many of the watched sections are missing at the source that the source must be broken, not they:
-- at least five and more than 20 % of those that it once knew. What it never knew somebody may have made up; that counts
-- only while it has known nothing at all.
create or replace function pickmyclass.source_looks_broken(p_at timestamptz) returns boolean
language sql stable as $$
    select case when n.known > 0 then n.lost >= 5 and n.lost * 5 > n.known
                else n.missing >= 5 and n.missing * 5 > n.watched end
    from (select count(*) as watched, count(*) filter (where c.observed_at is not null) as known,
                 count(*) filter (where c.observed_at is not null and c.not_found_strikes > 0) as lost,
                 count(*) filter (where c.not_found_strikes > 0) as missing
          from pickmyclass.our_sections(p_at) s
          left join pickmyclass.section_checks c on c.term = s.term and c.class_nbr = s.class_nbr) n
$$;

-- Removes the watches of a section after writing down the last mail that it owes. The watches are locked first:
-- one that is added meanwhile stays, it was added after a look-up that found the section.
-- p_after: the course that has taken the number, where one has.
create or replace function pickmyclass.retire_section(
    p_known pickmyclass.section_checks, p_slot timestamptz, p_observed_at timestamptz, p_tick_id text,
    p_now timestamptz, p_after jsonb default null)
returns int
language plpgsql as $$
declare
    v_event pickmyclass.section_events;
    v_watches uuid[];
    v_mail record;
begin
    insert into pickmyclass.section_events (term, class_nbr, kind, before, after, observed_at, slot, tick_id)
    values (p_known.term, p_known.class_nbr, 'retired', pickmyclass.facts_of(p_known), p_after, p_observed_at, p_slot,
            p_tick_id)
    returning * into v_event;
    select array_agg(locked.id) into v_watches from (
        select w.id from public.class_watches w
        where w.term = p_known.term and w.class_nbr = p_known.class_nbr order by w.id for update) locked;
    v_mail := pickmyclass.owe_mail(
        v_event, 'section_removed',
        jsonb_build_object('facts', coalesce(pickmyclass.facts_of(p_known), '{}'), 'before', null, 'after', p_after,
                           'observed_at', p_observed_at, 'previous_observed_at', p_known.observed_at),
        p_now);
    delete from public.class_watches w where w.id = any (v_watches);
    update pickmyclass.section_checks c set not_found_strikes = 0, first_strike_at = null
    where c.term = p_known.term and c.class_nbr = p_known.class_nbr;
    return v_mail.queued;
end $$;

-- pmc_strike_section: the source does not know the section. One strike per slot at most; with three strikes and
-- 24 hours since the first the section is retired, unless too many are missing at once ("guarded").
create or replace function public.pmc_strike_section(
    p_term text, p_class_nbr text, p_slot timestamptz, p_observed_at timestamptz, p_tick_id text default null,
    p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_known pickmyclass.section_checks;
    v_result text := 'struck';
    v_queued int := 0;
begin
    perform pickmyclass.hold_ownership();
    if pickmyclass.owner_of(p_term, p_class_nbr) <> 'server' then
        return jsonb_build_object('result', 'not_owned', 'strikes', 0, 'emails_queued', 0);
    end if;
    if not exists (select from public.class_watches w where w.term = p_term and w.class_nbr = p_class_nbr) then
        -- Anyone may look up any number; only what somebody waits for is worth a record.
        return jsonb_build_object('result', 'unwatched', 'strikes', 0, 'emails_queued', 0);
    end if;
    v_known := pickmyclass.lock_section(p_term, p_class_nbr);
    perform pickmyclass.end_attempt(v_known, p_slot, null);
    if p_observed_at < v_known.observed_at then
        return jsonb_build_object('result', 'superseded', 'strikes', v_known.not_found_strikes, 'emails_queued', 0);
    end if;
    if v_known.strike_slot >= p_slot then
        return jsonb_build_object('result', 'repeated', 'strikes', v_known.not_found_strikes, 'emails_queued', 0);
    end if;

    update pickmyclass.section_checks c set
        not_found_strikes = c.not_found_strikes + 1, first_strike_at = coalesce(c.first_strike_at, v_now),
        strike_slot = p_slot, checked_at = greatest(c.checked_at, v_now)
    where c.term = p_term and c.class_nbr = p_class_nbr
    returning c.* into v_known;
    if v_known.not_found_strikes = 1 then
        insert into pickmyclass.section_events (term, class_nbr, kind, before, observed_at, slot, tick_id)
        values (p_term, p_class_nbr, 'not_found', pickmyclass.facts_of(v_known), p_observed_at, p_slot, p_tick_id);
    end if;
    if v_known.not_found_strikes >= 3 and v_known.first_strike_at <= v_now - interval '24 hours' then
        if pickmyclass.source_looks_broken(v_now) then
            v_result := 'guarded';
        else
            v_result := 'retired';
            v_queued := pickmyclass.retire_section(v_known, p_slot, p_observed_at, p_tick_id, v_now);
        end if;
    end if;
    return jsonb_build_object('result', v_result, 'strikes', v_known.not_found_strikes, 'emails_queued', v_queued);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
