"""A simulated inbox: Resend's API over HTTP that keeps every mail it accepts and shows them on a page.

Run it with `python -m workshop.inbox`. `mailbox` keeps mails and idempotency keys, `letters` knows what a valid mail
is, `limits` counts rate and quota, `server` is its HTTP face.
"""
