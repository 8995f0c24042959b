"""Faults on demand: what a stand-in does wrong, to whom, and how often. Shared by campus and inbox."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workshop.parts.web import Answer, BadRequest, Request, json_answer

Options = Mapping[str, Any]
Kinds = Mapping[str, Options]
"""For each kind of fault its options with their defaults; the type of a default is the type of the option, and a
tuple lists the words to choose from, the default first."""


@dataclass(slots=True)
class Fault:
    """One standing order to misbehave."""

    kind: str
    match: str | None = None  # one section or address; None: everyone
    count: int | None = None  # how many calls are left; None: until cleared
    options: dict[str, Any] = field(default_factory=dict)


class Faults:
    """The standing orders of one stand-in, oldest first. For any thread."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._orders: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, wanted: Mapping[str, Any]) -> Fault:
        """Take an order `{kind, match?, count?, …options}`; raises `BadRequest` naming what is wrong with it."""
        fault = self._parse(wanted)
        with self._lock:
            self._orders.append(fault)
        return fault

    def take(self, names: Collection[str] = (), kinds: Collection[str] | None = None) -> Fault | None:
        """The order to carry out on a call about `names`, used up by one call; `None`: behave.

        Only orders of `kinds` are considered, when given.
        """
        with self._lock:
            for fault in self._orders:
                if (fault.match is None or fault.match in names) and (kinds is None or fault.kind in kinds):
                    self._use(fault)
                    return fault
        return None

    def clear(self, kind: str | None = None) -> None:
        """Forget all orders, or those of one kind."""
        with self._lock:
            self._orders = [fault for fault in self._orders if kind is not None and fault.kind != kind]

    def as_json(self) -> list[dict[str, Any]]:
        """The standing orders, for the page and for tests."""
        with self._lock:
            return [asdict(fault) for fault in self._orders]

    def answer(self, request: Request) -> Answer:
        """Serve `/control/faults`: GET lists, POST adds, DELETE (with `?kind=`) clears."""
        if request.method == "POST":
            return json_answer({"fault": asdict(self.add(request.fields()))}, 201)
        if request.method == "DELETE":
            self.clear(request.query.get("kind"))
        return json_answer({"faults": self.as_json()})

    def _use(self, fault: Fault) -> None:
        if fault.count is None:
            return
        fault.count -= 1
        if fault.count <= 0:
            self._orders.remove(fault)

    def _parse(self, wanted: Mapping[str, Any]) -> Fault:
        kind = wanted.get("kind")
        if not isinstance(kind, str) or kind not in self._kinds:
            raise BadRequest(f"kind must be one of {', '.join(self._kinds)}")
        match, count = wanted.get("match"), wanted.get("count")
        if match is not None and not isinstance(match, str):
            raise BadRequest("match must be a string")
        if count is not None and (type(count) is not int or count < 1):
            raise BadRequest("count must be a whole number from 1")
        options = {name: value[0] if isinstance(value, tuple) else value for name, value in self._kinds[kind].items()}
        for name, value in wanted.items():
            if name in ("kind", "match", "count"):
                continue
            options[name] = _option(kind, name, value, self._kinds[kind])
        return Fault(kind, match, count, options)


def _option(kind: str, name: str, value: Any, known: Options) -> Any:
    if name not in known:
        raise BadRequest(f"{kind} has no option {name}; it has {', '.join(known) or 'none'}")
    default = known[name]
    if isinstance(default, tuple):
        if value not in default:
            raise BadRequest(f"{name} must be one of {', '.join(default)}")
        return value
    wanted = type(default)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted or (wanted in (int, float) and value < 0):
        raise BadRequest(f"{name} must be a {wanted.__name__}" + (" from 0" if wanted in (int, float) else ""))
    return value
