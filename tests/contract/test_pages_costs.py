"""What each page and each form costs the database."""

from tests.contract.test_pages_student import add, watch_id
from tests.contract.test_security_pages import administrator
from tests.support.site import NUMBERS
from tests.support.student import Browser, Door
from tests.support.term import TERM

MOST = 2


def cost(door: Door, browser: Browser, path: str, **fields: str) -> int:
    """Calls of one page, or of one form of it, without those of the page that the form was on."""
    token = (browser.token() or browser.token("/welcome")) if fields else ""
    before = door.site.parts.database.calls
    answer = browser.post(path, {"token": token, **fields}) if fields else browser.get(path)
    assert answer.status_code in (200, 303), (path, answer.status_code)
    return door.site.parts.database.calls - before


def test_no_page_costs_more_than_two_calls_of_the_database(door: Door) -> None:
    root, ann = administrator(door), door.student()
    add(ann, *NUMBERS[:2])
    person = f"/admin/users/{door.user_id()}"
    for path in ("/admin", "/admin/users", person, "/admin/classes", f"/admin/classes/{TERM}/{NUMBERS[0]}"):
        assert cost(door, root, path) == 1, path
    assert cost(door, ann, "/reset-password") == 1
    for path in ("/login", "/forgot-password", "/auth/confirm?token_hash=x", "/legal", "/robots.txt"):
        assert cost(door, ann, path) == 0, path


def test_no_form_costs_more_than_two_calls_of_the_database(door: Door) -> None:
    root, ann = administrator(door), door.student()
    add(ann, *NUMBERS[:2])
    gone = {"id": watch_id(ann), "term": TERM, "class_nbr": NUMBERS[0]}
    person = f"/admin/users/{door.user_id()}"
    assert cost(door, ann, "/dashboard", do="remove", **gone) <= MOST
    assert cost(door, ann, "/dashboard", do="undo", **gone) <= MOST
    assert cost(door, ann, "/settings", do="mail", seats="yes") <= MOST
    assert cost(door, ann, "/settings", do="export") <= MOST
    assert cost(door, ann, "/reset-password", password="a good long one") <= MOST
    assert cost(door, root, person, action="disable") <= MOST
    assert cost(door, root, person, action="disable", sure="yes") <= MOST
    assert cost(door, root, person, action="enable", sure="yes") <= MOST
    assert cost(door, ann, "/settings", do="close", sure="yes") <= MOST
    assert cost(door, ann, "/welcome", do="reopen") <= MOST
    assert cost(door, ann, "/logout", do="x") == 0
    password = {"step": "password", "email": "ann@example.edu", "password": "a good long one"}
    assert cost(door, ann, "/login", **password) <= MOST
    door.site.world.postgres.execute("update user_profiles set agreed_to_terms_at = null")
    assert cost(door, ann, "/welcome", do="agree", agree="yes") <= MOST


def test_adding_costs_its_page_and_a_look_and_its_commit_for_each_section(door: Door) -> None:
    ann = door.student()
    one = cost(door, ann, "/dashboard/add", term=TERM, q=NUMBERS[0], class_nbr=NUMBERS[0])
    fields = {"token": ann.token(), "term": TERM, "q": NUMBERS[1], "class_nbr": list(NUMBERS[1:4])}
    before = door.site.parts.database.calls
    ann.post("/dashboard/add", fields)
    assert door.site.parts.database.calls - before == 3 * (one - 1) + 1
