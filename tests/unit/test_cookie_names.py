"""Which cookies may hold the session, how much one of them holds, and that no token is shown."""

from shared.settings import load
from shared.students.cookies import CHUNK_LENGTH, cookie_names, read_session, written_session
from shared.students.sessions import Visit

COOKIES = {"sb-abcdefgh-auth-token": "x", "sb-other-auth-token.0": "y", "sb-other-auth-token.1": "z", "theme": "dark"}


def test_without_a_project_every_sessions_name_will_do_once() -> None:
    assert cookie_names(COOKIES, load({}, None)) == ["sb-abcdefgh-auth-token", "sb-other-auth-token"]


def test_with_a_project_only_its_own() -> None:
    settings = load({"SUPABASE_URL": "https://abcdefgh.supabase.co"}, None)
    assert cookie_names(COOKIES, settings) == ["sb-abcdefgh-auth-token"]
    assert cookie_names({}, settings) == ["sb-abcdefgh-auth-token"]


def test_a_session_too_long_for_one_cookie_is_written_in_chunks_that_browsers_take() -> None:
    session = {"access_token": "x" * 7000}
    cookies = written_session(session, "name")
    assert list(cookies) == ["name.0", "name.1", "name.2"]
    assert all(0 < len(piece) <= CHUNK_LENGTH < 4096 for piece in cookies.values())
    assert read_session(cookies, "name") == session


def test_no_token_of_a_visit_is_shown_where_the_visit_is() -> None:
    visit = Visit("user", "session", "an-access-token", 7, {"refresh_token": "a-refresh-token"})
    assert "-token" not in repr(visit)
