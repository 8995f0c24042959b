"""What a row of ASU's catalog says of its section; the captured answer is read where it is at hand."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sections.section import Facts
from shared.source.answers import Found, Gone, Unreadable
from shared.source.asu_rows import class_nbr_of, read_row
from tests.support.asu import CAPTURED, ROW, row


def facts(told: dict[str, Any] | None = None, **beside: Any) -> Facts:
    answer = read_row(row(told, **beside), "2267")
    assert isinstance(answer, Found), answer
    return answer.facts


def reserved(*groups: tuple[int, int], flag: str = "O", seats: tuple[int, int] = (30, 20)) -> int | None:
    """Unreserved seats of a section whose groups have these numbers of places and of people."""
    return facts(
        {"HASACTIVERESERVEDSEATS": "Y", "ENRLSTAT": flag},
        seatInfo={"ENRL_CAP": seats[0], "ENRL_TOT": seats[1]},
        reservedSeatsInfo=[{"ENRL_CAP": cap, "ENRL_TOT": tot, "RSRV_CAP_NBR": 101} for cap, tot in groups],
    ).non_reserved_seats


def test_a_row_tells_everything_that_a_mail_says() -> None:
    assert facts() == Facts(
        subject="CSE",
        catalog_nbr="110",
        title="Principles of Programming",
        instructor_name="Ada Moreno, 'CJ' Carla Jensen",
        seats_available=3,
        seats_capacity=30,
        non_reserved_seats=None,
        location="Tempe - PSH153, ASU Online",
        meeting_times="M W 4:30 PM-5:45 PM",
    )


@pytest.mark.skipif(not CAPTURED.is_file(), reason="the captured answer is not at hand")
def test_every_row_of_a_real_answer_is_read() -> None:
    answer = json.loads(CAPTURED.read_bytes())
    read = {class_nbr_of(raw): read_row(raw, "2267") for raw in answer["classes"]}
    assert len(read) == answer["total"]["value"] == 11
    seats = {number: found.facts.seats_available for number, found in read.items() if isinstance(found, Found)}
    # As the registrar's own flags say: five are open, six are closed.
    assert seats == {
        "66445": 69,
        "75092": 32,
        "70381": 50,
        "75093": 32,
        "81859": 19,
        **dict.fromkeys(("70380", "74350", "65518", "79832", "81860", "81861"), 0),
    }
    first, online = read["66445"], read["75092"]
    assert isinstance(first, Found)
    assert isinstance(online, Found)
    assert first.facts == Facts(
        subject="CSE",
        catalog_nbr="310",
        title="Data Structures and Algorithms",
        instructor_name="'CJ' Carla Jensen",
        seats_available=69,
        seats_capacity=150,
        location="Tempe - PSH153",
        meeting_times="M W 4:30 PM-5:45 PM",
    )
    assert (online.facts.location, online.facts.meeting_times) == ("ASU Online", None)


def test_live_numbers_go_before_the_indexs_which_stand_in_only_where_there_are_none() -> None:
    assert facts().seats_available == 3
    for nothing in (..., None):
        assert facts({"ENRLTOT": "28"}, seatInfo=nothing).seats_available == 2
    # A live number that makes no sense is no reason to believe an old one.
    assert facts({"ENRLTOT": "28"}, seatInfo={"ENRL_CAP": 30}).seats_available is None


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("name", ["CAP", "TOT"])
@pytest.mark.parametrize("value", [..., None, "", "many", -1, "-1", 2.5, True, [], 10**9, float("nan")])
def test_seats_that_are_missing_or_no_number_are_unknown_never_zero_and_the_rest_of_the_row_is_read(
    value: object, name: str, live: bool
) -> None:
    numbers = {"ENRL_CAP": 30, "ENRL_TOT": 27, f"ENRL_{name}": value}
    seats = {key: number for key, number in numbers.items() if number is not ...}
    seen = facts(seatInfo=seats) if live else facts({f"ENRL{name}": value}, seatInfo=...)
    assert (seen.seats_available, seen.seats_capacity) == (None, None if name == "CAP" else 30)
    assert seen.instructor_name == facts().instructor_name


@pytest.mark.parametrize("live", ["3 of 30", [], 7])
def test_live_seats_of_a_strange_shape_are_unknown(live: object) -> None:
    assert facts(seatInfo=live).seats_available is None


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_seats_are_what_enrolment_leaves_and_never_less_than_none(capacity: int, enrolled: int) -> None:
    seen = facts(seatInfo={"ENRL_CAP": capacity, "ENRL_TOT": enrolled})
    assert seen.seats_available == max(0, capacity - enrolled)
    assert seen.seats_capacity == capacity


@pytest.mark.parametrize("status", ["X", "S", "T", "x", "Z"])
def test_a_section_that_is_not_active_is_gone_however_many_seats_it_shows(status: str) -> None:
    assert read_row(row({"CLASSSTAT": status}, seatInfo={"ENRL_CAP": 30, "ENRL_TOT": 0}), "2267") == Gone()


@pytest.mark.parametrize(
    "told", [{"CLASSSTAT": ...}, {"CLASSSTAT": None}, {"SUBJECT": ...}, {"CATALOGNBR": " "}, {"STRM": "2261"}]
)
def test_a_row_that_does_not_say_what_it_is_about_is_unreadable(told: dict[str, Any]) -> None:
    assert read_row(row(told), "2267") == Unreadable()


@pytest.mark.parametrize("raw", [None, 7, "row", [], {}, {"CLAS": None}, {"CLAS": []}, {"CLAS": {"CLASSNBR": 12431}}])
def test_nonsense_is_unreadable_and_names_no_section(raw: object) -> None:
    assert read_row(raw, "2267") == Unreadable()
    assert class_nbr_of(raw) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*ROW["CLAS"], *ROW]), JUNK)
def test_whatever_one_field_holds_the_row_is_read_or_not_and_nothing_is_raised(name: str, value: object) -> None:
    changed = row({name: value}) if name in ROW["CLAS"] else row(**{name: value})
    answer = read_row(changed, "2267")
    assert isinstance(answer, Found | Gone | Unreadable)
    if isinstance(answer, Found) and name not in ("seatInfo", "ENRL_CAP"):
        assert answer.facts.seats_available == 3


class TestUnreservedSeats:
    def test_they_are_what_is_left_beyond_the_places_that_groups_have_left(self) -> None:
        assert reserved((5, 4), (6, 2)) == 10 - 1 - 4

    def test_a_group_with_more_people_than_places_holds_back_nothing(self) -> None:
        assert reserved((1, 33), (4, 2)) == 10 - 2

    def test_they_are_never_less_than_none(self) -> None:
        assert reserved((40, 0), flag="C") == 0

    def test_none_of_a_section_that_is_called_open_is_unknown_and_so_are_some_of_a_closed_one(self) -> None:
        assert reserved((10, 0), flag="O") is None
        assert reserved((10, 0), flag="C") == 0
        assert reserved((5, 0), flag="C") is None
        assert reserved((5, 0), flag="W") is None
        assert reserved((5, 0), flag="O") == 5

    def test_without_the_registrars_flag_nothing_stands_by_them(self) -> None:
        assert reserved((5, 0), flag="") is None

    @pytest.mark.parametrize(
        "groups", [..., None, [], "5", {}, [None], [{"ENRL_CAP": 5}], [{"ENRL_CAP": 5, "ENRL_TOT": -1}]]
    )
    def test_groups_that_cannot_be_read_leave_them_unknown_and_the_row_readable(self, groups: object) -> None:
        seen = facts({"HASACTIVERESERVEDSEATS": "Y"}, reservedSeatsInfo=groups)
        assert (seen.non_reserved_seats, seen.seats_available) == (None, 3)

    def test_groups_of_a_section_without_active_reservations_count_for_nothing(self) -> None:
        assert facts(reservedSeatsInfo=[{"ENRL_CAP": 2, "ENRL_TOT": 0}]).non_reserved_seats is None


class TestInstructors:
    def test_null_is_staff_only_where_the_sort_name_says_so(self) -> None:
        nobody = {"INSTRUCTORSLIST": None, "INSTRUCTORSLASTNAMELISTFORSORTING": "STAFF"}
        assert facts(nobody).instructor_name == "Staff"
        assert facts(nobody | {"INSTRUCTORSLASTNAMELISTFORSORTING": "MORENO"}).instructor_name is None
        assert facts(nobody | {"INSTRUCTORSLASTNAMELISTFORSORTING": ...}).instructor_name is None

    def test_a_missing_key_is_unknown_whatever_the_sort_name_says(self) -> None:
        told = {"INSTRUCTORSLIST": ..., "INSTRUCTORSLASTNAMELISTFORSORTING": "STAFF"}
        assert facts(told).instructor_name is None

    @pytest.mark.parametrize("names", [[], [""], [None], [7], "Ada Moreno", {}])
    def test_a_list_that_names_nobody_is_like_null(self, names: object) -> None:
        assert facts({"INSTRUCTORSLIST": names}).instructor_name is None
        told = {"INSTRUCTORSLIST": names, "INSTRUCTORSLASTNAMELISTFORSORTING": "Staff"}
        assert facts(told).instructor_name == "Staff"


class TestTexts:
    def test_html_is_taken_out_of_times(self) -> None:
        told = {"STARTTIMES": ["3:00 PM<br/>&nbsp;-5:45 PM"], "ENDTIMES": ["5:45 PM"]}
        assert facts(told, DAYLIST=["T Th"]).meeting_times == "T Th 3:00 PM-5:45 PM"
        told = {"STARTTIMES": ["3:00 PM<br/>"], "ENDTIMES": ["&nbsp;-5:45 PM"]}
        assert facts(told, DAYLIST=["T Th"]).meeting_times == "T Th 3:00 PM-5:45 PM"

    def test_several_patterns_are_told_one_after_another(self) -> None:
        told = {"STARTTIMES": ["9:00 AM", "1:00 PM"], "ENDTIMES": ["9:50 AM", "2:15 PM"]}
        assert facts(told, DAYLIST=["M W", "F"]).meeting_times == "M W 9:00 AM-9:50 AM, F 1:00 PM-2:15 PM"

    def test_the_topic_is_part_of_the_title(self) -> None:
        told = {"COURSETITLELONG": "Special Topics", "DESCR50": "Image Processing and Analysis"}
        assert facts(told).title == "Special Topics: Image Processing and Analysis"

    def test_half_characters_and_what_cannot_be_shown_are_left_out(self) -> None:
        seen = facts({"COURSETITLELONG": "Design \ud83c\x00 & Co", "INSTRUCTORSLIST": ["A\ud83d da"]})
        assert (seen.title, seen.instructor_name) == ("Design & Co", "A da")

    def test_no_text_is_longer_than_the_tables_hold(self) -> None:
        seen = facts(
            {"COURSETITLELONG": "x" * 999, "INSTRUCTORSLIST": ["y" * 200] * 9, "STARTTIMES": ["1" * 99] * 99},
            DAYLIST=["M"] * 99,
            LOCATIONBUILDING=[{"NAME": f"{place:0200}"} for place in range(9)],
        )
        for text in (seen.title, seen.instructor_name, seen.location, seen.meeting_times):
            assert text is not None
            assert len(text) <= 300
