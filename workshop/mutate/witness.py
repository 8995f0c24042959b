"""A plugin of pytest that writes down which of the product's functions each test reaches, and how long it takes.

Used by `workshop.mutate.atlas`; what runs in processes of their own is not seen. Names of SQL functions are read from
the statements that are sent.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest

from workshop.mutate.faults import ROOMS

_ROUTINE = re.compile(r"\b(?:pmc_\w+|pickmyclass\.\w+)")
_root = f"{Path.cwd()}/"
_product = tuple(_root + room for room in ROOMS)
_reached: set[tuple[str, int]] = set()
_asked: set[str] = set()


def _look(frame: FrameType, _event: str, _argument: Any, product: tuple[str, ...] = _product) -> None:
    code = frame.f_code
    if code.co_filename.startswith(product):
        _reached.add((code.co_filename, code.co_firstlineno))


def _listening(execute: Callable[..., Any]) -> Callable[..., Any]:
    def heard(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        _asked.update(_ROUTINE.findall(text))
        return execute(self, query, *more, **named)

    return heard


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--witness FILE`: where the lines go."""
    parser.addoption("--witness")


def pytest_configure() -> None:
    """Begin to listen, also to threads that are started from now on."""
    for kind in (psycopg.Connection, psycopg.Cursor):
        kind.execute = _listening(kind.execute)  # type: ignore[method-assign]
    threading.settrace(_look)
    sys.settrace(_look)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """One line for each test, with what its fixtures reach and how long all of it takes."""
    _reached.clear()
    _asked.clear()
    began = time.monotonic()
    yield
    line = {
        "test": item.nodeid,
        "seconds": round(time.monotonic() - began, 3),
        "reached": sorted(f"{name.removeprefix(_root)}:{line}" for name, line in list(_reached)),
        "asked": sorted(name.removeprefix("pickmyclass.") for name in _asked),
    }
    with Path(item.config.getoption("--witness")).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
