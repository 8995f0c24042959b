"""Faults in Python, made by the operators of cosmic-ray."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from workshop.mutate.faults import Place

# `int | None` is an annotation, never a sum of bits here; a removed decorator of ours breaks the import itself, and
# whether a class has slots or could be written to is nothing that a test sees.
_LEFT_OUT = re.compile(r"BitOr|BitAnd|BitXor|LShift|RShift|NoOp|RemoveDecorator|Variable|_Is_|_IsNot_|MatMul")


def places_in_python(path: Path, source: str) -> Iterator[Place]:
    """Every place in the file `path`, whose text is `source`, where one of the operators could act."""
    tree = get_ast(source)
    nodes, lines = list(ast_nodes(tree)), source.splitlines()
    for name in operator_names():
        if _LEFT_OUT.search(name):
            continue
        operator = get_operator(name)()
        occurrence = 0
        for node in nodes:
            for (line, _), _end in operator.mutation_positions(node):
                if not lines[line - 1].lstrip().startswith("@dataclass"):
                    yield Place(path, line, _python_fault(source, name, occurrence))
                occurrence += 1


def _python_fault(source: str, name: str, occurrence: int) -> Callable[[], str | None]:
    def make() -> str | None:
        made: str | None = mutate_code(source, get_operator(name)(), occurrence)
        return made

    return make
