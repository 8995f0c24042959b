"""Print HAProxy's configuration for the functions of several servers, from the settings; nothing without UPSTREAMS.

.venv/bin/python deploy/balancer.py > haproxy.cfg
"""

from __future__ import annotations

import sys

from shared.settings import ROOT, Settings, SettingsError, load

BALANCER = "127.0.0.1:8090"
"""Where it listens."""


def own_functions(settings: Settings) -> str:
    """Where the functions of this server are reached from itself: host and port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"{host}:{settings.port}"


def configuration(settings: Settings) -> str:
    """The whole file, or an empty text where there are no other servers."""
    if settings.upstreams is None:
        return ""
    own = own_functions(settings)
    servers = [own, *(one.strip() for one in settings.upstreams.split(","))]
    lines = [f"\tserver {place.replace(':', '-')} {place}" for place in servers]
    text = (ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")
    return "\n".join([text.rstrip("\n"), *lines, f"\tserver itself {own} no-check backup", ""])


def main() -> None:
    """Print it."""
    try:
        sys.stdout.write(configuration(load()))
    except SettingsError as error:
        sys.exit(f"balancer.py: {error}")


if __name__ == "__main__":
    main()
