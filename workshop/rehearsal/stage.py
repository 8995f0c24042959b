"""`python -m workshop.rehearsal.stage JSON`: what runs inside the namespaces: network, town, boxes, acts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from shared.settings import ROOT
from workshop.parts.processes import start_child
from workshop.rehearsal import network
from workshop.rehearsal.box import Box
from workshop.rehearsal.cgroups import Cgroups
from workshop.rehearsal.containers import Containers
from workshop.rehearsal.operator import Server
from workshop.rehearsal.releases import Origin
from workshop.rehearsal.town import Town, wait_until

DOMAIN = "classes.local"  # Caddy signs for it by itself
_DISK = "3G"

LOOK_UP_MS = 400
"""How long the campus takes to answer where something is to happen in the middle of a tick."""


class BrokenOffError(Exception):
    """What everything later stands on did not work."""


@dataclass(slots=True)
class Line:
    """One row of the table: what was done, how long it took, what there is to say, and whether it was as promised."""

    what: str
    seconds: float
    told: str
    good: bool


@dataclass(slots=True)
class Stage:
    """Everything that an act needs."""

    town: Town
    servers: list[Server]
    origin: Origin
    folder: Path
    quick: bool
    version: int
    console: Console
    lines: list[Line] = field(default_factory=list)

    @property
    def server(self) -> Server:
        """The only server, or the first of several."""
        return self.servers[0]

    @contextmanager
    def act(self, what: str, *, vital: bool = False) -> Iterator[list[str]]:
        """Measure one act; what is put into the list is its comment. Whatever it raises is a broken promise.

        Raises `BrokenOffError` when one that is `vital` did not work.
        """
        began, said = time.monotonic(), list[str]()
        try:
            yield said
            good = True
        except (RuntimeError, TimeoutError, AssertionError, OSError, subprocess.SubprocessError) as error:
            said.append(str(error)[-700:] or type(error).__name__)
            good = False
            self._restore_order()
        line = Line(what, time.monotonic() - began, "; ".join(said), good)
        self.lines.append(line)
        colour = "" if good else "[bold red]FAILED[/] "
        self.console.print(f"{line.seconds:6.1f} s  {colour}{line.what}: {line.told}", highlight=False, soft_wrap=True)
        if vital and not good:
            raise BrokenOffError

    def one_tick(self) -> float:
        """Once all is quiet have everything checked, and wait for it: seconds it took."""
        wait_until(lambda: self.town.checked(time.time() - 2) == 0, "the last checks end", 60)
        began = time.time()
        self.server.tick()
        return wait_until(lambda: self.town.unchecked(began) == 0, "every section is checked", 120)

    def quarter_of_a_tick(self, seats: int) -> float:
        """Open `seats` and begin a tick of slow look-ups; when it began, once a quarter of all sections is checked."""
        self.one_tick()
        self.town.delay(LOOK_UP_MS)
        self.town.open_seats(seats)
        began = time.time()
        self.server.tick()
        all_of_them = len(self.town.sections)
        wait_until(lambda: self.town.unchecked(began) <= 0.75 * all_of_them, "a quarter is checked", 60)
        return began

    def _restore_order(self) -> None:
        """After an act that broke off: power, cables, and a campus that answers at once."""
        self.town.delay(0)
        for server in self.servers:
            network.mend(server.box.name)
            if not server.box.has_power and server.secret:
                server.box.power_on()

    def tell(self) -> bool:
        """The table, and whether everything was as promised."""
        table = Table("what was done", "seconds", "what was seen", title=f"Rehearsal on Debian {self.version}")
        for line in self.lines:
            table.add_row(line.what, f"{line.seconds:.1f}", ("" if line.good else "FAILED: ") + line.told)
        self.console.print(table)
        owed, twice = self.town.owed(), self.town.twice()
        total = sum(self.town.opened.values())
        self.console.print(f"{total} seats opened: {len(owed)} emails lost, {len(twice)} sent twice.", highlight=False)
        return all(line.good for line in self.lines) and not owed and not twice


def main(told: dict[str, object]) -> int:
    """Build the stage, play, tell; the exit code."""
    folder = Path(str(told["folder"]))
    console = Console(width=140 if not sys.stdout.isatty() else None)
    network.set_up()
    disk = _disk(folder)
    cgroups = Cgroups(str(told["name"]))
    town = Town.found(sys.executable, folder)
    debian, bare = Path(str(told["debian"])), "var/lib/docker" if told["docker"] else ""
    boxes = [
        Box(f"server{number}", f"10.77.0.{10 + number}", debian, disk, folder, cgroups, bare)
        for number in range(1, int(str(told["boxes"])) + 1)
    ]
    servers: list[Server] = [Containers(box, town) if told["docker"] else Server(box, town, DOMAIN) for box in boxes]
    origin = Origin(_origin(folder), folder)
    stage = Stage(town, servers, origin, folder, bool(told["quick"]), int(str(told["version"])), console)
    with suppress(BrokenOffError):
        for play in _plays(stage, play_of(told), told["only"]):
            play(stage)
    good = stage.tell()
    for server in servers:
        server.box.power_off()
    return 0 if good else 1


def play_of(told: Mapping[str, object]) -> ModuleType:
    """The module with the acts of what was asked for (`boxes`, `docker`)."""
    from workshop.rehearsal import in_docker, one_server, two_servers

    if told["docker"]:
        return in_docker
    return two_servers if int(str(told["boxes"])) > 1 else one_server


def _plays(stage: Stage, play: ModuleType, only: object) -> list[Callable[[Stage], None]]:
    acts = list(play.SHORT if stage.quick else play.FULL)
    wanted = only if isinstance(only, list) else []
    return [*play.INSTALLATION, *(act for act in acts if not wanted or act.__name__ in wanted)]


def _disk(folder: Path) -> Path:
    """A disk of a small server's size for all boxes, in one file; gone with our mounts."""
    image, place = folder / "disk.img", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(int(_DISK[:-1]) * 1024**3)
    network.do("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", image)
    network.do("mount", "-o", "loop", image, place)
    return place


def _origin(folder: Path) -> Path:
    """What the servers clone: the commit that is checked out here, as the main branch; served by git itself."""
    origin = folder / "origin"
    origin.mkdir()
    bare = origin / "pickmyclass.git"
    commit = network.do("git", "-C", ROOT, "rev-parse", "HEAD").strip()
    network.do("git", "init", "-q", "--bare", "-b", "main", bare)
    network.do("git", "-C", ROOT, "push", "-q", bare, f"{commit}:refs/heads/main")
    words = ["git", "daemon", f"--base-path={origin}", "--export-all", f"--listen={network.GATEWAY}", "--reuseaddr"]
    with (folder / "git.log").open("wb") as log:
        start_child([*words, str(origin)], stdout=log, stderr=log)
    return bare


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
