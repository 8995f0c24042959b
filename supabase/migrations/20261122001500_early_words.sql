-- What Resend says of a mail may come before its batch is settled here: the mailer was killed after Resend had accepted,
-- or the webhook was quicker than the commit. Such a word is kept and has its effect when the message id is written.
-- Replaces: 6c1fc84438a81c884047c32e76b66b25442438afd5579dcb35a297f56a14d301

alter table pickmyclass.webhook_deliveries
    add column early_message_id text,
    add column early_effect     text,
    add column early_reason     text;
create index webhook_deliveries_early on pickmyclass.webhook_deliveries (early_message_id)
    where early_message_id is not null;

create function pickmyclass.hear_early_words() returns trigger
language plpgsql set search_path = '' as $$
begin
    perform pickmyclass.lock_message(new.message_id);
    perform pickmyclass.apply_word(new.message_id, d.early_effect, d.early_reason)
    from (select * from pickmyclass.webhook_deliveries w where w.early_message_id = new.message_id
          order by w.received_at) d;
    return null;
end $$;
create trigger outbox_hears_early_words after update of message_id on pickmyclass.outbox
    for each row when (old.message_id is null and new.message_id is not null)
    execute function pickmyclass.hear_early_words();

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
