"""The doctor asks the sources and Resend: do they answer, and do they take our keys?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import requests

from shared.exchange import bounded_session
from shared.health.findings import Finding, fine, note, problem
from shared.parts import Parts
from shared.sections.section import Section
from shared.source.answers import Broken, Found, NotFound, Refused, Throttled
from shared.source.turns import NoTurnError

_TIMEOUT = 9.0
_MOST_BYTES = 1024 * 1024


def scraper(parts: Parts) -> Iterator[Finding]:
    """It takes our token. Asked for a section that cannot be one, it has nothing to scrape: 400 is the good answer."""
    url, token = parts.settings.scraper_url, parts.settings.scraper_secret_token
    if url is None or token is None or "scraper" not in parts.settings.sources:
        return
    answer = _ask("POST", f"{url}/scrape", token, {"sectionNumber": "?", "term": "?"})
    if isinstance(answer, str):
        yield problem("scraper", answer, "See whether it runs, and whether SCRAPER_URL is right")
    elif answer.status_code in (401, 403):
        yield problem("scraper", f"it refuses our token ({answer.status_code})", "Correct SCRAPER_SECRET_TOKEN")
    elif answer.status_code in (400, 422):
        yield fine("scraper", "answers and takes our token")
    elif answer.status_code == 404:
        yield problem("scraper", "there is no /scrape at SCRAPER_URL", "Correct SCRAPER_URL (without /scrape)")
    elif answer.status_code == 429:
        yield note("scraper", "answers, but asks us to slow down (429)")
    else:
        remedy = "Look at the scraper's own log"
        yield problem("scraper", f"answers with {answer.status_code} to a request that is wrong", remedy)


def asu(parts: Parts) -> Iterator[Finding]:
    """It lets visitors in. Asked for a number that no section has, it says so: "not found" is the good answer."""
    if "asu" not in parts.settings.sources or parts.settings.source_contact is None:
        return
    try:
        answer = parts.asu.look_up(Section(f"{parts.clock():2%y1}", "00000"), _TIMEOUT)
    except NoTurnError as error:
        said = f"not asked: there is no leave for another {error.seconds:.0f} s"
        yield note("asu", said, "`./run.sh ops breaker status` tells why")
        return
    match answer:
        case NotFound() | Found():
            yield fine("asu", "the catalog answers")
        case Throttled(seconds):
            yield problem(
                "asu", f"asks us to wait {seconds:.0f} s, or shows a wall", "docs/sources.md: when it refuses us"
            )
        case Refused(reason) | Broken(reason):
            yield problem("asu", reason, "docs/sources.md: when it refuses us; `./run.sh ops source try TERM NUMBER`")


def resend(parts: Parts) -> Iterator[Finding]:
    """It takes our key, and the sender's domain is verified there."""
    settings = parts.settings
    if settings.resend_api_key is None or settings.notification_from_email is None:
        yield note("resend", "RESEND_API_KEY is not set: mail stays pending", "Set it in .env to send mail")
        return
    answer = _ask("GET", f"{settings.resend_api_url}/domains", settings.resend_api_key, None)
    if isinstance(answer, str):
        yield problem("resend", answer, "See whether this machine reaches the internet, and RESEND_API_URL")
        return
    told = _json(answer)
    if answer.status_code == 401 and told.get("name") == "restricted_api_key":
        yield fine("resend", "takes our key")
        yield note(
            "resend", "the key may only send, so the domain cannot be looked at", "`./run.sh ops mail test ADDRESS`"
        )
    elif answer.status_code in (400, 401, 403):
        yield problem("resend", f"it refuses our key ({answer.status_code})", "Correct RESEND_API_KEY")
    elif answer.status_code == 404:
        yield note("resend", "a stand-in: it knows no domains", "`./run.sh ops mail test ADDRESS` tries it")
    elif answer.status_code != 200:
        yield problem("resend", f"answers with {answer.status_code}", "Look at Resend's status page; try again later")
    else:
        yield fine("resend", "takes our key")
        yield _domain(told, settings.notification_from_email)


def _domain(told: dict[str, Any], sender: str) -> Finding:
    wanted = re.sub(r".*@([^>]*)>?$", r"\1", sender).strip().casefold()
    domains = {str(one.get("name")).casefold(): one.get("status") for one in told.get("data") or []}
    status = domains.get(wanted)
    if status == "verified":
        return fine("resend", "the sender's domain is verified")
    if status is None:
        return problem(
            "resend", "it does not know the sender's domain", "Add it at Resend, or mend NOTIFICATION_FROM_EMAIL"
        )
    return problem("resend", f"the sender's domain is {status}", "Finish its DNS records at Resend")


def _ask(method: str, url: str, token: str, body: dict[str, str] | None) -> requests.Response | str:
    """The answer, or in words that there is none (no address in them)."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "pickmyclass"}
    with bounded_session(_MOST_BYTES) as session:
        try:
            return session.request(method, url, json=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
        except requests.Timeout:
            return "does not answer in time"
        except requests.RequestException as error:
            return f"cannot be reached ({type(error).__name__})"


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
