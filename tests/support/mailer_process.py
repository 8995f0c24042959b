"""A mailer as a process of its own, to be killed: `python -m tests.support.mailer_process DATABASE_URL RESEND_URL`."""

from __future__ import annotations

import sys

from shared.database import connect_postgres
from shared.mail.resend import ResendClient
from shared.mail.send import MailRoom, MailTiming, send_due_mail
from tests.support.mail import KEY, renderer


def main(database_url: str, resend_url: str, worker: str, lease: str) -> None:
    """Send until nothing has been due for a while."""
    room = MailRoom(
        connect_postgres(database_url),
        ResendClient(resend_url, KEY),
        renderer(),
        lambda sections: None,
        MailTiming(lease=float(lease), unit=0.05),
    )
    send_due_mail(room, worker, patience=60.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
