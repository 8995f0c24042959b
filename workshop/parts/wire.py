"""A port in front of a server whose answers can get lost: the server has done its work, and nobody hears of it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

_PIECE = 1 << 16


class Wire:
    """Passes bytes on between `port` of the loopback and the server's `target`. Its methods are for any thread.

    While it loses answers, an answer is held for a while and then its connection is cut, which is what a client sees
    that gave up waiting. A server that is down looks like one that hangs up at once.
    """

    def __init__(self, target: int) -> None:
        """`target` is a port of 127.0.0.1."""
        self.port = 0
        self.lost = 0
        """How many answers got lost."""
        self._target = target
        self._losing: tuple[bytes, float] | None = None
        self._left = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def lose(self, to: bytes = b"", *, held: float = 0.0, times: int = 1 << 30) -> None:
        """From now on lose the answers to requests that contain `to`, `times` of them, each `held` seconds long."""
        self._left = times
        self._losing = (to, held)

    def heal(self) -> None:
        """Lose no more."""
        self._losing = None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        writers = [to_client]
        doomed: list[float] = []
        with suppress(OSError, asyncio.CancelledError):
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(to_server)
            ways = [self._forth(client, to_server, doomed), self._back(server, to_client, doomed)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()

    async def _forth(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, doomed: list[float]) -> None:
        while data := await client.read(_PIECE):
            if (losing := self._losing) and self._left > 0 and losing[0] in data:
                self._left -= 1
                doomed.append(losing[1])
            server.write(data)
            await server.drain()

    async def _back(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, doomed: list[float]) -> None:
        while data := await server.read(_PIECE):
            if self._losing is None:
                doomed.clear()
            if doomed:
                self.lost += 1
                await asyncio.sleep(doomed[0])
                return
            client.write(data)
            await client.drain()
