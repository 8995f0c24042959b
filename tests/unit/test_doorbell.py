"""The doorbell's wait can be ended also when the server hangs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared import redis
from shared.redis import Doorbell, RedisError


def test_a_wait_whose_server_hangs_is_cut_when_the_server_was_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, cuts = [0.0], [0]

    class Hanging:
        def client_unblock(self, _: int) -> bool:
            now[0] += 5.0
            raise RedisError("not answered")

    def cut() -> None:
        cuts[0] += 1
        doorbell._silent.set()

    monkeypatch.setattr(redis.time, "monotonic", lambda: now[0])
    doorbell = Doorbell(cast(Any, Hanging()), "redis://127.0.0.1:9", "bell", 300.0)
    monkeypatch.setattr(doorbell._client.connection_pool, "disconnect", cut)
    doorbell._number = 1
    doorbell._silent.clear()
    doorbell.interrupt()
    assert (cuts[0], now[0]) == (1, 5.0), "asked once"
    doorbell.close()
