"""How often one person may ask: a bucket of turns that refills evenly, counted in Redis for all processes at once."""

from __future__ import annotations

from dataclasses import dataclass

from shared.redis import Redis, Script

_SCRIPT = Script("students/rate_limit")


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """Buckets under one `prefix`; safe to share between threads."""

    client: Redis
    prefix: str

    def take(self, name: str, per_minute: int) -> float:
        """Take one turn of the bucket `name`, which holds `per_minute` and refills as many in a minute.

        Returns 0.0, or the seconds to wait when it is empty. One command. Raises `RedisError`.
        """
        wait = _SCRIPT(self.client, [f"{self.prefix}rate:{name}"], [60_000 / per_minute, per_minute])
        return int(wait) / 1000
