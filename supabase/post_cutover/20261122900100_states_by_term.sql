-- The point of no return: states are kept per term. The old Workers upsert on the number alone and cannot run after
-- this; ./run.sh migrate --post-cutover asks before it comes here.
-- From here on routines/post_cutover/ stands before routines/.
-- Replaces: ea8510c6e76ae66291963986a4e3b959ba3e1116e57e8ccb240f8871c010f331

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

notify pgrst, 'reload schema';
