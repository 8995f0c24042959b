"""`python -m workshop.campus [--tape FILE | --seed N --sections N] …`: serves a campus until stopped."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from workshop.campus.campus import Campus
from workshop.campus.chance import make_campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import HALF_HOUR_MS, Timeline
from workshop.campus.server import CampusApp
from workshop.campus.tape import TapeError, read_tape, term_of
from workshop.parts.serving import serve_until_stopped
from workshop.parts.web import Server

_WEEK = 336 * HALF_HOUR_MS


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; the exit code. Prints `campus listening on URL` when ready."""
    parser = argparse.ArgumentParser(prog="python -m workshop.campus", description="A simulated campus.")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback (default: a free one)")
    parser.add_argument("--token", default="", help="the bearer token to ask for (default: a new one, printed)")
    parser.add_argument("--tape", type=Path, help="a recorded season, .csv or .csv.gz")
    parser.add_argument("--seed", type=int, default=1, help="of the campus by chance")
    parser.add_argument("--sections", type=int, help="how many (default: 120, or all of the tape)")
    parser.add_argument("--term", help="its four-digit code (default: from the times)")
    parser.add_argument("--start-ms", type=int, help="where the clock begins (default: the tape's start, or now)")
    parser.add_argument("--length-ms", type=int, default=_WEEK, help="length of the season by chance")
    parser.add_argument("--rate", type=float, default=0.0, help="speed of the clock: 0 stands still, 1 is ours")
    parser.add_argument("--desk", help="where its page can reach the product (up --local)")
    options = parser.parse_args(arguments)
    try:
        start, timelines = _timelines(options)
    except (TapeError, ValueError) as problem:
        print(f"campus: {problem}", file=sys.stderr)
        return 2
    token = options.token or secrets.token_urlsafe(16)
    if not options.token:
        print(f"campus token: {token}", flush=True)
    campus = Campus(options.term or term_of(timelines), timelines, VirtualClock(start, options.rate))
    app = CampusApp(campus, token, options.desk)
    serve_until_stopped("campus", Server(app, options.port), app.stop)
    return 0


def _timelines(options: argparse.Namespace) -> tuple[int, list[Timeline]]:
    """(start in epoch ms, timelines) as asked for."""
    if options.tape:
        timelines = read_tape(options.tape, options.sections)
        first = min(timeline.times[0] for timeline in timelines)
        return first if options.start_ms is None else options.start_ms, timelines
    start = int(time.time() * 1000) if options.start_ms is None else options.start_ms
    return start, make_campus(
        options.seed, 120 if options.sections is None else options.sections, start, options.length_ms
    )


if __name__ == "__main__":
    sys.exit(main())
