"""Unsubscribe tokens: the links in people's inboxes go on working, and nobody can make one up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.tokens import UnsubscribeTokens

USER = "0b9c1f5e-6f0a-4c33-9d2e-1b0c5d7e8f90"
EVENT = datetime(2026, 3, 3, 17, 2, 11, 345678, tzinfo=UTC)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
secrets = st.text(min_size=1, max_size=80)


def by_the_book(secret: str, user_id: str, expires_ms: int) -> str:
    """The format as it is documented, in other words than the code's."""
    claim = f"{user_id}:{expires_ms}"
    proof = hmac.new(secret.encode(), claim.encode(), hashlib.sha256).hexdigest()
    return base64.urlsafe_b64encode(f"{claim}:{proof}".encode()).decode().replace("=", "")


@given(st.uuids(), moments, secrets)
def test_a_token_speaks_for_its_user_for_ninety_days(user_id: object, event_at: datetime, secret: str) -> None:
    tokens = UnsubscribeTokens(secret)
    token = tokens.issue(str(user_id), event_at)
    assert tokens.verify(token, event_at + timedelta(days=90, seconds=-1)) == str(user_id)
    assert tokens.verify(token, event_at + timedelta(days=90, seconds=1)) is None


@given(st.uuids(), moments, secrets)
def test_tokens_have_the_documented_format(user_id: object, event_at: datetime, secret: str) -> None:
    token = UnsubscribeTokens(secret).issue(str(user_id), event_at)
    expires = round((event_at + timedelta(days=90)).timestamp() * 1000)
    assert token == by_the_book(secret, str(user_id), expires)
    assert not set(token) - set(string.ascii_letters + string.digits + "-_")


@given(secrets, secrets)
def test_another_secret_does_not_verify(secret: str, other: str) -> None:
    token = UnsubscribeTokens(secret).issue(USER, EVENT)
    verified = UnsubscribeTokens(other).verify(token, EVENT)
    assert (verified == USER) == (secret == other)


def test_a_link_signed_with_the_old_key_still_verifies() -> None:
    tokens = UnsubscribeTokens("new", legacy="old service-role key")
    old = by_the_book("old service-role key", USER, 1_800_000_000_000)
    assert tokens.verify(old, EVENT) == USER
    assert UnsubscribeTokens("new").verify(old, EVENT) is None


def test_the_old_key_never_signs() -> None:
    token = UnsubscribeTokens("new", legacy="old").issue(USER, EVENT)
    assert UnsubscribeTokens("old").verify(token, EVENT) is None
    assert UnsubscribeTokens("new").verify(token, EVENT) == USER


def test_the_same_mail_always_has_the_same_token() -> None:
    assert UnsubscribeTokens("s").issue(USER, EVENT) == UnsubscribeTokens("s").issue(USER, EVENT)


@given(st.data())
def test_an_altered_token_does_not_verify(data: st.DataObject) -> None:
    tokens = UnsubscribeTokens("secret")
    content = base64.urlsafe_b64decode(_padded(tokens.issue(USER, EVENT))).decode()
    place = data.draw(st.integers(0, len(content) - 1))
    letter = data.draw(st.sampled_from(string.hexdigits + ":-"))
    altered = content[:place] + letter + content[place + 1 :]
    token = base64.urlsafe_b64encode(altered.encode()).decode().rstrip("=")
    assert (tokens.verify(token, EVENT) == USER) == (altered == content)


@given(st.text(max_size=700) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_nonsense_is_refused_without_an_error(token: str) -> None:
    assert UnsubscribeTokens("secret").verify(token, EVENT) is None


@pytest.mark.parametrize("claim", [f"{USER}:", f"{USER}:9e99", f"{USER}:-1", "x:1800000000000", f"{USER}:{'9' * 30}"])
def test_a_well_signed_claim_of_another_shape_is_refused(claim: str) -> None:
    proof = hmac.new(b"secret", claim.encode(), hashlib.sha256).hexdigest()
    token = base64.urlsafe_b64encode(f"{claim}:{proof}".encode()).decode().rstrip("=")
    assert UnsubscribeTokens("secret").verify(token, EVENT) is None


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        UnsubscribeTokens("")


def _padded(token: str) -> str:
    return token + "=" * (-len(token) % 4)
