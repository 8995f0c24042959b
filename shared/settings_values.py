"""What a value of a setting must look like. Each function returns the value to use or raises `ValueError` with the
remedy, which never repeats the value: it may be a secret."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

LEAST_SECRET = 16
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLACEHOLDER = re.compile(r"change-me|your-project\.supabase\.co|(?<![\w-])example\.com\b")


def is_placeholder(value: str) -> bool:
    """Whether a value is still that of `.env.example`, or made of it: then nothing is set."""
    return _PLACEHOLDER.search(value) is not None


def _has_address(value: str) -> bool:
    """Whether host and port of a URL can be told apart and the port is a number that a port can be."""
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


def http_url(value: str) -> str:
    """An address of a service, without a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/@?#:][^\s/@?#]*(/[^\s?#]*)?", value) or not _has_address(value):
        raise ValueError("must be an http(s) URL without credentials, query or fragment")
    return value.rstrip("/")


def site_url(value: str) -> str:
    """Where students come to. One-click links of plain http are followed by no mail program."""
    value = http_url(value)
    host = (urlsplit(value).hostname or "").lower()
    if value.startswith("http://") and host not in LOOPBACK and not host.endswith(".localhost"):
        raise ValueError("must begin with https://; mail programs follow no one-click links of plain http")
    return value


def redis_url(value: str) -> str:
    """An address of a Redis."""
    if not re.fullmatch(r"(rediss?://\S+|unix://\S+)", value):
        raise ValueError("must start with redis://, rediss:// or unix://")
    if not value.startswith("unix:") and not (
        _has_address(value) and re.fullmatch(r"(/[0-9]*)?", urlsplit(value).path)
    ):
        raise ValueError("must be like redis://:password@host:6379/0, with numbers for port and database")
    return value


def postgres_url(value: str) -> str:
    """A connection string of Postgres."""
    if not re.fullmatch(r"postgres(ql)?://\S+", value):
        raise ValueError("must start with postgresql://")
    if "," not in urlsplit(value).netloc and not _has_address(value):  # several hosts are the library's to read
        raise ValueError("must be like postgresql://user:password@host:5432/name, with a number for the port")
    return value


def source(value: str) -> str:
    """Who is asked about seats, in order."""
    words = [word.strip() for word in value.split(",")]
    if not set(words) <= {"scraper", "asu"} or len(set(words)) < len(words):
        raise ValueError("must be scraper, asu, or both in order: asu,scraper")
    return ",".join(words)


def contact(value: str) -> str:
    """An address alone, as it stands in a header."""
    if not re.fullmatch(r"[!-~]+@[!-~]+\.[!-~]+", value) or value.count("@") > 1 or set(value) & set("()<>,;:"):
        raise ValueError("must be an address alone: you@example.edu")
    return value


def bind_address(value: str) -> str:
    """What the functions listen on: an IP address, or a host name."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value):
            raise ValueError("must be an IP address or a host name, like 127.0.0.1") from None
    return value


def host_ports(value: str) -> str:
    """Several hosts with their ports, separated by commas."""
    parts = [part.strip() for part in value.split(",")]
    if not all(re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}", part) and _has_address(f"//{part}") for part in parts):
        raise ValueError("must be like 10.0.0.2:8080, several separated by commas")
    return ",".join(parts)


def cron_secret(value: str) -> str:
    """One secret, or two while rotating."""
    secrets = value.split(",")
    if len(secrets) > 2 or not all(secret.strip() for secret in secrets):
        raise ValueError("must be one secret, or two separated by a comma while rotating")
    for one in secrets:
        secret(one.strip())
    return value


def secret(value: str) -> str:
    """One that cannot be guessed; setup makes such."""
    if len(value) < LEAST_SECRET:
        raise ValueError(f"must have at least {LEAST_SECRET} characters: `openssl rand -base64 32` makes one")
    return value


def webhook_secret(value: str) -> str:
    """Resend's signing secret."""
    if not value.startswith("whsec_"):
        raise ValueError("must start with whsec_ (copy it from Resend's webhook page)")
    return value


def sender(value: str) -> str:
    """An address, or a name with an address."""
    if not re.fullmatch(r"[^\r\n<>@]*<?[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+>?", value):
        raise ValueError("must be an address, or a name with an address: PickMyClass <hello@example.edu>")
    return value


def prefix(value: str) -> str:
    """What every key begins with."""
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters, digits, or any of _ . : -")
    return value


def timezone(value: str) -> str:
    """The name of a time zone."""
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError("must be a time zone name such as America/Phoenix") from error
    return value
