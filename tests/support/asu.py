"""Rows of ASU's catalog for tests: one that is good, and that one with faults; and where the captured answer lies."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

CAPTURED = Path(__file__).parents[3] / "shared" / "data" / "asu-cse310.json"

ROW: dict[str, Any] = {
    "CLAS": {
        "STRM": "2267",
        "CLASSNBR": "12431",
        "SUBJECT": "CSE",
        "CATALOGNBR": "110",
        "TITLE": "Prin of Programming",
        "COURSETITLELONG": "Principles of Programming",
        "DESCR50": "",
        "CLASSSTAT": "A",
        "ENRLSTAT": "O",
        "ENRLCAP": "30",
        "ENRLTOT": "30",
        "HASACTIVERESERVEDSEATS": "N",
        "INSTRUCTORSLIST": ["Ada Moreno", "'CJ' Carla Jensen"],
        "INSTRUCTORSLASTNAMELISTFORSORTING": "MORENO",
        "STARTTIMES": ["4:30 PM", None],
        "ENDTIMES": ["5:45 PM", None],
    },
    "DAYLIST": ["M W", ""],
    "LOCATIONBUILDING": [{"NAME": "Tempe - PSH153"}, {"NAME": "ASU Online"}],
    "seatInfo": {"ENRL_CAP": 30, "ENRL_TOT": 27},
}


def row(told: dict[str, Any] | None = None, **beside: Any) -> dict[str, Any]:
    """A good row with other values in `CLAS` and beside it; `...` takes a key away."""
    changed = copy.deepcopy(ROW)
    for place, values in ((changed["CLAS"], told or {}), (changed, beside)):
        for name, value in values.items():
            if value is ...:
                place.pop(name, None)
            else:
                place[name] = value
    return changed
