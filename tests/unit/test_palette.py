"""One palette: `colours.css`. What cannot read a style sheet repeats its colours and nothing else."""

import re
from itertools import chain
from pathlib import Path

import pytest

from shared.settings import ROOT
from shared.web.pages import colours

PAGES = ROOT / "shared" / "web" / "pages"
PLACES = sorted(
    chain(
        (path for path in PAGES.iterdir() if path.suffix in (".css", ".html", ".js", ".svg", ".py")),
        (ROOT / "shared" / "mail").rglob("*.html"),
        (ROOT / "supabase" / "templates").glob("*.html"),
        [ROOT / "shared" / "mail" / "renderer.py"],
        (ROOT / "functions").rglob("*.py"),
    )
)
COLOUR = re.compile(r"(?:(?<![&\w])#|%23)([0-9a-f]{6}|[0-9a-f]{3})\b|fill='%23\{\{ (\{.*?\})", re.IGNORECASE)


def used(text: str) -> set[str]:
    """Every colour that a text names."""
    found = set()
    for plain, table in COLOUR.findall(text):
        found |= set(re.findall(r"'([0-9a-f]{6})'", table)) if table else {plain.lower()}
    return found


@pytest.mark.parametrize("path", PLACES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_colour_is_used_anywhere(path: Path) -> None:
    light, dark = colours()
    known = {value.removeprefix("#") for value in (*light.values(), *dark.values())}
    assert used(path.read_text()) - known == set()


def test_every_name_has_a_colour_in_the_dark() -> None:
    light, dark = colours()
    text = (PAGES / "colours.css").read_text().split("@media")[1]
    assert {name for name in light if f"--{name}:" not in text} <= {"on-accent"}
    assert set(dark) <= set(light)


def test_a_colour_of_ones_own_is_found_wherever_it_hides() -> None:
    assert used("a{color:#ABCDEF}<rect fill='%23123456'/>&#8199;&#847; #a1b href='#main'") == {
        "abcdef",
        "123456",
        "a1b",
    }
    assert used("fill='%23{{ {'healthy': '1f8a54', 'degraded': 'c77700'}[overall] }}'") == {"1f8a54", "c77700"}


def shine(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((shine(one), shine(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


READ = [
    *((words, ground) for words in ("text", "quiet", "link") for ground in ("page", "card", "none-tint")),
    *((f"{state}-text", f"{state}-tint") for state in ("good", "fair", "bad")),
    *((f"{state}-text", "card") for state in ("good", "bad")),
    *(("text", f"{state}-tint") for state in ("good", "fair", "bad")),
    ("on-accent", "accent"),
]
"""Words on grounds, as the style sheets put them."""
SEEN = [
    ("edge", "card"),
    ("focus", "page"),
    ("focus", "card"),
    ("good", "card"),
    ("good", "trough"),
    ("openings", "card"),
]
"""What is not read but must be told from its ground."""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_and_marks_stand_out_from_their_ground(dark: bool) -> None:
    light, night = colours()
    named = {**light, **night} if dark else light
    if dark:  # there the words are of the state's own colour
        named |= {f"{state}-text": named[state] for state in ("good", "fair", "bad")}
    pale = {(a, b): round(contrast(named[a], named[b]), 2) for a, b in READ if contrast(named[a], named[b]) < 4.5}
    pale |= {(a, b): round(contrast(named[a], named[b]), 2) for a, b in SEEN if contrast(named[a], named[b]) < 3}
    assert pale == {}
