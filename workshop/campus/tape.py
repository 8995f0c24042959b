"""A recorded season, as `./run.sh tape` writes one: reads its rows.

A row holds from its time until its section's next row. The last five digits of `section` are its class_nbr.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from shared.sections.recorded import COLUMNS as COLUMNS
from workshop.campus.sections import Course, Timeline, Values

_EARLIEST, _LATEST = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099, in ms


class TapeError(Exception):
    """A tape that cannot be played; the message names file, line and field."""


def read_tape(path: Path, limit: int | None = None) -> list[Timeline]:
    """The timelines of the first `limit` sections (all by default) of the tape at `path`, plain or gzipped.

    Raises `TapeError` for the first thing that is wrong with it.
    """
    season: dict[str, tuple[str, Course, list[tuple[int, Values]]]] = {}
    for line, row in _rows(path):
        read = _Row(path, line, row)
        section, time, values = read.section(), read.whole("time_ms", _EARLIEST, _LATEST), read.values()
        class_nbr = section[-5:]
        if class_nbr not in season:
            if limit is not None and len(season) >= limit:
                continue
            season[class_nbr] = (section, read.course(), [])
        known, _, points = season[class_nbr]
        if known != section:
            raise read.error("section", f"ends in the same five digits as section {known}")
        points.append((time, values))
    if not season:
        raise TapeError(f"{path}: has no rows")
    # Sorted, because "until the next row" speaks of time; of two rows of one moment the later in the file holds.
    return [
        Timeline(class_nbr, course, sorted(points, key=lambda point: point[0]))
        for class_nbr, (_, course, points) in season.items()
    ]


def term_of(timelines: list[Timeline]) -> str:
    """The code of a term that is not over when the tape ends: 2, the year, 1 spring / 4 summer / 7 fall."""
    end = datetime.fromtimestamp(max(timeline.times[-1] for timeline in timelines) / 1000, UTC)
    if end.month == 12:
        return f"2{(end.year + 1) % 100:02d}1"
    return f"2{end.year % 100:02d}{1 if end.month < 5 else 4 if end.month < 8 else 7}"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of each row; raises `TapeError` for what is not such a table."""
    try:
        with path.open("rb") as probe:
            zipped = probe.read(2) == b"\x1f\x8b"
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if zipped
            else path.open(encoding="utf-8-sig", newline="") as text
        ):
            lines = csv.reader(text, strict=True)
            header = next(lines, [])
            if tuple(header) != COLUMNS:
                raise TapeError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}")
            for row in lines:
                if len(row) != len(COLUMNS):
                    raise TapeError(f"{path}, line {lines.line_num}: has {len(row)} fields instead of {len(COLUMNS)}")
                yield lines.line_num, dict(zip(COLUMNS, row, strict=True))
    except UnicodeDecodeError as error:
        raise TapeError(f"{path}: is not UTF-8 text") from error
    except csv.Error as error:
        raise TapeError(f"{path}, line {lines.line_num}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TapeError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


class _Row:
    """One row being read: hands out its fields checked, and knows where it stands."""

    def __init__(self, path: Path, line: int, row: Mapping[str, str]) -> None:
        self._path, self._line, self._row = path, line, row

    def error(self, field: str, problem: str) -> TapeError:
        return TapeError(f"{self._path}, line {self._line}, field {field}: {self._row[field]!r:.60} {problem}")

    def whole(self, field: str, least: int, most: int) -> int:
        """A whole number within bounds."""
        try:
            number = int(self._row[field])
        except ValueError:
            raise self.error(field, "is not a whole number") from None
        if not least <= number <= most:
            raise self.error(field, f"is not between {least} and {most}")
        return number

    def section(self) -> str:
        digits = self._row["section"]
        if not (digits.isascii() and digits.isdigit() and 5 <= len(digits) <= 12):
            raise self.error("section", "must be five or more digits")
        return digits

    def course(self) -> Course:
        subject, _, number = self._row["course"].strip().partition(" ")
        if not subject or not number.strip():
            raise self.error("course", "must be a subject and a number, like 'CSE 30'")
        return Course(subject, number.strip(), f"{self._row['course'].strip()} {self._row['code'].strip()}".strip())

    def values(self) -> Values:
        """The values as recorded; whether a number makes sense is for the reader of the catalog to judge."""
        seats, capacity = self.whole("seats_available", -99_999, 99_999), self.whole("seats_total", -99_999, 99_999)
        return Values(self._row["instructor"].strip() or None, seats, capacity)
