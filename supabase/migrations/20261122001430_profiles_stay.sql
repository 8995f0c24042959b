-- O38 once more: where the origin lets people do everything with their own profile row, deleting it and coming back
-- with a fresh one would undo a bounce, a complaint or a disabled account; and who has no profile may be told.

-- A person's profile goes with the account (the foreign key's cascade runs as the owner), never before it.
create function pickmyclass.guard_profile_stays() returns trigger
language plpgsql set search_path = '' as $$
begin
    if current_user in ('anon', 'authenticated') then
        raise exception using errcode = '42501', message = 'a profile goes with its account, not before it';
    end if;
    return old;
end $$;
create trigger pickmyclass_guard_profile_stays before delete on public.user_profiles
    for each row execute function pickmyclass.guard_profile_stays();

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
