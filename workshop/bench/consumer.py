"""The product's consumer with every wait divided by SPEED: `python -m workshop.bench.consumer SPEED`."""

from __future__ import annotations

import sys

from huey_app import run_consumer
from shared.durations import Durations
from shared.wiring import wiring

if __name__ == "__main__":
    wiring(durations=Durations().divided_by(float(sys.argv[1])))
    run_consumer()
