"""`python -m workshop.inbox [--key KEY] [--rate N] …`: serves an inbox until stopped."""

from __future__ import annotations

import argparse
import secrets
import sys

from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import Mailbox
from workshop.inbox.server import InboxApp
from workshop.inbox.webhooks import Courier
from workshop.parts.serving import serve_until_stopped
from workshop.parts.web import Server


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; the exit code. Prints `inbox listening on URL` when ready."""
    parser = argparse.ArgumentParser(prog="python -m workshop.inbox", description="A simulated inbox (Resend's API).")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback (default: a free one)")
    parser.add_argument("--key", default="", help="the API key to ask for (default: a new one, printed)")
    parser.add_argument("--rate", type=int, default=2, help="requests a second (default 2, a new account's)")
    parser.add_argument("--daily-quota", type=int, help="emails a day (default: no limit)")
    parser.add_argument("--webhook", help="where to bring events of mails to, when asked")
    parser.add_argument("--webhook-secret", default="", help="signs them: whsec_ and base64")
    options = parser.parse_args(arguments)
    key = options.key or "re_" + secrets.token_urlsafe(16)
    if not options.key:
        print(f"inbox key: {key}", flush=True)
    courier = Courier(options.webhook, options.webhook_secret) if options.webhook else None
    app = InboxApp(key, Mailbox(), Limits(options.rate, options.daily_quota), courier)
    serve_until_stopped("inbox", Server(app, options.port), app.stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
