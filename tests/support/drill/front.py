"""The switch of a rehearsal: a real Caddy that leads to one side or the other, as DNS does in the move."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from workshop.parts.processes import Child, free_port, start_child, stop_child

_READY_SECONDS = 20.0


class Front:
    """Listens on `url`. Use it as a context manager."""

    def __init__(self, folder: Path, upstream: str) -> None:
        """Lead to `upstream` at first; `folder` holds its files."""
        self._folder, self._port, self._upstream = folder, free_port(), upstream
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._write(self._upstream)
        self._child: Child = start_child(
            ["caddy", "run", *self._configured()],
            env={**os.environ, "XDG_CONFIG_HOME": str(self._folder), "XDG_DATA_HOME": str(self._folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Caddy did not start")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_child(self._child)

    def lead_to(self, upstream: str) -> None:
        """Switch; requests on their way are finished where they are."""
        self._write(upstream)
        command = ["caddy", "reload", *self._configured(), "--address", f"unix/{self._admin}"]
        subprocess.run(command, check=True, capture_output=True, timeout=_READY_SECONDS)

    @property
    def _admin(self) -> Path:
        return self._folder / "admin.sock"

    def _configured(self) -> list[str]:
        return ["--config", str(self._folder / "Caddyfile"), "--adapter", "caddyfile"]

    def _write(self, upstream: str) -> None:
        (self._folder / "Caddyfile").write_text(
            f"{{\n\tadmin unix/{self._admin}\n\tauto_https off\n}}\n{self.url} {{\n\treverse_proxy {upstream}\n}}\n"
        )

    def _answers(self) -> bool:
        try:
            requests.get(f"{self.url}/", timeout=5)
        except requests.ConnectionError:
            return False
        return True
