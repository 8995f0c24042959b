"""Who is a student: tokens, cookies, origins. Every way to be somebody else is tried."""

import base64
import hmac
import json
import time
import uuid
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.students.jwks import LEAST_INTERVAL, LIFETIME, KeysUnavailableError, SigningKeys
from shared.students.tokens import AccessTokens
from tests.support.site import JWT_SECRET, SECTIONS, SITE, Site, claims, cookie, token
from workshop.parts.web import Answer, Request, Server, json_answer

PATH = "/api/class-watches"
UNAUTHORIZED = {"error": "Unauthorized"}
COOKIE = "sb-abcdefgh-auth-token"
USER = str(uuid.UUID(int=7))


def forged(header: dict, content: dict, signature: bytes = b"") -> str:
    """A token put together by hand."""
    words = [json.dumps(header).encode(), json.dumps(content).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(word).decode().rstrip("=") for word in words)


def signed_by_hand(header: dict, content: dict, secret: bytes) -> str:
    """What a library would not even write."""
    unsigned = forged(header, content).rpartition(".")[0]
    signature = hmac.digest(secret, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def refused(site: Site, bearer: str) -> bool:
    answer = site.ask("GET", PATH, bearer=bearer)
    assert answer.status_code in (200, 401)
    if answer.status_code == 401:
        assert answer.get_json() == UNAUTHORIZED
    return answer.status_code == 401


def test_a_good_token_is_welcome_in_any_spelling_of_the_scheme(site: Site) -> None:
    user = site.world.add_user()
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = site.ask("GET", PATH, headers={"Authorization": f"{scheme} {token(user)}"})
        assert answer.status_code == 200


def test_no_token_learns_nothing_else(site: Site) -> None:
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", PATH), ("GET", "/api/user/export")):
        answer = site.ask(method, path, data="not json", content_type="text/plain")
        assert (answer.status_code, answer.get_json()) == (401, UNAUTHORIZED)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_whose_claims_are_wrong_is_refused(site: Site) -> None:
    user = site.world.add_user()
    header = {"alg": "HS256", "typ": "JWT"}
    assert not refused(site, signed_by_hand(header, claims(user), JWT_SECRET.encode()))
    for changed in (
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"nbf": int(time.time()) + 600},
        {"iss": "http://evil.test/auth/v1"},
        {"iss": None},
        {"aud": "anon"},
        {"aud": None},
        {"sub": None},
        {"sub": "not-a-uuid"},
        {"sub": "' or 1=1--"},
        {"sub": 7},
        {"exp": "soon"},
    ):
        assert refused(site, signed_by_hand(header, claims(user, **changed), JWT_SECRET.encode())), changed


@pytest.mark.parametrize(("ahead", "welcome"), [(15, True), (25, True), (90, False)])
def test_clocks_may_differ_by_half_a_minute_and_more_is_said(
    site: Site, caplog: pytest.LogCaptureFixture, ahead: int, welcome: bool
) -> None:
    body = claims(site.world.add_user(), iat=int(time.time()) + ahead)
    assert refused(site, signed_by_hand({"alg": "HS256", "typ": "JWT"}, body, JWT_SECRET.encode())) is not welcome
    assert any("timedatectl" in record.message for record in caplog.records) is not welcome


def test_alg_none_and_foreign_signatures_are_refused(site: Site) -> None:
    user = site.world.add_user()
    body = claims(user)
    assert refused(site, forged({"alg": "none", "typ": "JWT"}, body))
    assert refused(site, forged({"alg": "None"}, body))
    assert refused(site, forged({"alg": "HS256"}, body))
    assert refused(site, jwt.encode(body, "another-secret-of-at-least-32-characters", algorithm="HS256"))
    assert refused(site, jwt.encode(body, JWT_SECRET * 2, algorithm="HS512"))
    good = token(user)
    assert refused(site, good[:-4] + ("AAAA" if not good.endswith("AAAA") else "BBBB"))
    head, _, signature = good.split(".")
    other = token(str(uuid.uuid4())).split(".")[1]
    assert refused(site, f"{head}.{other}.{signature}")


def test_nonsense_is_refused(site: Site) -> None:
    endless = claims(site.world.add_user(), more="x" * 9000)
    assert refused(site, signed_by_hand({"alg": "HS256", "typ": "JWT"}, endless, JWT_SECRET.encode()))
    nonsense = ["x", "a.b.c", "....", "é", "a" * 20_000, "null", "\x7f", "eyJhbGciOiJIUzI1NiJ9.e30."]
    for bearer in nonsense:
        answer = site.ask("GET", PATH, headers={"Authorization": b"Bearer " + bearer.encode()})
        assert (answer.status_code, answer.get_json()) == (401, UNAUTHORIZED), bearer[:20]


def test_operator_service_and_public_keys_are_no_students(site: Site) -> None:
    site.world.add_user()
    assert refused(site, site.environment["CRON_SECRET"])
    for role in ("service_role", "anon"):
        assert refused(site, jwt.encode({"role": role, "iss": "supabase", "exp": 4e9}, JWT_SECRET, algorithm="HS256"))


def test_a_token_of_nobody_is_refused(site: Site) -> None:
    assert refused(site, token(str(uuid.uuid4())))


def test_o35_a_disabled_accounts_token_is_refused_everywhere(site: Site) -> None:
    user = site.world.add_user(is_disabled=True)
    body = {"term": "2267", "class_nbr": "12431"}
    for method, path in (
        ("GET", PATH),
        ("POST", PATH),
        ("DELETE", f"{PATH}?id={uuid.uuid4()}"),
        ("POST", "/api/fetch-class-details"),
        ("GET", "/api/user/export"),
        ("DELETE", "/api/user/delete"),
    ):
        answer = site.ask(method, path, user=user, **({"json": body} if method == "POST" else {}))
        assert (answer.status_code, answer.get_json()) == (401, UNAUTHORIZED)
    assert not site.campus.campus.lookups


def test_o35_a_disabled_account_is_owed_no_mail(site: Site) -> None:
    user = site.world.add_user()
    site.watch(user)
    site.world.postgres.execute("update user_profiles set is_disabled = true where user_id = %s", [user])
    site.set(SECTIONS[0], seats_available=3)
    site.watch(site.world.add_user())
    assert site.inbox.addresses() == []


def test_tokens_without_a_way_to_verify_them_are_our_fault(site: Site) -> None:
    user = site.world.add_user()
    site.restart(SUPABASE_JWT_SECRET=None, SUPABASE_URL=None, SUPABASE_SERVICE_ROLE_KEY=None)
    assert site.ask("GET", PATH).status_code == 401
    answer = site.ask("GET", PATH, user=user)
    assert (answer.status_code, answer.get_json()) == (500, {"error": "Server configuration error"})


# Cookies


def with_cookie(site: Site, method: str, value: str, path: str = PATH, **headers: str) -> int:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return site.ask(method, path, headers={"Cookie": value, **named}).status_code


def test_the_sites_cookie_speaks_for_its_student(site: Site) -> None:
    value = cookie(token(site.world.add_user()))
    assert with_cookie(site, "GET", f"{COOKIE}={value}") == 200
    assert with_cookie(site, "GET", f"other=1; {COOKIE}={value}; more=2") == 200


def test_a_cookie_in_chunks_is_put_together(site: Site) -> None:
    value = cookie(token(site.world.add_user()))
    cut = len(value) // 3
    pieces = [value[:cut], value[cut : 2 * cut], value[2 * cut :]]
    chunks = "; ".join(f"{COOKIE}.{number}={piece}" for number, piece in enumerate(pieces))
    assert with_cookie(site, "GET", chunks) == 200
    assert with_cookie(site, "GET", f"{COOKIE}=; {chunks}") == 200  # what is left of one that was whole before
    assert with_cookie(site, "GET", chunks.replace(f"{COOKIE}.1=", f"{COOKIE}.7=")) == 401


def test_older_shapes_of_the_cookie_are_read(site: Site) -> None:
    access = token(site.world.add_user())
    plain = base64.urlsafe_b64encode(json.dumps({"access_token": access}).encode()).decode()
    listed = "%5B%22" + access + "%22%2Cnull%5D"
    for value in (plain, plain.rstrip("="), listed, "%7B%22access_token%22%3A%22" + access + "%22%7D"):
        assert with_cookie(site, "GET", f"{COOKIE}={value}") == 200


def test_a_broken_cookie_is_no_token(site: Site) -> None:
    broken = [
        "",
        "base64-",
        "base64-!!!",
        "base64-bnVsbA",
        "base64-W10",
        "%5B7%5D",
        "{",
        "base64-" + "A" * 3000,
        "[[[[",
    ]
    for value in broken:
        assert with_cookie(site, "GET", f"{COOKIE}={value}") == 401, value[:20]


def test_another_projects_cookie_is_not_looked_at(site: Site) -> None:
    value = cookie(token(site.world.add_user()))
    assert with_cookie(site, "GET", f"sb-other-auth-token={value}") == 401


@pytest.mark.parametrize(
    ("headers", "welcome"),
    [
        ({}, False),
        ({"Origin": SITE}, True),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Origin": "http://localhost"}, True),  # the host that was asked
        ({"Origin": "https://evil.test"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": SITE + ".evil.test"}, False),
        ({"Origin": "https://evil.test", "Sec_Fetch_Site": "same-origin"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
    ],
    ids=str,
)
def test_writes_by_cookie_come_from_the_site_itself(site: Site, headers: dict, welcome: bool) -> None:
    user = site.world.add_user()
    watch = site.world.add_watch(user=user)
    value = f"{COOKIE}={cookie(token(user))}"
    assert with_cookie(site, "DELETE", value, f"{PATH}?id={watch}", **headers) == (200 if welcome else 401)
    assert site.world.one("select count(*) from class_watches") == (0 if welcome else 1)


def test_a_bad_bearer_is_not_mended_by_a_good_cookie(site: Site) -> None:
    value = f"{COOKIE}={cookie(token(site.world.add_user()))}"
    assert with_cookie(site, "GET", value, Authorization="Bearer x") == 401
    assert with_cookie(site, "GET", value, Authorization="Basic x") == 401


# Asymmetric keys


class Keys:
    """Supabase's published keys, over HTTP."""

    def __init__(self) -> None:
        self.private = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.fetched, self.status = 0, 200
        self.marks = {"use": "sig"}
        self.server = Server(self.answer)

    def answer(self, request: Request) -> Answer:
        self.fetched += 1
        assert request.path == "/auth/v1/.well-known/jwks.json"
        keys = []
        for key_id, key in self.private.items():
            kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            keys.append(kind.to_jwk(key.public_key(), as_dict=True) | {"kid": key_id} | self.marks)
        return json_answer({"keys": keys}, self.status)

    def sign(self, key_id: str, algorithm: str = "ES256", **changed: object) -> str:
        content = claims(USER, iss=f"{self.server.url}/auth/v1", **changed)
        return jwt.encode(content, self.private[key_id], algorithm, {"kid": key_id})


@pytest.fixture
def keys() -> Iterator[Keys]:
    one = Keys()
    with one.server:
        yield one


class Hands:
    """A clock that stands still until moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def verifier(keys: Keys, clock: Hands, secret: str | None = None) -> AccessTokens:
    signing = SigningKeys(f"{keys.server.url}/auth/v1/.well-known/jwks.json", timeout=2, clock=clock)
    return AccessTokens(f"{keys.server.url}/auth/v1", secret, signing)


def test_a_projects_published_key_is_fetched_once_and_kept(keys: Keys) -> None:
    tokens = verifier(keys, Hands())
    assert [tokens.user_id(keys.sign("one")) for _ in range(5)] == [USER] * 5
    assert keys.fetched == 1


@pytest.mark.parametrize(("marks", "verifies"), [({"use": "enc"}, False), ({"use": "sig"}, True), ({}, True)])
def test_a_key_that_is_published_to_encrypt_with_verifies_nothing(
    keys: Keys, marks: dict[str, str], verifies: bool
) -> None:
    keys.marks = marks
    assert verifier(keys, Hands()).user_id(keys.sign("one")) == (USER if verifies else None)


def test_rsa_keys_work_too(keys: Keys) -> None:
    keys.private["two"] = rsa.generate_private_key(65537, 2048)
    assert verifier(keys, Hands()).user_id(keys.sign("two", "RS256")) == USER


def test_an_unknown_key_is_looked_for_but_not_as_often_as_callers_like(keys: Keys) -> None:
    clock = Hands()
    tokens = verifier(keys, clock)
    tokens.user_id(keys.sign("one"))
    keys.private["new"] = ec.generate_private_key(ec.SECP256R1())
    assert [tokens.user_id(keys.sign("new")) for _ in range(20)] == [None] * 20
    assert keys.fetched == 1
    clock.now += LEAST_INTERVAL + 1
    assert tokens.user_id(keys.sign("new")) == USER
    assert keys.fetched == 2


def test_a_withdrawn_key_is_forgotten(keys: Keys) -> None:
    clock = Hands()
    tokens = verifier(keys, clock)
    old = keys.sign("one")
    assert tokens.user_id(old) == USER
    keys.private = {"two": ec.generate_private_key(ec.SECP256R1())}
    clock.now += LIFETIME + 1
    assert tokens.user_id(old) is None


def test_keys_outlive_an_outage_of_the_sign_in_service(keys: Keys) -> None:
    clock = Hands()
    tokens = verifier(keys, clock)
    tokens.user_id(keys.sign("one"))
    keys.status = 503
    clock.now += LIFETIME + 1
    assert tokens.user_id(keys.sign("one")) == USER


def test_without_any_keys_nobody_can_tell(keys: Keys) -> None:
    keys.status = 503
    with pytest.raises(KeysUnavailableError):
        verifier(keys, Hands()).user_id(keys.sign("one"))


def test_when_nobody_can_tell_the_student_is_asked_to_come_back(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    site.restart(SUPABASE_URL="http://127.0.0.1:1")
    content = claims(site.world.add_user(), iss="http://127.0.0.1:1/auth/v1")
    answer = site.ask("GET", PATH, bearer=jwt.encode(content, key, "ES256", {"kid": "one"}))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_a_public_key_is_no_shared_secret(keys: Keys) -> None:
    """The old trick: sign with HMAC, the public key's text as the secret."""
    tokens = verifier(keys, Hands(), secret=JWT_SECRET)
    public = jwt.algorithms.ECAlgorithm.to_jwk(keys.private["one"].public_key()).encode()
    content = claims(USER, iss=f"{keys.server.url}/auth/v1")
    assert tokens.user_id(signed_by_hand({"alg": "HS256", "kid": "one"}, content, public)) is None
    assert tokens.user_id(jwt.encode(content, JWT_SECRET, "HS256", {"kid": "one"})) == USER
    wrong_kind = forged({"alg": "RS256", "kid": "one"}, content, b"x" * 64)
    assert tokens.user_id(wrong_kind) is None


@pytest.mark.parametrize(
    "header", [{"alg": "ES256"}, {"alg": "ES256", "kid": 7}, {"alg": ["ES256"]}, {"alg": "ES256", "crit": ["x"]}]
)
def test_a_header_that_names_no_key_is_refused(keys: Keys, header: dict) -> None:
    assert verifier(keys, Hands()).user_id(forged(header, claims(USER), b"x" * 64)) is None


def test_keys_are_bounded(keys: Keys) -> None:
    big = Server(lambda request: Answer(200, b'{"keys": [' + b" " * 100_000 + b"]}"))
    with big, pytest.raises(KeysUnavailableError):
        SigningKeys(f"{big.url}/keys", timeout=2).find("one")
