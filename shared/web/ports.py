"""Whether a port can be listened on, said before a server says it in its own way."""

from __future__ import annotations

import errno
import socket

_WHY = {
    errno.EADDRINUSE: "is taken; `ss -ltnp` says by whom. Stop that, or choose another PORT",
    errno.EACCES: "is for root only. Choose a PORT from 1024 up, and let Caddy listen on 80 and 443",
    errno.EADDRNOTAVAIL: "does not exist: HOST is no address of this machine",
}


class PortError(Exception):
    """Nothing can listen there; the message says why and what to do."""


def require_free_port(host: str, port: int) -> None:
    """Raise `PortError` unless this process could listen on `host` and `port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:
        why = _WHY.get(error.errno or 0, f"cannot be listened on ({error.strerror}). Look at HOST and PORT")
        raise PortError(f"{host}:{port} {why}.") from None
