"""A log line is one line whatever is in it, and tells the millisecond."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from shared import logs

EVIL = "fine\n12:00:00 ERROR   forged\x1b[2J\x9b\udc80"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_break_in_message_or_value_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="INFO", form="text", key="k")
    logging.getLogger("x").info("said: %s", EVIL, extra={"reason": EVIL})
    (line,) = lines(capsys)
    assert line.isprintable()
    assert line.count("\\n12:00:00 ERROR") == 2


def test_a_traceback_is_set_in_so_that_its_words_forge_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="INFO", form="text", key="k")
    try:
        raise ValueError(EVIL)
    except ValueError:
        logging.getLogger("x").error("it failed", exc_info=sys.exc_info())
    first, *others = lines(capsys)
    assert "it failed" in first
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert any("forged" in line for line in others)


def test_json_lines_tell_the_millisecond(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="INFO", form="json", key="k")
    logging.getLogger("x").info("said: %s", EVIL)
    (line,) = lines(capsys)
    assert line.isprintable()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", json.loads(line)["time"])
