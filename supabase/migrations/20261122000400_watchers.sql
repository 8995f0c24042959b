-- Sections: which are watched, which are due, what is known about them.
-- Replaces: b87641b0e15aa78f1cf56249d514b895840658d16331a5bece4b3e2eea413668

-- Who may be told: no profile, or one that wants mail and can get it (O35). Every watch with whether it counts.
create view pickmyclass.watchers as
    select w.id, w.user_id, w.term, w.class_nbr, coalesce(w.created_at, '-infinity') as watched_since,
           p.user_id is null or (coalesce(p.notifications_enabled, true) and not coalesce(p.email_bounced, false)
               and not coalesce(p.spam_complained, false) and not coalesce(p.is_disabled, false)) as eligible
    from public.class_watches w left join public.user_profiles p on p.user_id = w.user_id;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
