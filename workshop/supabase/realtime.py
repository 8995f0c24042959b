"""Supabase Realtime's websocket, both serializations, as far as changes of tables go.

https://supabase.com/docs/guides/realtime/protocol
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from workshop.supabase.channels import Binding, Channel, FilterError
from workshop.supabase.feed import Change, Feed
from workshop.supabase.sessions import AuthProblem

_LOOK_SECONDS = 0.5


class _Wire:
    """One connection: frames in its serialization, channels by topic."""

    def __init__(self, connection: ServerConnection, version: str) -> None:
        self.connection, self._version = connection, version
        self.channels: dict[str, Channel] = {}

    def read(self, frame: str | bytes) -> dict[str, Any]:
        message = json.loads(frame)
        if self._version.startswith("2"):
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), message, strict=True))
        return dict(message)

    def send(self, topic: str, event: str, payload: Any, ref: str | None = None, join_ref: str | None = None) -> None:
        if self._version.startswith("2"):
            message: Any = [join_ref, ref, topic, event, payload]
        else:
            message = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
        self.connection.send(json.dumps(message))

    def system(self, channel: Channel, status: str, message: str) -> None:
        name = channel.topic.removeprefix("realtime:")
        payload = {"status": status, "extension": "postgres_changes", "channel": name, "message": message}
        self.send(channel.topic, "system", payload, join_ref=channel.join_ref)


class Realtime:
    """All open connections of a project. For any thread."""

    def __init__(
        self,
        database_url: str,
        read_token: Callable[[str], dict[str, Any]],
        clock: Callable[[], float],
        *,
        anon_key: str,
    ) -> None:
        """`read_token` gives a token's claims or raises `AuthProblem`; `anon_key` opens a connection."""
        self._read_token, self._clock, self._anon_key = read_token, clock, anon_key
        self._wires: set[_Wire] = set()
        self._lock = threading.Lock()
        self.down = False
        self._feed = Feed(database_url, self._tell)

    def serve(self, connection: ServerConnection) -> None:
        """Talk with one client until either side has enough."""
        request = connection.request
        assert request is not None
        query = parse_qs(urlsplit(request.path).query)
        if self.down or query.get("apikey") != [self._anon_key]:
            connection.close(4001, "Unauthorized")
            return
        wire = _Wire(connection, query.get("vsn", ["1.0.0"])[0])
        with self._lock:
            self._wires.add(wire)
        try:
            while not self.down:
                self._close_outdated(wire)
                try:
                    frame = connection.recv(timeout=_LOOK_SECONDS)
                except TimeoutError:
                    continue
                self._hear(wire, wire.read(frame))
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self._wires.discard(wire)
            connection.close()

    def open(self) -> int:
        """How many topics are joined."""
        with self._lock:
            return sum(len(wire.channels) for wire in self._wires)

    def stop(self) -> None:
        """Close every connection and hear of no change any more."""
        self._feed.stop()
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            wire.connection.close(1001)

    def _hear(self, wire: _Wire, message: dict[str, Any]) -> None:
        topic, event, payload = message["topic"], message["event"], message.get("payload") or {}
        ref, channel = message.get("ref"), wire.channels.get(message["topic"])
        if event == "heartbeat" and topic == "phoenix":
            wire.send(topic, "phx_reply", {"status": "ok", "response": {}}, ref)
        elif event == "phx_join":
            self._join(wire, message, payload)
        elif event == "access_token" and channel:
            self._renew(wire, channel, payload)
        elif event == "phx_leave" and channel:
            del wire.channels[topic]
            wire.send(topic, "phx_reply", {"status": "ok", "response": {}}, ref, channel.join_ref)
            wire.send(topic, "phx_close", {}, ref, channel.join_ref)

    def _join(self, wire: _Wire, message: dict[str, Any], payload: dict[str, Any]) -> None:
        topic, ref, join_ref = message["topic"], message.get("ref"), message.get("join_ref")
        config = payload.get("config") or {}
        try:
            claims = self._claims(payload.get("access_token"))
        except AuthProblem as problem:
            reason = "InvalidJWTExpiration" if "expired" in problem.message else "JwtSignatureError"
            answer = {"status": "error", "response": {"reason": f"{reason}: {problem.message}"}}
            wire.send(topic, "phx_reply", answer, ref, join_ref)
            return
        bindings = [Binding(dict(asked)) for asked in config.get("postgres_changes") or []]
        channel = Channel(topic, join_ref, bindings, claims)
        listed = [{"id": one.id, **one.asked} for one in bindings]
        wire.send(topic, "phx_reply", {"status": "ok", "response": {"postgres_changes": listed}}, ref, channel.join_ref)
        if (config.get("presence") or {}).get("enabled"):
            wire.send(topic, "presence_state", {}, join_ref=channel.join_ref)
        try:
            for one in bindings:
                one.check()
        except FilterError as problem:
            channel.bindings = []
            wire.channels[topic] = channel
            wire.system(channel, "error", f"Unable to subscribe to changes with given parameters. {problem}")
            return
        wire.channels[topic] = channel
        if bindings:
            wire.system(channel, "ok", "Subscribed to PostgreSQL")

    def _renew(self, wire: _Wire, channel: Channel, payload: dict[str, Any]) -> None:
        try:
            channel.claims = self._claims(payload.get("access_token"))
        except AuthProblem as problem:
            self._close(wire, channel, problem.message)

    def _claims(self, token: str | None) -> dict[str, Any]:
        """Of a person's token; the anonymous key, or none at all, speaks for nobody."""
        return self._read_token(token) if token and token != self._anon_key else {"role": "anon"}

    def _close_outdated(self, wire: _Wire) -> None:
        for channel in list(wire.channels.values()):
            over = channel.seconds_over(self._clock())
            if over > 0:
                self._close(wire, channel, f"Token has expired {int(over)} seconds ago")

    def _close(self, wire: _Wire, channel: Channel, reason: str) -> None:
        wire.system(channel, "error", reason)
        wire.send(channel.topic, "phx_close", {}, join_ref=channel.join_ref)
        wire.channels.pop(channel.topic, None)

    def _tell(self, change: Change) -> None:
        """Everyone who asked for it and may see it; whoever hangs up meanwhile is left out."""
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            for channel in list(wire.channels.values()):
                ids = channel.hears(change)
                if ids and self._may_see(channel, change):
                    data = {**change, "columns": self._feed.columns[change["table"]], "errors": None}
                    try:
                        wire.send(
                            channel.topic, "postgres_changes", {"ids": ids, "data": data}, join_ref=channel.join_ref
                        )
                    except ConnectionClosed:
                        break

    def _may_see(self, channel: Channel, change: Change) -> bool:
        if change["type"] == "DELETE":
            return True  # no row is left that a policy could be asked about
        return self._feed.may_read(channel.claims, change["table"], change["record"]["id"])
