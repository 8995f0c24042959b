"""Every setting of the project, with what is wrong or missing.

`load()` reads and validates everything and reports all problems at once, each with the name of the setting and
the remedy; a value is never repeated in a message, because it may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared import settings_values as values
from shared.environment import OLD_NAMES, gather
from shared.schedule import ScheduleError, check_schedule
from shared.sections.text import is_clean

ROOT = Path(__file__).resolve().parent.parent

_SOURCES = {"scraper": ("SCRAPER_URL", "SCRAPER_SECRET_TOKEN"), "asu": ("SOURCE_CONTACT",)}
"""What each word of SOURCE needs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that is wrong or missing, and what to do about it."""

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.remedy}"


class SettingsError(Exception):
    """Raised by `load` with every problem found; the message lists them, one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"  {problem}" for problem in problems))


HttpUrl = Annotated[str, AfterValidator(values.http_url)]


class Settings(BaseModel):
    """The validated settings; a field is named like its variable, in small letters.

    `None` means not set. Descriptions are what `.env.example` says of each.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    redis_url: Annotated[str, AfterValidator(values.redis_url)] | None = Field(
        None, repr=False, description="Queue, breaker and lock: redis://, or rediss:// for a hosted one."
    )
    supabase_url: HttpUrl | None = Field(None, description="The Supabase project's address.")
    supabase_service_role_key: str | None = Field(None, repr=False, description="The project's service-role key.")
    supabase_anon_key: str | None = Field(
        None, description="The project's anonymous key: signs students in, and lets their pages hear of changes."
    )
    database_url: Annotated[str, AfterValidator(values.postgres_url)] | None = Field(
        None,
        repr=False,
        description="Session connection to Postgres: used by migrate, and by everything without SUPABASE_URL.",
    )
    database_transport: Literal["auto", "supabase", "postgres"] = Field(
        "auto",
        description="How functions and consumer reach the database; auto is supabase when SUPABASE_URL is set.",
    )
    source: Annotated[str, AfterValidator(values.source)] = Field(
        "scraper",
        description="Who is asked about seats: scraper, asu (the catalog's own interface), or both in order.",
    )
    scraper_url: HttpUrl | None = Field(None, description="The scraper service; not needed with SOURCE=asu.")
    scraper_secret_token: str | None = Field(
        None, repr=False, description="The scraper's token; not needed with SOURCE=asu."
    )
    asu_catalog_url: HttpUrl = Field(
        "https://eadvs-cscc-catalog-api.apps.asu.edu/catalog-microservices/api/v1",
        description="The interface of ASU's catalog, or a stand-in.",
    )
    looks_per_minute: int | None = Field(
        None,
        ge=0,
        le=600,
        description="The most calls to asu in a minute, over all servers (30 where nothing is set); "
        "0 switches extra looks off.",
    )
    source_contact: Annotated[str, AfterValidator(values.contact)] | None = Field(
        None, description="Your address, told to the source with every call; required with asu."
    )
    operator_name: str | None = Field(None, max_length=100, description="Who runs this: you, or your group.")
    cron_secret: Annotated[str, AfterValidator(values.cron_secret)] | None = Field(
        None,
        repr=False,
        description="Bearer token of the operator's endpoints; two separated by a comma while rotating.",
    )
    unsubscribe_signing_secret: Annotated[str, AfterValidator(values.secret)] | None = Field(
        None, repr=False, description="Signs the unsubscribe links."
    )
    site_url: Annotated[str, AfterValidator(values.site_url)] | None = Field(
        None, description="The public address; links in mail begin with it."
    )

    resend_api_key: str | None = Field(None, repr=False, description="Without it mail stays pending.")
    resend_api_url: HttpUrl = Field("https://api.resend.com", description="Resend's API, or a stand-in.")
    resend_webhook_secret: Annotated[str, AfterValidator(values.webhook_secret)] | None = Field(
        None, repr=False, description="Verifies Resend's webhooks (whsec_...)."
    )
    notification_from_email: Annotated[str, AfterValidator(values.sender)] | None = Field(
        None, description="The sender; required with a Resend key."
    )
    unsubscribe_legacy_secret: str | None = Field(
        None, repr=False, description="The old service-role key: verifies links already in inboxes, never signs."
    )
    supabase_jwt_secret: str | None = Field(None, repr=False, description="Verifies users' tokens signed with HS256.")
    site_upstream: HttpUrl | None = Field(None, description="Where the site's own pages are served (Caddy).")
    upstreams: Annotated[str, AfterValidator(values.host_ports)] | None = Field(
        None, description="Functions of other servers that HAProxy shares requests with: host:port, by commas."
    )
    operator_email: Annotated[str, AfterValidator(values.sender)] | None = Field(
        None, description="Where people reach whoever runs this, as the legal pages say."
    )
    max_watches_per_user: int = Field(10, ge=1, le=1000, description="How many sections one student may watch.")
    user_requests_per_minute: int = Field(
        300, ge=1, le=100_000, description="How often one student may ask in a minute."
    )
    user_lookups_per_minute: int = Field(
        60, ge=1, le=100_000, description="How often one student may make the scraper work in a minute."
    )
    workers: int = Field(4, ge=1, le=64, description="Worker threads of the consumer.")
    worker_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Name of this server in the registry; default its host name.",
    )
    cron_schedule: str = Field("0,30 * * * *", description="When the consumer ticks; must hit every half hour, or off.")
    cron_timezone: Annotated[str, AfterValidator(values.timezone)] = Field(
        "America/Phoenix", description="Time zone of the schedule and of times in mail."
    )
    log_format: Literal["json", "text", "auto"] = Field(
        "auto", description="json for machines, text for people; auto is text on a terminal."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least level that is logged."
    )
    redis_prefix: Annotated[str, AfterValidator(values.prefix)] = Field(
        "pickmyclass:", description="Prefix of every Redis key."
    )
    host: Annotated[str, AfterValidator(values.bind_address)] = Field(
        "127.0.0.1", description="Address the functions listen on."
    )
    port: int = Field(8080, ge=1, le=65535, description="Port the functions listen on.")
    heartbeat_url: HttpUrl | None = Field(None, description="A dead-man service, pinged around every tick.")
    alert_email: Annotated[str, AfterValidator(values.sender)] | None = Field(
        None, description="Whom to tell when something is wrong."
    )

    @property
    def transport(self) -> Literal["supabase", "postgres"]:
        """The transport in use, with "auto" resolved."""
        if self.database_transport == "auto":
            return "supabase" if self.supabase_url else "postgres"
        return self.database_transport

    @property
    def sources(self) -> tuple[str, ...]:
        """The words of SOURCE, in order."""
        return tuple(self.source.split(","))

    @property
    def calls_a_minute(self) -> int | None:
        """The most calls to the catalog; None where it is not asked. 0 extra looks leave the others' pace as it is."""
        return (self.looks_per_minute or 30) if "asu" in self.sources else None

    def secrets(self) -> list[str]:
        """The values that must never be seen: those of the fields that do not show themselves."""
        hidden = [name for name, field in type(self).model_fields.items() if not field.repr]
        values = [value for name in hidden if (value := getattr(self, name)) and "://" not in value]
        return [part.strip() for value in values for part in value.split(",")]

    def missing(self) -> list[str]:
        """Names of the settings that production needs and that are not set, in the order of the documentation."""
        given = [name for name in names() if getattr(self, name.lower()) is not None]
        return _missing(given, self.transport, self.sources)

    @staticmethod
    def problem(name: str) -> Problem:
        """What to say of the setting `name` when it is needed and not set."""
        text = Settings.model_fields[name.lower()].description or ""
        return Problem(name, f"not set; {text[:1].lower()}{text[1:].rstrip('.')}")


def load(
    environ: Mapping[str, str] | None = None, env_file: Path | None = ROOT / ".env", *, complete: bool = False
) -> Settings:
    """Read the settings from `environ` (default: the process's) over `env_file`, and validate all of them.

    With `complete` a missing required setting is a problem too; without it the functions start and their health
    page says what is missing. Raises `SettingsError` with every problem at once. An empty value means not set.
    """
    try:
        given = gather(names(), environ, env_file)
    except UnicodeDecodeError:
        raise SettingsError([Problem(".env", "is not UTF-8 text; save it as such")]) from None
    unclean = [name for name, value in given.items() if not is_clean(value)]  # could neither be stored nor sent
    raw = {name: value for name, value in given.items() if name not in unclean and not values.is_placeholder(value)}
    settings, problems = _validate(raw)
    problems += [Problem(name, "holds characters that are no text; type it anew") for name in unclean]
    problems += _unfit_schedule(raw)
    if "RESEND_API_KEY" in raw and "NOTIFICATION_FROM_EMAIL" not in raw:
        problems.append(
            Problem("NOTIFICATION_FROM_EMAIL", "set the sender; without one Resend only writes to yourself")
        )
    if complete:
        sources = [name for name in _SOURCES if name in raw.get("SOURCE", "scraper")]  # one of the values may be wrong
        missing = [Settings.problem(name) for name in _missing(raw, raw.get("DATABASE_TRANSPORT", "auto"), sources)]
        problems += [_still_placeholder(one) if one.name in given else one for one in missing]
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def unknown_names(env_file: Path = ROOT / ".env") -> list[Problem]:
    """Names in the file that are no settings of ours, each with the one that may be meant."""
    known = {*names(), *OLD_NAMES}
    given = dotenv_values(env_file) if env_file.is_file() else {}
    found = []
    for name in given:
        if name not in known:
            near = get_close_matches(name.upper(), known, 1, 0.8)
            meant = f"; is {near[0]} meant?" if near else ""
            found.append(Problem(name, f"is no setting of PickMyClass{meant}"))
    return found


def names() -> list[str]:
    """The variables' names, in the order of the documentation."""
    return [name.upper() for name in Settings.model_fields]


def _unfit_schedule(raw: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the schedule in its own time zone; a zone that does not exist is a problem of its own."""
    schedule, zone = (
        raw.get(name, Settings.model_fields[name.lower()].default) for name in ("CRON_SCHEDULE", "CRON_TIMEZONE")
    )
    try:
        check_schedule(schedule, values.timezone(zone))
    except ScheduleError as error:
        return [Problem("CRON_SCHEDULE", str(error))]
    except ValueError:
        return _unfit_schedule({**raw, "CRON_TIMEZONE": "UTC"})
    return []


def _still_placeholder(problem: Problem) -> Problem:
    return Problem(problem.name, problem.remedy.replace("not set", "still the placeholder of .env.example", 1))


def _missing(given: Collection[str], transport: str, sources: Iterable[str]) -> list[str]:
    """What production needs beside the `given` names; a wrong value is given, and is a problem of its own."""
    if transport not in ("supabase", "postgres"):
        transport = "supabase" if "SUPABASE_URL" in given else "postgres"
    database = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY") if transport == "supabase" else ("DATABASE_URL",)
    asked = [name for source in sources for name in _SOURCES[source]]
    needed = ("REDIS_URL", *asked, "CRON_SECRET", "UNSUBSCRIBE_SIGNING_SECRET", "SITE_URL", *database)
    return [name for name in needed if name not in given]


def _validate(raw: Mapping[str, str]) -> tuple[Settings | None, list[Problem]]:
    given: dict[str, Any] = {name.lower(): value for name, value in raw.items()}
    try:
        return Settings(**given), []
    except ValidationError as error:
        return None, [
            _problem(detail["loc"], detail["msg"]) for detail in error.errors(include_input=False, include_url=False)
        ]


def _problem(location: tuple[int | str, ...], message: str) -> Problem:
    name = str(location[0]).upper() if location else "settings"
    return Problem(name, message.removeprefix("Value error, "))
