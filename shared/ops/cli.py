"""`./run.sh ops ...`: look and act. Each command is a function in one of the `commands_*` modules."""

from __future__ import annotations

import click

from shared.ops.commands_ask import doctor, why
from shared.ops.commands_mail import mail
from shared.ops.commands_ownership import ownership
from shared.ops.commands_queue import breaker, dead, lock
from shared.ops.commands_status import status
from shared.ops.commands_work import check, tick
from shared.ops.commands_workers import workers


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def ops() -> None:
    """Look and act. Every command takes --json; exit code 0 says that it was done or that all is well."""


for _command in (status, doctor, tick, check, why, dead, breaker, lock, workers, mail, ownership):
    ops.add_command(_command)
