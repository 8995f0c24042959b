"""Packages of npm that tests speak to: installed once into a cache, pinned, and never part of the product."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from workshop.parts.cache import cache_folder, exclusive

PACKAGES = {"@supabase/supabase-js": "2.119.1", "ws": "8.23.0", "axe-core": "4.14.1"}
SECONDS = 180


def node_folder() -> Path:
    """Where `node_modules` with the packages is; skips the test where there is no Node (not in CI)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing = "needs node and npm on the path (Debian: nodejs npm)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    manifest = json.dumps({"private": True, "dependencies": PACKAGES})
    folder = cache_folder() / f"node-{hashlib.sha256(manifest.encode()).hexdigest()[:12]}"
    with exclusive("node"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            (folder / "package.json").write_text(manifest)
            command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
            subprocess.run(command, cwd=folder, check=True, timeout=SECONDS)
            (folder / "done").touch()
    return folder


def run_node(script: str, *arguments: str, timeout: float = 60) -> list[dict[str, object]]:
    """Run an ES module with the packages at hand; the JSON lines that it prints."""
    folder = node_folder()
    file = folder / f"{hashlib.sha256(script.encode()).hexdigest()[:12]}.mjs"
    file.write_text(script)
    done = subprocess.run(["node", str(file), *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
