"""Where the processes of a box are counted and bounded. Both of the kernel's systems are known: v1's and v2's."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpuset", "cpu", "cpuacct", "pids", "blkio", "devices", "freezer", "memory", "systemd", "unified")


class Cgroups:
    """The groups of one rehearsal, named after it, so that they can be removed by name when it is gone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.split = not (_ROOT / "cgroup.controllers").exists()
        """Whether the machine still has v1's hierarchies, one for each controller."""

    def enter(self, box: str, memory_bytes: int) -> str:
        """Make the groups of `box`; a line of shell by which a process enters them."""
        if not self.split:
            folder = _ROOT / self._name / box
            folder.mkdir(parents=True)
            with suppress(OSError):
                (_ROOT / self._name / "cgroup.subtree_control").write_text("+memory +pids +cpu")
                (folder / "memory.max").write_text(str(memory_bytes))
            return f"echo $$ >{folder}/cgroup.procs;"
        lines = []
        for controller in _CONTROLLERS:
            folder = self._place(controller) / f"{self._name}-{box}"
            folder.mkdir(exist_ok=True)
            if controller == "memory":
                with suppress(OSError):
                    (folder / "memory.use_hierarchy").write_text("1")
                (folder / "memory.limit_in_bytes").write_text(str(memory_bytes))
            if controller == "cpuset":  # a new one has neither, and nobody can enter it
                for knob in ("cpuset.cpus", "cpuset.mems"):
                    (folder / knob).write_text((folder.parent / knob).read_text())
            lines.append(f"echo $$ >{folder}/cgroup.procs;")
        return " ".join(lines)

    def remove(self) -> bool:
        """Remove them with what is below; false while one still has a process."""
        tops = [_ROOT / self._name]
        if self.split:
            tops = [group for one in _CONTROLLERS for group in self._place(one).glob(f"{self._name}-*")]
        for top in tops:
            folders = [path for path in top.rglob("*") if path.is_dir()]
            for folder in [*sorted(folders, key=lambda path: len(path.parts), reverse=True), top]:
                with suppress(OSError):
                    folder.rmdir()
        return not any(top.exists() for top in tops)

    @staticmethod
    def _place(controller: str) -> Path:
        """Memory below our own group, as that is what bounds us; the others at the top."""
        if controller != "memory":
            return _ROOT / controller
        own = next(
            (
                line.split(":", 2)[2]
                for line in Path("/proc/self/cgroup").read_text().splitlines()
                if ":memory:" in line
            ),
            "/",
        )
        return _ROOT / "memory" / own.lstrip("/")
