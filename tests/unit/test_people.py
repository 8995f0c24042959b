"""Who teaches: the many words for nobody yet, and that a person among them is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sections.text import is_staff, people_in

NOBODY = [
    *("", " ", "Staff", "STAFF ", "the staff", "[Staff]", "Staff.", "Staff 2", "Department Staff", "Staff Member"),
    *("TBA", "tba", "T.B.A.", "TBD", "TBC", "(TBA)", "To Be Announced", "to be determined", "To be assigned"),
    *("Instructor TBA", "Faculty TBD", "TBA Staff", "Instructor to be announced", "Instructor", "Faculty"),
    *("N/A", "n/a", "n.a.", "None", "null", "Unassigned", "Not assigned", "Not yet assigned", "No Instructor"),
    *("Unknown", "Vacant", "-", "--", "...", "?", "*", "0", "Not Available", "Instructor not yet assigned"),
]
WORDS = [line for line in NOBODY if line.strip()]
PEOPLE = [
    *("Ada Lovelace", "Lovelace, Ada", "Bob Staff", "Staff, Bob", "A. Staffa", "Grace Hopper-Tba", "Ng", "Li"),
    *("Anna To", "Jean None\u0301", "\u738b\u4f1f", "O'Neill", "N. Ames", "Vacante, Rosa"),
]
JOINTS = [", ", "; ", " / ", " & ", " and ", "\n", "|", " + "]


@pytest.mark.parametrize("line", [None, *NOBODY])
def test_nobody_has_many_spellings(line: str | None) -> None:
    assert is_staff(line)


@pytest.mark.parametrize("line", PEOPLE)
def test_a_person_is_somebody(line: str) -> None:
    assert not is_staff(line)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.sampled_from(JOINTS))
def test_a_list_of_nobodies_is_nobody(parts: list[str], joint: str) -> None:
    assert is_staff(joint.join(parts))


@given(st.lists(st.sampled_from(WORDS), max_size=3), st.sampled_from(PEOPLE), st.sampled_from(JOINTS), st.randoms())
def test_one_person_in_a_list_is_somebody(parts: list[str], person: str, joint: str, dice: object) -> None:
    mixed = [*parts, person]
    dice.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert people_in(joint.join(mixed)) >= people_in(person)


def test_the_order_and_the_spelling_of_a_list_do_not_matter() -> None:
    assert people_in("Ada Lovelace, Grace Hopper") == people_in("GRACE  HOPPER / ada lovelace; Staff")
