"""Which of a visitor's cookies may hold the session."""

from shared.settings import load
from shared.students.cookies import cookie_names

COOKIES = {"sb-abcdefgh-auth-token": "x", "sb-other-auth-token.0": "y", "sb-other-auth-token.1": "z", "theme": "dark"}


def test_without_a_project_every_sessions_name_will_do_once() -> None:
    assert cookie_names(COOKIES, load({}, None)) == ["sb-abcdefgh-auth-token", "sb-other-auth-token"]


def test_with_a_project_only_its_own() -> None:
    settings = load({"SUPABASE_URL": "https://abcdefgh.supabase.co"}, None)
    assert cookie_names(COOKIES, settings) == ["sb-abcdefgh-auth-token"]
    assert cookie_names({}, settings) == ["sb-abcdefgh-auth-token"]
