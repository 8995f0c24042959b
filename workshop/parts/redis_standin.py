"""A Redis for machines without one: fakeredis behind a TCP port, in a process of its own.

Started by `workshop.parts.redis` as `python -m workshop.parts.redis_standin PORT`. Good enough for demo and
development; nothing is kept on disk.
"""

from __future__ import annotations

import signal
import sys
import threading

from fakeredis import TcpFakeServer


def main(port: int) -> None:
    """Serve on the loopback until SIGTERM."""
    stopped = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopped.set())
    server = TcpFakeServer(("127.0.0.1", port))
    server.daemon_threads = True  # an open connection must not keep the process alive
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopped.wait()
    server.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
