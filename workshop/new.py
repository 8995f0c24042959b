"""`./run.sh new NAME`: a function with everything that belongs to one, ready to be filled.

It makes `functions/NAME/main.py` and its contract test, and adds its line to the routes, their description, the README
and the Caddyfile. What it makes passes `./run.sh check` and its own test as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

FUNCTION = '''"""GET {path}: say in a sentence what it does.

    curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080{path}

Say who may call it, and what they get.
"""

import functions_framework
from flask import Request, Response

from shared.web.auth import require_operator
from shared.web.doors import door
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def {name}(request: Request) -> Response:
    """Call one thing that a room of `shared/` does, and answer."""
    require_operator(request, wiring().settings)
    return reply({{"success": True}})
'''

TEST = '''"""{path}: one test for every row of its contract."""

import pytest

from tests.support.site import SECRET, Site

PATH = "{path}"


def test_the_operator_is_answered(site: Site) -> None:
    answer = site.ask("GET", PATH, bearer=SECRET)
    assert (answer.status_code, answer.get_json()) == (200, {{"success": True}})


@pytest.mark.parametrize("bearer", [None, "wrong"])
def test_nobody_else_is(site: Site, bearer: str | None) -> None:
    assert site.ask("GET", PATH, bearer=bearer).status_code == 401


def test_another_method_is_refused(site: Site) -> None:
    assert site.ask("POST", PATH, bearer=SECRET).status_code == 405
'''

OPERATION = """\
        Operation(
            "{path}",
            "GET",
            "Say what it does",
            "operator",
            {{200: _json("It is done.", outputs.Done), **_OPERATOR}},
        ),
"""


def make(name: str, root: Path) -> list[str]:
    """Make the function `name` in the project at `root`; the files that were made or changed.

    Raises `click.UsageError` for a name that cannot be one, or that is taken; then nothing was changed.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise click.UsageError("a function's name is in small letters, words joined by _: class_watches")
    if (root / "functions" / name).exists():
        raise click.UsageError(f"functions/{name} is there already")
    path = f"/api/{name.replace('_', '-')}"
    changes = {
        f"functions/{name}/main.py": FUNCTION.format(name=name, path=path),
        f"tests/contract/test_{name}.py": TEST.format(path=path),
        "shared/web/routes.py": _with(
            root, "shared/web/routes.py", r"^(?P<at>\))", f'    Route("{path}", "{name}"),\n'
        ),
        "shared/web/operations.py": _with(
            root, "shared/web/operations.py", r"^def _others(?s:.*?)^(?P<at>    \]$)", OPERATION.format(path=path)
        ),
        "README.md": _with(
            root,
            "README.md",
            r"^(?P<at>\| `GET /api/openapi\.json`)",
            f"| `GET {path}` | `functions/{name}` | bearer `CRON_SECRET` |\n",
        ),
        "Caddyfile": _with(root, "Caddyfile", r"^\t@ours path(?P<at> )", f" {path}"),
    }
    for file, text in changes.items():
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(text)
    return list(changes)


def _with(root: Path, file: str, pattern: str, line: str) -> str:
    """The file with `line` where the group `at` of the first match of `pattern` begins."""
    text = (root / file).read_text()
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise click.UsageError(f"{file} does not look as expected; add this by hand: {line.strip()}")
    return text[: found.start("at")] + line + text[found.start("at") :]
