"""The desk over HTTP: its page, what is shown there, and the few things that it has the product do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import jwt
import requests

from workshop.campus.sections import HALF_HOUR_MS, Timeline
from workshop.demo.students import Watch
from workshop.parts.registry import Registry
from workshop.parts.stack import Stack
from workshop.parts.web import Answer, BadRequest, Request, json_answer, page_answer

_TOKEN_SECONDS = 7 * 24 * 3600
_PAGES = (
    ("Front page", "/", "what a newcomer sees"),
    ("Dashboard", "/dashboard", "what a student watches"),
    ("Administration", "/admin", "whom to help, and how"),
)
"""Pages of the product."""
_LATE_MS = 3000  # a clock this near to ours is ours


@dataclass(frozen=True, slots=True)
class Example:
    """Somebody and something to begin with: a student who may be mailed, and a full section that he or she watches."""

    term: str
    class_nbr: str
    course: str
    student: str
    token: str


def choose_example(stack: Stack, term: str, timelines: list[Timeline], watches: list[Watch], now_ms: int) -> Example:
    """The first section that is full at `now_ms` and watched by somebody who gets mail; with a token for a week."""
    told = {watch.class_nbr: watch.student for watch in watches if watch.student.refuses is None}
    section = next(one for one in timelines if one.class_nbr in told and one.at(now_ms).seats_available == 0)
    student = told[section.class_nbr]
    settings = stack.environment
    claims = {
        "sub": student.user_id,
        "email": student.email,
        "aud": "authenticated",
        "role": "authenticated",
        "iss": f"{settings['SUPABASE_URL'] or settings['SITE_URL']}/auth/v1",
        "iat": int(time.time()),
        "exp": int(time.time()) + _TOKEN_SECONDS,
    }
    token = jwt.encode(claims, settings["SUPABASE_JWT_SECRET"], algorithm="HS256")
    course = f"{section.course.subject} {section.course.catalog_nbr}"
    return Example(term, section.class_nbr, course, student.email, token)


class Desk:
    """Serves the desk of one stack, once it is `open`."""

    def __init__(self) -> None:
        self._stack: Stack | None = None
        self._shown: dict[str, Any] = {}
        self._http = requests.Session()
        self._http.trust_env = False
        self._slot: int | None = None  # of the campus, when its clock was looked at last
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/"): lambda _: page_answer(files(__package__).joinpath("page.html").read_text()),
            ("GET", "/desk/shown"): lambda _: json_answer(self._shown),
            ("GET", "/desk/watchers"): lambda _: json_answer(self._registry.watchers()),
            ("POST", "/desk/check"): self._check,
            ("POST", "/desk/tick"): lambda _: self._ask_product("GET", "/api/cron?group=all"),
        }

    def open(self, stack: Stack, example: Example, settings_file: str) -> None:
        """Begin to answer for `stack`, whose settings a shell can read from `settings_file`."""
        self._registry = Registry(stack.postgres.url())
        self._shown = {
            "site": stack.functions_url,
            "campus": stack.campus_url,
            "inbox": stack.inbox_url,
            "database": stack.postgres.url(),
            "cron_secret": stack.cron_secret,
            "settings_file": settings_file,
            "pages": [[name, stack.functions_url + path, about] for name, path, about in _PAGES],
            "example": asdict(example),
        }
        self._stack = stack

    def close(self) -> None:
        """Close what it holds open."""
        if self._stack:
            self._registry.close()
        self._http.close()

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if self._stack is None:
            return json_answer({"error": "the parts are still starting"}, 503)
        route = self._routes.get((request.method, request.path))
        return route(request) if route else json_answer({"error": "there is no such thing at the desk"}, 404)

    def follow_the_clock(self) -> None:
        """Have everything looked at when the campus's clock has gone over a half hour in another way than ours does.

        The product lives in our time and looks at its own half hours by itself.
        """
        if self._stack is None:
            return
        try:
            clock = self._http.get(f"{self._stack.campus_url}/control/clock", timeout=5).json()
            before, self._slot = self._slot, clock["now_ms"] // HALF_HOUR_MS
            is_ours = clock["rate"] == 1 and abs(clock["now_ms"] - time.time() * 1000) < _LATE_MS
            if before is not None and before != self._slot and not is_ours:
                self._ask_product("GET", "/api/cron?group=all")
        except requests.RequestException:
            return  # a campus under faults of its own is looked at again in a moment

    def _check(self, request: Request) -> Answer:
        class_nbr = request.fields().get("class_nbr")
        if not isinstance(class_nbr, str):
            raise BadRequest("class_nbr must be a section's number")
        wanted = {"class_nbr": class_nbr, "term": self._shown["example"]["term"]}
        return self._ask_product("POST", "/api/queue/process-section", wanted)

    def _ask_product(self, method: str, path: str, body: Any = None) -> Answer:
        """What the product answers to its operator."""
        headers = {"Authorization": f"Bearer {self._shown['cron_secret']}"}
        try:
            answer = self._http.request(method, self._shown["site"] + path, json=body, headers=headers, timeout=120)
        except requests.RequestException as error:
            return json_answer({"error": f"the product does not answer ({type(error).__name__})"}, 502)
        return Answer(answer.status_code, answer.content)
