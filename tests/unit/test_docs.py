"""The documents say what is: links lead somewhere, commands exist, every function is listed."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from commands import commands
from shared.cli.main import ops
from shared.settings import ROOT
from shared.web.routes import PAGES, ROUTES
from workshop.compare.command import compare

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=str)
HANDED_ON = {"compare": compare, "ops": ops}  # they are loaded only when they are called
OUR_ROOMS = ("shared", "functions", "workshop", "supabase", "deploy", "docs", "tests")


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_relative_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), target


def written_commands(document: Path) -> list[list[str]]:
    """Every `./run.sh …` of a document, as words, up to where its line, its quotation or a comment ends."""
    text = document.read_text().replace("\\\n", " ")
    return [found.split() for found in re.findall(r"\./run\.sh((?: [^\s`#|&;…]+)+)", text)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_and_options_that_are_named_exist(document: Path) -> None:
    for words in written_commands(document):
        command: click.Command = commands
        for number, word in enumerate(words):
            if not isinstance(command, click.Group) or word == "--help":
                options = {name for option in command.params for name in option.opts}
                given = {one.partition("=")[0] for one in words[number:] if re.fullmatch(r"--[a-z].*", one)}
                assert command.ignore_unknown_options or given <= options | {"--help"}, words
                break
            assert word in command.commands, words
            command = HANDED_ON.get(word, command.commands[word])


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_files_that_are_named_exist(document: Path) -> None:
    for name in re.findall(
        rf"`((?:{'|'.join(OUR_ROOMS)})/[\w./-]+\.(?:py|sql|lua|md|sh|html|yaml))`", document.read_text()
    ):
        assert (ROOT / name).exists(), name


def test_the_readme_lists_every_route_and_its_folder() -> None:
    text = (ROOT / "README.md").read_text()
    for route in (*ROUTES, *PAGES):
        assert route.path in text, route.path
        assert f"functions/{route.name}" in text, route.name


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for name, command in commands.commands.items():
        if not command.hidden:
            assert f"./run.sh {name}" in text, name
