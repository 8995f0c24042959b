"""A recorded season: what it says, and what is said of one that cannot be played."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.campus.sections import Course, Timeline, Values
from workshop.campus.tape import COLUMNS, TapeError, read_tape, term_of

HEADER = ",".join(COLUMNS)
GOOD = "1649676155819,083615,COGS 9,A01,Staff,60,60"
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "campus-2022-summer1.csv.gz"


def tape(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "season.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def problem_of(path: Path) -> str:
    with pytest.raises(TapeError) as caught:
        read_tape(path)
    return str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = read_tape(tape(tmp_path, GOOD))
    (tmp_path / "season.csv").write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode())
    (timeline,) = read_tape(tmp_path / "season.csv")
    assert (timeline.course, timeline.times, timeline.values) == (plain[0].course, plain[0].times, plain[0].values)


def test_a_row_holds_until_the_sections_next_row(tmp_path: Path) -> None:
    path = tape(tmp_path, GOOD, "1649676155900,083615,COGS 9,A01,Boyle; Mary E. T.,0,60")
    (timeline,) = read_tape(path)
    assert timeline.class_nbr == "83615"
    assert timeline.course == Course("COGS", "9", "COGS 9 A01")
    assert timeline.at(1649676155899) == Values("Staff", 60, 60)
    assert timeline.at(1649676155900) == Values("Boyle; Mary E. T.", 0, 60)


def test_before_the_first_row_and_after_the_last_their_values_hold(tmp_path: Path) -> None:
    (timeline,) = read_tape(tape(tmp_path, GOOD, "1649676155900,083615,COGS 9,A01,Staff,0,60"))
    assert timeline.at(0).seats_available == 60
    assert timeline.at(2**60).seats_available == 0


def test_the_later_of_two_rows_of_one_moment_holds(tmp_path: Path) -> None:
    (timeline,) = read_tape(tape(tmp_path, GOOD, GOOD.replace("60,60", "7,60")))
    assert timeline.at(1649676155819).seats_available == 7


def test_a_gzipped_tape_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain = tape(tmp_path, GOOD)
    zipped = tmp_path / "season.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_tape(zipped)[0].values == read_tape(plain)[0].values


def test_a_limit_takes_the_first_sections_only(tmp_path: Path) -> None:
    path = tape(tmp_path, GOOD, GOOD.replace("083615", "083616"), GOOD.replace("60,60", "1,60"))
    (timeline,) = read_tape(path, limit=1)
    assert len(timeline.times) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (GOOD.replace("1649676155819", "soon"), ["line 2", "field time_ms", "'soon'", "whole number"]),
        (GOOD.replace("1649676155819", "12"), ["line 2", "field time_ms", "between"]),
        (GOOD.replace("083615", "8361"), ["line 2", "field section", "five or more digits"]),
        (GOOD.replace("083615", "08x615"), ["line 2", "field section", "five or more digits"]),
        (GOOD.replace("083615", "٠٨٣٦١٥"), ["line 2", "field section", "five or more digits"]),
        (GOOD.replace("COGS 9", "COGS"), ["line 2", "field course", "CSE 30"]),
        (GOOD.replace("60,60", "few,60"), ["line 2", "field seats_available", "'few'"]),
        (GOOD.replace("60,60", "6.5,60"), ["line 2", "field seats_available", "'6.5'"]),
        (GOOD.replace("60,60", "60,"), ["line 2", "field seats_total", "''"]),
        (GOOD + ",1", ["line 2", "8 fields instead of 7"]),
        ("1649676155819,083615", ["line 2", "2 fields instead of 7"]),
        (GOOD.replace("COGS 9", 'COGS "9'), ["line 2"]),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, row: str, words: list[str]) -> None:
    path = tape(tmp_path, row) if '"' not in row else tape(tmp_path, row.replace('COGS "9', '"COGS 9"x'))
    problem = problem_of(path)
    assert str(path) in problem
    for word in words:
        assert word in problem


def test_rows_out_of_order_hold_by_their_times(tmp_path: Path) -> None:
    earlier = GOOD.replace("1649676155819", "1649676155818").replace("60,60", "7,60")
    (timeline,) = read_tape(tape(tmp_path, GOOD, earlier))
    assert timeline.at(1649676155818).seats_available == 7
    assert timeline.at(1649676155819).seats_available == 60


def test_two_sections_that_end_in_the_same_digits_are_refused(tmp_path: Path) -> None:
    problem = problem_of(tape(tmp_path, GOOD, GOOD.replace("083615", "183615")))
    assert "line 3" in problem
    assert "same five digits as section 083615" in problem


def test_other_columns_are_refused(tmp_path: Path) -> None:
    assert "line 1: the columns must be time_ms," in problem_of(tape(tmp_path, GOOD, header="a,b"))


def test_an_empty_tape_is_refused(tmp_path: Path) -> None:
    assert "has no rows" in problem_of(tape(tmp_path))
    (tmp_path / "nothing").write_bytes(b"")
    assert "line 1" in problem_of(tmp_path / "nothing")


def test_a_file_that_is_not_there_or_cut_off_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in problem_of(tmp_path / "none.csv.gz")
    assert "cannot be read" in problem_of(tmp_path)
    whole = gzip.compress("\n".join([HEADER, *[GOOD] * 5000]).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in problem_of(tmp_path / "cut.csv.gz")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\n" + GOOD.replace("Staff", "Jos\xe9").encode("latin-1"))
    assert "not UTF-8" in problem_of(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("end_ms", "term"),
    [
        (1656806400000, "2224"),  # 3 July 2022
        (1649676155819, "2221"),  # 11 April 2022
        (1668000000000, "2227"),  # 9 November 2022
        (1670500000000, "2231"),  # 8 December 2022: that fall may be over before the tape is
    ],
)
def test_the_term_is_one_that_is_not_over_when_the_tape_ends(end_ms: int, term: str) -> None:
    values = Values("Staff", 0, 1)
    assert term_of([Timeline("12345", Course("A", "1", "A 1"), [(end_ms, values)])]) == term


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(0, 90)), min_size=1, max_size=60).map(sorted)
)
def test_a_tape_says_what_its_lines_say(changes: list[tuple[int, int, int]]) -> None:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    start = 1_649_676_155_819
    for time, section, seats in changes:
        rows.writerow([start + time, f"08361{section}", "CSE 30", "A00", 'O"Neill, A.', seats, 90])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda *_, **kw: io.StringIO(text.getvalue()) if kw else io.BytesIO(b"ti"))
        timelines = {timeline.class_nbr: timeline for timeline in read_tape(Path("season"))}
    for moment in range(-1, 52):
        for section in {section for _, section, _ in changes}:
            own = [(time, seats) for time, one, seats in changes if one == section]
            said = [seats for time, seats in own if time <= moment] or [own[0][1]]
            assert timelines[f"8361{section}"].at(start + moment).seats_available == said[-1]


@pytest.mark.skipif(not REAL.exists(), reason="the recorded season is not part of the project")
def test_the_recorded_summer_has_the_openings_its_description_counts() -> None:
    timelines = read_tape(REAL)
    seats = [[values.seats_available for values in timeline.values] for timeline in timelines]
    names = [[values.instructor for values in timeline.values] for timeline in timelines]
    assert len(timelines) == 100
    assert sum(map(len, seats)) == 7911
    assert sum(a == 0 and b != 0 for one in seats for a, b in itertools.pairwise(one)) == 986
    assert sum(a != 0 and b == 0 for one in seats for a, b in itertools.pairwise(one)) == 977
    assert sum(a == "Staff" and b != "Staff" for one in names for a, b in itertools.pairwise(one)) == 78
    assert term_of(timelines) == "2224"
