"""`./run.sh ops ...`: look and act. Each module of this room holds the commands of one subject."""

from __future__ import annotations

import click

from shared.cli.ask import doctor, why
from shared.cli.looks import looks
from shared.cli.mail import mail
from shared.cli.ownership import ownership
from shared.cli.queue import breaker, dead, lock
from shared.cli.source import source
from shared.cli.status import status
from shared.cli.student import student
from shared.cli.work import check, tick
from shared.cli.workers import workers


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def ops() -> None:
    """Look and act. Every command takes --json; exit code 0 says that it was done or that all is well."""


_COMMANDS = (status, doctor, tick, check, looks, why, student, dead, breaker, source, lock, workers, mail, ownership)
for _command in _COMMANDS:
    ops.add_command(_command)
