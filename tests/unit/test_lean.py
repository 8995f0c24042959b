"""Leaving out what a library would load for features that nobody uses here."""

from __future__ import annotations

import importlib
import sys

import pytest

from shared.lean import absent


def test_an_absent_module_is_not_found_and_comes_back_afterwards() -> None:
    with absent("wave"), pytest.raises(ImportError):
        importlib.import_module("wave")
    assert importlib.import_module("wave").__name__ == "wave"


def test_a_module_that_was_loaded_before_stays() -> None:
    import json

    with absent("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json
