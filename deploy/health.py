"""Is it ready, and no worse than before? What deploy.sh asks before it keeps a new release.

    .venv/bin/python deploy/health.py snapshot FILE           the state before, or "nothing runs", into FILE
    .venv/bin/python deploy/health.py wait FILE SETTLE HOLD   status 0 once it was ready, and no check worse than in
                                                              FILE, for HOLD seconds on end; they must begin within
                                                              SETTLE seconds
    .venv/bin/python deploy/health.py ready                   status 0 once ready

Something that was broken before the deployment does not undo it; something that it broke does.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.settings import Settings, SettingsError, load

PATH = "/api/monitoring/health"
READY_SECONDS = 60.0

_RANKS = {"healthy": 0, "not_configured": 0, "degraded": 1, "unhealthy": 2}
Ask = Callable[[str], tuple[int, Any]]
"""Asks the health function with a query; returns status and body. Raises `OSError` when nobody answers."""


def ranks(body: Any) -> dict[str, int]:
    """How bad each check is, and "whole"; empty for an answer that is not one of health."""
    if not isinstance(body, dict) or body.get("status") not in _RANKS or not isinstance(body.get("checks"), dict):
        return {}
    found = {"whole": _RANKS[body["status"]]}
    for name, check in body["checks"].items():
        if isinstance(check, dict) and check.get("status") in _RANKS:
            found[name] = _RANKS[check["status"]]
    return found


def worse(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """The checks that are worse after than before, or gone; all when there is no answer after."""
    return [name for name, rank in before.items() if after.get(name, 3) > rank]


def wait(
    ask: Ask,
    before: dict[str, int],
    settle: float,
    hold: float = 0.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Until it was ready and nothing worse than before for `hold` seconds on end; else what is wrong.

    Those must begin within `settle` seconds. A moment of trouble begins them anew: what starts well and falls ill is
    not in good health.
    """
    deadline = clock() + settle
    good_since: float | None = None
    while True:
        problem = _problem(ask, before)
        now = clock()
        if problem is not None:
            good_since = None
            if now >= deadline:
                return problem
        elif good_since is None:
            good_since = now
        if good_since is not None and now - good_since >= hold:
            return None
        sleep(0.5)


def _problem(ask: Ask, before: dict[str, int]) -> str | None:
    try:
        status, _ = ask("?probe=ready")
        if status != http.HTTPStatus.OK:
            return f"not ready: {PATH}?probe=ready answers {status}"
        if not before:
            return None
        found = worse(before, ranks(ask("")[1]))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer: {type(error).__name__}"
    return f"worse than before: {', '.join(found)}" if found else None


def asker(settings: Settings) -> Ask:
    """Ask the functions of this server, as an operator."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    secret = (settings.cron_secret or "").split(",")[0].strip()

    def ask(query: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(host, settings.port, timeout=10)
        try:
            connection.request("GET", PATH + query, headers={"Authorization": f"Bearer {secret}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return ask


def main() -> None:
    """Read the settings and do what the first word says."""
    words = sys.argv[1:]
    try:
        ask = asker(load())
    except SettingsError as error:
        sys.exit(f"health.py: the settings need attention:\n{error}")
    if words[:1] == ["snapshot"] and len(words) == 2:
        Path(words[1]).write_text(json.dumps(_snapshot(ask)))
        return
    if words[:1] == ["wait"] and len(words) == 4:
        problem = wait(ask, json.loads(Path(words[1]).read_text()), float(words[2]), float(words[3]))
    elif words == ["ready"]:
        problem = wait(ask, {}, READY_SECONDS)
    else:
        sys.exit(__doc__)
    if problem:
        sys.exit(f"health.py: {problem}")


def _snapshot(ask: Ask) -> dict[str, int]:
    try:
        return ranks(ask("")[1])
    except (OSError, http.client.HTTPException, ValueError):
        return {}


if __name__ == "__main__":
    main()
