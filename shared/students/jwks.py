"""The public keys that Supabase signs its users' tokens with, fetched when needed and kept."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

from shared.exchange import bounded_session

log = logging.getLogger(__name__)

LIFETIME = 600.0
LEAST_INTERVAL = 30.0
MAX_BYTES = 64 * 1024
MAX_KEYS = 32


class KeysUnavailableError(Exception):
    """The keys were never fetched and cannot be fetched now."""


class SigningKeys:
    """Keys by their id. A token with an unknown id makes us look again, but not more often than `LEAST_INTERVAL`.

    Otherwise anybody could make us ask Supabase as often as they like. Keys that cannot be refreshed stay good:
    an outage of the sign-in service should not sign everybody out here.
    """

    def __init__(self, url: str, *, timeout: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._timeout, self._clock = url, timeout, clock
        self._lock = threading.Lock()
        self._keys: dict[str, dict[str, Any]] | None = None
        self._fetched_at = self._tried_at = float("-inf")

    def find(self, key_id: str) -> dict[str, Any] | None:
        """The JWK with this id, `None` when Supabase does not know it. Raises `KeysUnavailableError`."""
        with self._lock:
            known = (self._keys or {}).get(key_id)
            now = self._clock()
            outdated = now - self._fetched_at > LIFETIME
            if (known is None or outdated) and now - self._tried_at > LEAST_INTERVAL:
                self._tried_at = now
                self._refresh()
            if self._keys is None:
                raise KeysUnavailableError
            return self._keys.get(key_id)

    def _refresh(self) -> None:
        try:
            self._keys = self._fetch()
            self._fetched_at = self._clock()
        except (requests.RequestException, ValueError, AttributeError, TypeError) as error:
            log.warning("signing keys cannot be fetched", extra={"error": type(error).__name__})

    def _fetch(self) -> dict[str, dict[str, Any]]:
        with bounded_session(MAX_BYTES) as session:
            response = session.get(self._url, timeout=self._timeout, allow_redirects=False)
        if response.status_code != 200:
            raise ValueError("not the keys")
        keys = json.loads(response.content)["keys"][:MAX_KEYS]
        # A key that is published to encrypt with verifies nothing (RFC 7517, 4.2).
        return {key["kid"]: key for key in keys if isinstance(key.get("kid"), str) and key.get("use", "sig") == "sig"}
