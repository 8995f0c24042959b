"""A product that is spoiled on purpose: the replay must say so, and no defect of the old side may explain it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from shared.mail.renderer import Renderer
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.replay import theatre as replay
from workshop.compare.replay.decisions import Slot
from workshop.compare.replay.new_side import NewSide
from workshop.compare.replay.play import replay_all
from workshop.compare.replay.scene import Scene
from workshop.compare.replay.theatre import Theatre

SQL = {
    "claims are always taken": ("where n.expires_at <= p_now", ""),
    "claims never end": ("n.expires_at <= p_now", "false"),
    "a full section frees no claim": (
        "delete from public.notifications_sent n using public.class_watches w",
        "delete from public.notifications_sent n using (select * from public.class_watches where false) w",
    ),
    "watchers of every term are told": ("w.term = p_event.term and", ""),
    "an older look overwrites a newer one": ("v_observed_at < v_known.observed_at", "false"),
    "the dashboard's row is not written": ("perform pickmyclass.project_state(v_new);", ""),
}


def spoil_sql(old: str, new: str) -> Callable[[str], None]:
    """Changes these words in every function that has them."""

    def spoil(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as session:
            found = session.execute(
                "select pg_get_functiondef(p.oid) from pg_proc p join pg_namespace n"
                " on n.oid = p.pronamespace where n.nspname in ('pickmyclass', 'public') and strpos(p.prosrc, %s) > 0",
                [old],
            ).fetchall()
            assert found
            for (definition,) in found:
                session.execute(definition.replace(old, new).encode())

    return spoil


def spoil_email(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[pytest.MonkeyPatch], None]:
    def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
        write = Renderer.write
        monkeypatch.setattr(Renderer, "write", lambda self, mail: change(write(self, mail)))

    return spoil


EMAILS = {
    "other seats in the text": lambda email: email | {"text": email["text"].replace(" open seat", "1 open seat")},
    "no facts in the page": lambda email: email | {"html": "<p>Something happened.</p>"},
    "a second recipient": lambda email: email | {"to": [*email["to"], "someone@example.edu"]},
    "no header to unsubscribe": lambda email: email | {"headers": {}},
    "another's link": lambda email: email | {"text": email["text"].replace("token=", "token=x")},
    "another year": lambda email: email | {"text": email["text"].replace(", 2026 at", ", 1999 at")},
}


@pytest.fixture(scope="module")
def sound(theatre: Theatre, scene: Scene) -> dict[Defects, list[Slot]]:
    """What the old side decides, played once for all tests."""
    return {defects: theatre.play_old(scene, defects) for defects in (NONE, frozenset(["O1"]))}


def is_noticed(
    theatre: Theatre, scene: Scene, sound: dict[Defects, list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether the replay finds something that nothing explains, without defects and with one."""
    monkeypatch.setattr(theatre, "play_old", lambda _scene, defects, _tell=None: sound[defects])
    found = list(replay_all(theatre, scene, list(sound), lambda _words, _slots: lambda _number: None))
    return all(one.unexplained > 0 and not one.good for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("what", SQL)
def test_a_spoiled_database_is_noticed(
    what: str, theatre: Theatre, scene: Scene, sound: dict[Defects, list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil = spoil_sql(*SQL[what])

    class Spoiled(NewSide):
        def __init__(self, scene: Scene, url: str) -> None:
            spoil(url)
            super().__init__(scene, url)

    monkeypatch.setattr(replay, "NewSide", Spoiled)
    assert is_noticed(theatre, scene, sound, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("what", EMAILS)
def test_a_spoiled_email_is_noticed(
    what: str, theatre: Theatre, scene: Scene, sound: dict[Defects, list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_email(EMAILS[what])(monkeypatch)
    assert is_noticed(theatre, scene, sound, monkeypatch)


@pytest.mark.slow
def test_a_sound_product_is_not_complained_of(
    theatre: Theatre, scene: Scene, sound: dict[Defects, list[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_noticed(theatre, scene, sound, monkeypatch)
