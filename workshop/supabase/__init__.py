"""A simulated Supabase project: its Auth (sessions, mails, keys) and its Realtime, on one address, over our Postgres.

Run it with `python -m workshop.supabase`. `accounts` knows people, `sessions` their tokens, `letters` writes the
mails, `auth` is the HTTP face of these; `channels` and `realtime` tell browsers what changed in the database.
"""
