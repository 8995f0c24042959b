"""Text from outside: whatever it holds, what is kept can be stored, shown on one line, and compared."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.sections.text import is_clean, one_line

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
