-- Listings: all watched sections of a subject in a term, read in one call and committed in one.

set check_function_bodies = off;  -- they name functions of other files

-- Every baseline as it stands with the last look at its listing: a look that saw a section unchanged is its own last
-- look, attempt and commit, too, although only the listing's row was written. Whoever asks when something was seen
-- asks here, never the table. (The columns stand in the order of the table.)
create or replace function pickmyclass.checks_seen() returns setof pickmyclass.section_checks
language sql stable as $$
    select c.term, c.class_nbr, c.subject, c.catalog_nbr, c.title, c.instructor_name, c.seats_available,
           c.seats_capacity, c.non_reserved_seats, c.location, c.meeting_times,
           greatest(c.observed_at, l.looked_at), c.version, greatest(c.checked_at, l.checked_at),
           greatest(c.last_attempt_at, l.committed_at), c.last_error,
           greatest(c.attempt_slot, pickmyclass.slot_of(c.class_nbr, l.looked_at)),
           greatest(c.committed_slot, pickmyclass.slot_of(c.class_nbr, l.looked_at)),
           case when l.looked_at is not null
                     and coalesce(c.committed_slot < pickmyclass.slot_of(c.class_nbr, l.looked_at), true)
                then coalesce(coalesce(c.non_reserved_seats, c.seats_available) = 0, false) else c.was_full end,
           c.opened and not (l.looked_at is not null
                     and coalesce(c.committed_slot < pickmyclass.slot_of(c.class_nbr, l.looked_at), true)),
           c.not_found_strikes, c.first_strike_at, c.strike_slot, c.last_error_code, c.source, c.listing,
           case when coalesce(c.non_reserved_seats, c.seats_available) = 0
                then greatest(c.full_at, l.looked_at) else c.full_at end,
           c.moved_at, c.memory, c.named,
           case when l.looked_at is not null
                     and coalesce(c.committed_slot < pickmyclass.slot_of(c.class_nbr, l.looked_at), true)
                then c.named else c.had_name end,
           c.lost_name and not (l.looked_at is not null
                     and coalesce(c.committed_slot < pickmyclass.slot_of(c.class_nbr, l.looked_at), true))
    from pickmyclass.section_checks c
    left join pickmyclass.listings l on l.term = c.term and l.subject = c.listing
$$;

-- Writes what `checks_seen` tells of these sections into their own rows: the looks to come will not speak for them.
create or replace function pickmyclass.leave_listing(p_term text, p_class_nbrs text[]) returns void
language sql volatile as $$
    update pickmyclass.section_checks c set
        observed_at = s.observed_at, checked_at = s.checked_at, last_attempt_at = s.last_attempt_at,
        attempt_slot = s.attempt_slot, committed_slot = s.committed_slot, was_full = s.was_full, opened = s.opened,
        had_name = s.had_name, lost_name = s.lost_name,
        full_at = s.full_at, listing = null
    from pickmyclass.checks_seen() s
    where c.term = p_term and c.class_nbr = any (p_class_nbrs) and c.listing is not null
      and s.term = c.term and s.class_nbr = c.class_nbr
$$;

-- The sections of a listing that are ours to check (see `our_sections`): those last seen under the subject, and those
-- watched under it that were never seen.
create or replace function pickmyclass.listing_members(p_term text, p_subject text, p_at timestamptz)
returns setof text
language sql stable as $$
    select m.class_nbr
    from (select c.class_nbr from pickmyclass.section_checks c where c.term = p_term and c.subject = p_subject
          union
          select w.class_nbr from public.class_watches w
          where w.term = p_term and w.subject = p_subject and not exists (
              select from pickmyclass.section_checks c
              where c.term = w.term and c.class_nbr = w.class_nbr and c.subject is not null)) m
    left join pickmyclass.ownership o on o.term = p_term and o.class_nbr = m.class_nbr
    where m.class_nbr ~ '^[0-9]{5}$' and not pickmyclass.term_is_over(p_term, p_at)
      and coalesce(o.owner, (select pickmyclass.owner_of('', ''))) = 'server'
      and exists (select from pickmyclass.watchers w
                  where w.term = p_term and w.class_nbr = m.class_nbr and w.eligible)
$$;

-- A word that stays the same while these sections, what is known of them and who told it stay the same.
create or replace function pickmyclass.listing_version(p_term text, p_members text[]) returns text
language sql stable as $$
    select left(md5(coalesce(string_agg(
        m || ':' || coalesce(c.version, 0) || ':' || coalesce(c.source, ''), ',' order by m), '')), 16)
    from unnest(p_members) m
    left join pickmyclass.section_checks c on c.term = p_term and c.class_nbr = m
$$;

-- The baselines of a listing; without `sections` when nothing has changed since `p_version`.
create or replace function pickmyclass.read_listing(p_term text, p_subject text, p_version text, p_now timestamptz)
returns jsonb
language plpgsql as $$
declare
    v_members constant text[] := array(select pickmyclass.listing_members(p_term, p_subject, p_now));
    v_version text;
begin
    perform pickmyclass.seed_baselines(jsonb_agg(jsonb_build_object('term', p_term, 'class_nbr', m)), p_now)
    from unnest(v_members) m
    left join pickmyclass.section_checks c on c.term = p_term and c.class_nbr = m
    where c.observed_at is null
    having count(*) > 0;
    v_version := pickmyclass.listing_version(p_term, v_members);
    if v_version = p_version then
        return jsonb_build_object('term', p_term, 'subject', p_subject, 'version', v_version);
    end if;
    return jsonb_build_object('term', p_term, 'subject', p_subject, 'version', v_version, 'sections', (
        select coalesce(jsonb_agg(jsonb_build_object(
                   'class_nbr', m, 'version', coalesce(c.version, 0), 'observed_at', c.observed_at,
                   'source', c.source, 'facts', pickmyclass.baseline_of(c)) order by m), '[]')
        from unnest(v_members) m
        left join pickmyclass.checks_seen() c on c.term = p_term and c.class_nbr = m));
end $$;

-- pmc_read_listings: the baselines of several listings; of one that stands at its `version` only that.
create or replace function public.pmc_read_listings(p_listings jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    return (select coalesce(jsonb_agg(pickmyclass.read_listing(
                       l ->> 'term', l ->> 'subject', l ->> 'version', coalesce(p_now, clock_timestamp()))), '[]')
            from jsonb_array_elements(p_listings) l);
end $$;

-- Commits one look at a listing. `checks` says what is new or no longer so, each section by itself as pmc_commit_check
-- takes it; `unseen` names those of which the look says nothing; every other member is as it stood at `version`.
--   1. The listing's row is locked: looks at one listing take turns, and so do checks of what it speaks for.
--   2. Each of `checks` is committed on its own version, whatever becomes of the others.
--   3. The rest only when nothing but them has changed since `version`; else "conflict".
--   4. Of the rest those are committed one by one that need more than another time: struck, failed, held, from another
--      source, new in this listing.
--   5. Sections that this look does not speak for keep what the last one said of them in their own rows (O41).
-- A look that began before the last one here is older news: what that one spoke for stays as it is.
create or replace function pickmyclass.commit_listing(p_look jsonb, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
    v_term constant text := p_look ->> 'term';
    v_subject constant text := p_look ->> 'subject';
    v_observed_at constant timestamptz := least((p_look ->> 'observed_at')::timestamptz, p_now);
    v_checks constant jsonb := coalesce(p_look -> 'checks', '[]');
    v_named constant text[] := array(
        select value ->> 'class_nbr' from jsonb_array_elements(v_checks)
        union select jsonb_array_elements_text(coalesce(p_look -> 'unseen', '[]')));
    v_about jsonb;
    v_listing pickmyclass.listings;
    v_members text[];
    v_is_same boolean;
    v_is_newest boolean;
    v_answers jsonb := '{}';
    v_check jsonb;
begin
    if v_observed_at is null then
        raise exception using errcode = '22023', message = 'a look needs observed_at';
    end if;
    insert into pickmyclass.listings (term, subject) values (v_term, v_subject) on conflict do nothing;
    select * into v_listing from pickmyclass.listings l where l.term = v_term and l.subject = v_subject for update;
    v_is_newest := coalesce(v_observed_at >= v_listing.looked_at, true);
    v_members := array(select pickmyclass.listing_members(v_term, v_subject, p_now));
    v_is_same := pickmyclass.listing_version(v_term, v_members) = p_look ->> 'version';
    v_about := jsonb_strip_nulls(jsonb_build_object(
        'term', v_term, 'observed_at', v_observed_at, 'tick_id', p_look -> 'tick_id', 'touch', p_look -> 'touch',
        'source', p_look -> 'source', 'listing', case when v_is_newest and v_is_same then v_subject end));

    for v_check in select value from jsonb_array_elements(v_checks) order by value ->> 'class_nbr' loop
        v_answers := v_answers || jsonb_build_object(v_check ->> 'class_nbr', pickmyclass.commit_check(
            v_check || v_about
            || jsonb_build_object('slot', pickmyclass.slot_of(v_check ->> 'class_nbr', v_observed_at)), p_now));
    end loop;
    if not v_is_same then
        return jsonb_build_object('result', 'conflict', 'term', v_term, 'subject', v_subject, 'sections', v_answers);
    end if;
    v_answers := v_answers || pickmyclass.commit_rest(
        v_about, v_subject, array(select unnest(v_members) except select unnest(v_named)), p_now);
    if v_is_newest then
        perform pickmyclass.leave_listing(v_term, array(
            select c.class_nbr from pickmyclass.section_checks c
            where c.term = v_term and c.listing = v_subject
              and (c.class_nbr <> all (v_members)
                   or c.class_nbr = any (v_named)
                      and coalesce(v_answers -> c.class_nbr ->> 'result', '') <> 'committed')));
        update pickmyclass.listings l set
            looked_at = v_observed_at, checked_at = greatest(l.checked_at, p_now), committed_at = clock_timestamp()
        where l.term = v_term and l.subject = v_subject;
        perform pickmyclass.release_outlived(v_term, v_members);
    end if;
    return jsonb_build_object('result', 'committed', 'term', v_term, 'subject', v_subject, 'sections', v_answers,
                              'version', pickmyclass.listing_version(v_term, v_members));
end $$;

-- Steps 4 and 5 for the members of a listing that are as they were known: the answers of those that were not committed.
create or replace function pickmyclass.commit_rest(
    p_about jsonb, p_subject text, p_members text[], p_now timestamptz)
returns jsonb
language plpgsql as $$
declare
    v_known pickmyclass.section_checks;
    v_answer jsonb;
    v_answers jsonb := '{}';
begin
    for v_known in
        select c.* from pickmyclass.checks_seen() c
        where c.term = p_about ->> 'term' and c.class_nbr = any (p_members)
          and (c.listing is distinct from p_subject or c.last_error is not null or c.not_found_strikes > 0
               or c.source is distinct from p_about ->> 'source'
               or exists (select from pickmyclass.outbox o
                          where o.term = c.term and o.class_nbr = c.class_nbr and o.status = 'pending' and o.held))
        order by c.class_nbr
    loop
        v_answer := pickmyclass.commit_check(p_about || jsonb_build_object(
            'class_nbr', v_known.class_nbr, 'version', v_known.version, 'facts', pickmyclass.baseline_of(v_known),
            'named', v_known.named, 'was_named', v_known.named,
            'events', '[]'::jsonb, 'slot', pickmyclass.slot_of(v_known.class_nbr, (p_about ->> 'observed_at')::timestamptz),
            'was_full', coalesce(v_known.non_reserved_seats, v_known.seats_available) = 0,
            'is_full', coalesce(v_known.non_reserved_seats, v_known.seats_available) = 0), p_now);
        if v_answer ->> 'result' <> 'committed' then
            v_answers := v_answers || jsonb_build_object(v_known.class_nbr, v_answer);
        end if;
    end loop;
    if coalesce((p_about ->> 'touch')::boolean, true) then
        perform pickmyclass.project_state(c) from pickmyclass.checks_seen() c
        where c.term = p_about ->> 'term' and c.class_nbr = any (p_members) and c.listing = p_subject;
    end if;
    return v_answers;
end $$;

-- pmc_commit_looks: accepts looks at listings, each as `commit_listing` says, all in one transaction.
-- Race: two calls lock their listings in the same order.
create or replace function public.pmc_commit_looks(p_looks jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_look jsonb;
    v_answers jsonb := '[]';
begin
    perform pickmyclass.hold_ownership();
    for v_look in
        select value from jsonb_array_elements(p_looks)
        order by value ->> 'term', value ->> 'subject', value ->> 'observed_at'
    loop
        v_answers := v_answers || jsonb_build_array(
            pickmyclass.commit_listing(v_look, coalesce(p_now, clock_timestamp())));
    end loop;
    return v_answers;
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
