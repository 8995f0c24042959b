"""Text from outside: whatever it holds, what is kept can be stored, shown on one line, and compared."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.sections.text import is_clean, json_text, one_line, visible

anything = st.text(st.characters(codec=None, exclude_categories=()))


@given(anything)
@example("Design \ud83c")
@example("a\0b\x85c\u2028d")
def test_what_is_kept_is_printable_and_stays_as_it_is(text: str) -> None:
    kept = one_line(text)
    kept.encode()  # half a character has no bytes
    assert is_clean(kept)
    assert kept.splitlines() in ([], [kept])
    assert kept == one_line(kept)


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=300))
def test_what_can_be_read_is_left_alone(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Design \ud83c", "Design"),
        ("De\ud83csign", "Design"),
        (" a\r\nb\tc  d\x00e\x9f ", "a b c d e"),
        ("Sta\u200bff\u200e", "Staff"),
        ("S\u00e3o Paulo \U0001f389", "S\u00e3o Paulo \U0001f389"),
        ("x" * 299 + " yz", "x" * 299),
        (None, ""),
    ],
)
def test_examples(text: str | None, kept: str) -> None:
    assert one_line(text) == kept


@given(anything)
@example("\0")
@example("\udc80")
def test_clean_means_that_the_database_can_hold_it(text: str) -> None:
    try:
        can = b"\0" not in text.encode()
    except UnicodeEncodeError:
        can = False
    assert is_clean(text) == can


@given(anything)
@example("a\nb\x1b[31m\x9b\udc80\u2028\u202e")
def test_what_is_visible_is_printable_and_can_be_encoded(text: str) -> None:
    said = visible(text)
    assert said.isprintable()
    said.encode()


def test_letters_of_all_languages_are_visible_as_they_are() -> None:
    assert visible("S\u00e3o \u0416 \U0001f389") == "S\u00e3o \u0416 \U0001f389"
    assert visible("a\nb\x9b") == "a\\nb\\x9b"


@given(st.recursive(st.none() | anything, lambda part: st.lists(part) | st.dictionaries(anything, part)))
@example({"error": "\udc80\x9b"})
def test_json_of_anything_can_be_encoded_and_read_back(value: Any) -> None:
    text = json_text(value)
    assert json.loads(text.encode()) == value
    assert json_text("\u0416") == '"\u0416"', "letters of all languages stay as they are"
    assert not re.search("[\x00-\x1f\x7f-\x9f]", text)
