"""The port that loses answers, itself."""

from __future__ import annotations

import socket
import threading

from workshop.parts.wire import Wire


def test_an_answer_that_was_to_be_lost_arrives_when_the_wire_was_healed_before_it_came() -> None:
    may_answer = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, Wire(server.getsockname()[1]) as wire:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(100)
                asked.set()
                may_answer.wait(10)
                connection.sendall(b"answer")
                connection.recv(100)

        asked = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        wire.lose(b"question")
        with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as client:
            client.sendall(b"question")
            assert asked.wait(10)
            wire.heal()
            may_answer.set()
            assert client.recv(100) == b"answer"
        thread.join(10)
        assert wire.lost == 0
