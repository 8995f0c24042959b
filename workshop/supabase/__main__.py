"""`python -m workshop.supabase --database URL --inbox URL --key KEY …`: serves a project until stopped."""

from __future__ import annotations

import argparse
import secrets
import sys

from workshop.parts.serving import serve_until_stopped
from workshop.supabase.letters import through_resend
from workshop.supabase.project import Project


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; the exit code. Prints `supabase listening on URL` when ready."""
    parser = argparse.ArgumentParser(prog="python -m workshop.supabase", description="A simulated Supabase project.")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback (default: a free one)")
    parser.add_argument("--database", required=True, help="the Postgres of the project, as its owner")
    parser.add_argument("--inbox", required=True, help="where mails go: an address that speaks Resend's API")
    parser.add_argument("--key", required=True, help="the inbox's API key")
    parser.add_argument("--site", required=True, help="the site's address, where links in mails lead")
    parser.add_argument("--anon-key", default="", help="the public key to ask for (default: a new one, printed)")
    options = parser.parse_args(arguments)
    anon_key = options.anon_key or secrets.token_urlsafe(24)
    if not options.anon_key:
        print(f"anon key: {anon_key}", flush=True)
    send = through_resend(options.inbox, options.key)
    project = Project(options.database, send, anon_key=anon_key, site_url=options.site, port=options.port)
    serve_until_stopped("supabase", project.server, project.close)
    return 0


if __name__ == "__main__":
    sys.exit(main())
