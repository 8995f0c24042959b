"""Addresses of people, as mail can carry them."""

from __future__ import annotations

import re

import idna

_LOCAL_PART = re.compile(r"[!-?A-~]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def ascii_address(address: str | None) -> str | None:
    """The address with its domain in punycode, as Resend takes it; `None` when mail cannot be written to it."""
    local, at, domain = (address or "").rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    return f"{local}{at}{domain}" if _LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain) else None


def spellings(address: str) -> list[str]:
    """The address as it came and, where its domain is in punycode, as a person writes it."""
    local, at, domain = address.rpartition("@")
    try:
        return list(dict.fromkeys([address, f"{local}{at}{idna.decode(domain)}"]))
    except (idna.IDNAError, UnicodeError):
        return [address]
