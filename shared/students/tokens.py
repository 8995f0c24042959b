"""Supabase access tokens: verified here, with everything pinned that a token could try to choose for itself."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

from shared.settings import Settings
from shared.students.jwks import SigningKeys

if TYPE_CHECKING:
    import jwt

log = logging.getLogger(__name__)

AUDIENCE = "authenticated"
LEEWAY_SECONDS = 30
"""By how much our clock and that of whoever signed may differ."""
MAX_LENGTH = 8 * 1024
_ASYMMETRIC = ("ES256", "RS256")


class AccessTokens:
    """Verifies tokens of one Supabase project, signed with its shared secret or with its published keys."""

    def __init__(self, issuer: str, secret: str | None, keys: SigningKeys | None) -> None:
        """`issuer` is what the claim `iss` must say; without `secret` or `keys` that kind is refused."""
        self._issuer, self._secret, self._keys = issuer, secret, keys

    def user_id(self, token: str) -> str | None:
        """The user that `token` speaks for, or `None` when it does not convince. Raises like `claims`."""
        found = self.claims(token)
        return str(found["sub"]) if found else None

    def claims(self, token: str) -> dict[str, Any] | None:
        """What `token` says, `sub` being a user's id; `None` when it does not convince.

        Raises `KeysUnavailableError` when it could be good but nobody can tell now.
        """
        import jwt  # 20 MB with its cryptography: only for processes that meet a user

        if len(token) > MAX_LENGTH:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = self._key_for(header)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
            return {**claims, "sub": str(uuid.UUID(claims["sub"]))}
        except jwt.ImmatureSignatureError:
            log.warning("a good token is from the future: look at this machine's clock (`timedatectl`)")
            return None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            return None

    def _key_for(self, header: dict[str, Any]) -> str | jwt.PyJWK | None:
        """The key for the algorithm that the token names: only one of ours, and never a key of another kind."""
        import jwt

        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == "HS256":
            return self._secret
        if algorithm in _ASYMMETRIC and self._keys and isinstance(key_id, str):
            key = self._keys.find(key_id)
            if key and key.get("alg", algorithm) == algorithm:
                return jwt.PyJWK(key, algorithm=algorithm)
        return None


def access_tokens(settings: Settings) -> AccessTokens | None:
    """The verifier for these settings, which keeps its keys; `None` when they do not say how to verify."""
    base = settings.supabase_url or settings.site_url
    if base is None or not (settings.supabase_jwt_secret or settings.supabase_url):
        return None
    keys = SigningKeys(f"{base}/auth/v1/.well-known/jwks.json") if settings.supabase_url else None
    return AccessTokens(f"{base}/auth/v1", settings.supabase_jwt_secret, keys)
