"""The commands of run.sh. Each hands on at once; what only one of them needs is imported in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from shared.settings import ROOT, Settings, SettingsError, load, unknown_names

F = TypeVar("F", bound=Callable[..., object])

BENCHMARKS = ("commands", "database", "queues", "memory", "starts", "growth", "month", "looks", "pages")
PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """PickMyClass: tells students when a seat opens in a class section they watch."""


def settings_or_exit(*, complete: bool) -> Settings:
    """The settings; every problem is printed with its remedy before the command leaves with status 2."""
    for unknown in unknown_names():
        click.echo(f"In .env: {unknown}.", err=True)
    try:
        return load(complete=complete)
    except SettingsError as error:
        click.echo(f"The settings need attention ({len(error.problems)}):\n{error}", err=True)
        click.echo("Set them in the environment or in .env; .env.example explains each.", err=True)
        sys.exit(2)


def port_or_exit(host: str, port: int) -> None:
    """Nothing, if the port is free; else why not and what to do, and the command leaves with status 1."""
    from shared.web.ports import PortError, require_free_port

    try:
        require_free_port(host, port)
    except PortError as error:
        raise click.ClickException(str(error)) from None


@commands.command()
@click.option("--tape", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A recorded campus.")
@click.option("--ticks", type=click.IntRange(1), help="How many half hours to play.")
@click.option("--sections", type=click.IntRange(1, 5000), help="How many sections the simulated campus has.")
@click.option("--seed", type=int, default=7, show_default=True, help="Which simulated campus.")
@click.option("--term", help="The term that the campus is played as; default: one that is not over on that day.")
@click.option("--source", type=click.Choice(["asu", "scraper"]), default="asu", show_default=True, help="Whom to ask.")
@click.option("--looks", type=click.IntRange(0, 700), help="How often a section is looked at in a day.")
def demo(
    tape: Path | None,
    ticks: int | None,
    sections: int | None,
    seed: int,
    term: str | None,
    source: str,
    looks: int | None,
) -> None:
    """Play a day on real embedded parts and compare every email with what the campus did."""
    from workshop.demo.demo import run_demo

    sys.exit(run_demo(tape=tape, ticks=ticks, sections=sections, seed=seed, term=term, source=source, looks=looks))


@commands.command()
@click.option("--local", is_flag=True, help="Bring Postgres, Redis, a campus and an inbox along.")
def up(local: bool) -> None:
    """Serve everything until Ctrl-C."""
    if local:
        from workshop.demo.up import run_local

        sys.exit(run_local())
    from shared.cli.supervise import run_both

    settings_or_exit(complete=True)
    sys.exit(run_both())


def rehearsal(command: F) -> F:
    """The options with which `chaos` starts the product's processes; docs/reliability.md explains them."""
    speed = click.option("--speed", type=click.FloatRange(1), default=1.0, hidden=True)
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return speed(click.option("--clock", type=file, hidden=True)(command))


def rehearse(speed: float, clock: Path | None) -> None:
    """Let this process wait `speed` times as short and tell the time by `clock`, if a chaos run started it."""
    if speed == 1 and clock is None:
        return
    from shared.durations import Durations
    from shared.wiring import wiring
    from workshop.chaos.clock import ShiftedClock

    wiring(clock=ShiftedClock(clock) if clock else None, durations=Durations().divided_by(speed))


@commands.command()
@rehearsal
def functions(speed: float, clock: Path | None) -> None:
    """Serve the HTTP functions on HOST:PORT."""
    from shared.web.host import serve
    from shared.wiring import start_logs

    settings = settings_or_exit(complete=False)
    rehearse(speed, clock)
    start_logs(settings)
    port_or_exit(settings.host, settings.port)
    if settings.missing():
        click.echo(f"Not set: {', '.join(settings.missing())}. What needs them answers with an error.", err=True)
    serve(settings)


@commands.command()
@click.argument("name")
@click.argument("port", type=click.IntRange(1, 65535), default=8080)
def function(name: str, port: int) -> None:
    """Serve one function alone, by the Functions Framework's own command line, on loopback."""
    from shared.web.routes import PAGES, ROUTES

    served = (*ROUTES, *PAGES)
    route = next((route for route in served if route.name == name), None)
    if route is None:
        known = ", ".join(sorted({route.name for route in served}))
        raise click.BadParameter(f"there is no function {name}; there are: {known}", param_hint="NAME")
    port_or_exit("127.0.0.1", port)
    # By the interpreter, not by the script beside it: that one names the folder where it was installed.
    framework = [sys.executable, "-m", "functions_framework"]
    words = ["--source", str(route.source), "--target", name, "--host", "127.0.0.1", "--port", str(port)]
    # The framework reads WORKERS too, as a number of processes; ours is the consumer's threads.
    environment = {name: value for name, value in os.environ.items() if name != "WORKERS"}
    os.execve(sys.executable, [*framework, *words], environment)  # noqa: S606 - replaces this process: signals reach it


@commands.command()
@click.option("--replay", is_flag=True, help="Only work on what is queued: ticks, rescue and mail are another's.")
@rehearsal
def consumer(replay: bool, speed: float, clock: Path | None) -> None:
    """Run the Huey consumer: worker threads, scheduler, rescue and mailer."""
    settings_or_exit(complete=True)
    rehearse(speed, clock)
    from huey_app import run_consumer

    run_consumer(replay=replay)


@commands.command()
def setup() -> None:
    """Ask what only you know, try every service, make the secrets, and write .env."""
    from shared.cli.setup import run_setup

    run_setup()


@commands.command()
@click.option("--post-cutover", is_flag=True, help="Also the point of no return: run after the Workers are gone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def migrate(post_cutover: bool, yes: bool) -> None:
    """Apply the migrations to DATABASE_URL; a second run changes nothing."""
    from shared.migrations import migrate as apply
    from shared.routines import MigrationError

    settings = settings_or_exit(complete=False)
    if settings.database_url is None:
        raise click.ClickException("DATABASE_URL is not set: migrations need a session connection to Postgres.")
    if post_cutover and not yes:
        question = "After this the old Workers can no longer write section states. Are they switched off for good?"
        click.confirm(question, abort=True)
    try:
        report = apply(settings.database_url, max_watches=settings.max_watches_per_user, post_cutover=post_cutover)
    except MigrationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(report))


@commands.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ops(words: tuple[str, ...]) -> None:
    """Look and act: status, tick, check, ownership …"""
    from shared.cli.main import ops as group

    group(args=list(words), prog_name="run.sh ops")


@commands.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def tape(words: tuple[str, ...]) -> None:
    """Record a term from what this server saw: FILE, as CSV that a simulated campus can play."""
    from shared.cli.tape import tape as record

    record(args=list(words), prog_name="run.sh tape")


@commands.command()
@click.option("--seed", type=int, help="Which faults, campus and students; default: one by chance, printed.")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=1.0, show_default=True, help="How long, each seed.")
@click.option("--tape", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A recorded campus.")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many, one by one.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the logs of failed runs here.")
@click.option("--source", type=click.Choice(["scraper", "asu", "asu,scraper"]), default="scraper", show_default=True)
def chaos(seed: int | None, minutes: float, tape: Path | None, seeds: int, keep: Path | None, source: str) -> None:
    """Kill, stop, empty and break everything while a campus is played; then compare every email."""
    from workshop.chaos.command import run_chaos

    sys.exit(run_chaos(seed=seed, minutes=minutes, tape=tape, seeds=seeds, keep=keep, source=source))


@commands.command("rehearse")
@click.option("--boxes", type=click.IntRange(1, 2), default=1, show_default=True, help="How many servers.")
@click.option("--quick", is_flag=True, help="Install, a mail, a broken release, rollback.")
@click.option("--docker", is_flag=True, help="One server with Docker instead (Debian 13).")
@click.option("--debian", type=click.Choice(["12", "13"]), help="Which Debian; 12 where nothing is said.")
@click.option("--only", multiple=True, help="After the installation play only this act; may be repeated.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the consoles and logs here.")
def rehearse_deployment(
    boxes: int, quick: bool, docker: bool, debian: str | None, only: tuple[str, ...], keep: Path | None
) -> None:
    """Install, upgrade and break real Debian servers in boxes (root, Linux)."""
    from workshop.rehearsal.command import run_rehearsal

    if docker and (boxes > 1 or debian == "12"):
        raise click.UsageError("--docker plays one server with Debian 13, which has compose.")
    version = int(debian or ("13" if docker else "12"))
    sys.exit(run_rehearsal(boxes=boxes, quick=quick, docker=docker, version=version, only=only, keep=keep))


@commands.command()
@click.option("--only", multiple=True, type=click.Choice(BENCHMARKS), help="Measure only this; may be repeated.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too."
)
def bench(only: tuple[str, ...], json_file: Path | None) -> None:
    """Measure what everything costs, beside plain Huey and BullMQ."""
    from workshop.bench.command import run_bench

    sys.exit(run_bench(only=only, json_file=json_file))


@commands.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def compare(words: tuple[str, ...]) -> None:
    """Compare with the old Workers version: replay, http …"""
    from workshop.compare.command import compare as group

    group(args=list(words), prog_name="run.sh compare")


@commands.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def test(words: tuple[str, ...]) -> None:
    """Run the tests; arguments go to pytest. Without any, three processes share them: they mostly wait."""
    os.chdir(ROOT)
    words = words or ("--numprocesses=3", "--dist=loadfile")
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])  # noqa: S606 - pytest with our own interpreter


@commands.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(1), default=30, show_default=True, help="How many faults to try.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which ones.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="A folder; a cut run goes on from it.")
@click.option("--seconds", type=click.FloatRange(1), default=60, show_default=True, help="Of tests for each fault.")
def mutate(paths: tuple[Path, ...], sample: int, seed: int, keep: Path | None, seconds: float) -> None:
    """Put single faults into the code and see whether the tests that reach them notice."""
    import tempfile

    from workshop.mutate.command import run_mutate

    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run_mutate(ROOT, paths, sample, seed, (keep or Path(folder)).resolve(), seconds))


@commands.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a function: its folder, route, description, contract test, and its lines in README and Caddyfile."""
    from workshop.new import make

    for file in make(name, ROOT):
        click.echo(file)
    click.echo("Fill it in: CONTRIBUTING.md tells the rest.")


@commands.command()
@click.option("--fix", is_flag=True, help="Format and mend what can be mended.")
def check(fix: bool) -> None:
    """Formatter, linter, strict types, which room may know which, dead code; and, unless it mends, the unit tests."""
    steps = {
        "format": ["-m", "ruff", "format", *([] if fix else ["--check"]), "."],
        "lint": ["-m", "ruff", "check", *(["--fix"] if fix else []), "."],
        "types": ["-m", "mypy"],
        "rooms": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo"],
        "dead code": ["-m", "vulture"],
    }
    if not fix:
        steps["unit tests"] = ["-m", "pytest", "tests/unit", "--numprocesses=2", "--dist=loadfile"]
    failed = [name for name, words in steps.items() if _python(words) != 0]
    if failed:
        raise click.ClickException(f"not clean: {', '.join(failed)}")


def _python(words: list[str]) -> int:
    return subprocess.run([sys.executable, *words], cwd=ROOT).returncode  # noqa: S603 - our own arguments


if __name__ == "__main__":
    commands(prog_name="pickmyclass")
