"""`./run.sh ops ...`: look and act. Each command is a function in one of the `commands_*` modules."""

from __future__ import annotations

import click

from shared.ops.commands_ownership import ownership
from shared.ops.commands_status import status
from shared.ops.commands_work import check, tick


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def ops() -> None:
    """Look and act. Every command takes --json; exit code 0 says that it was done or that all is well."""


for _command in (status, tick, check, ownership):
    ops.add_command(_command)
