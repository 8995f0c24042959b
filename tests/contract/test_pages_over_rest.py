"""The pages where the database is reached through PostgREST, as a hosted project offers it."""

import pytest

from tests.contract.test_pages_student import add, cards, look, watch_id
from tests.contract.test_security_pages import administrator
from tests.support.site import NUMBERS, SECTIONS
from tests.support.student import Door
from tests.support.term import TERM


@pytest.mark.postgrest
def test_every_page_and_form_works_through_the_rest_interface(door_over_rest: Door) -> None:
    door = door_over_rest
    root, ann = administrator(door), door.student()
    assert add(ann, *NUMBERS[:2]) == 303
    assert sorted(cards(ann)) == [("full", NUMBERS[0]), ("full", NUMBERS[1])]
    door.site.set(SECTIONS[1], seats_available=3)
    look(door.site, SECTIONS[1])
    assert cards(ann)[0] == ("open", NUMBERS[1])
    gone = {"id": watch_id(ann), "term": TERM, "class_nbr": NUMBERS[1]}
    assert ann.send("/dashboard", do="remove", **gone).status_code == 303
    assert cards(ann) == [("full", NUMBERS[0])]
    assert ann.send("/dashboard", do="undo", **gone).status_code == 303
    assert "still open" in ann.get(f"/classes/{TERM}/{NUMBERS[1]}").text
    assert "done=saved" in ann.send("/settings", do="mail").headers["Location"]
    assert "Emails are off" in ann.get("/dashboard").text
    exported = ann.send("/settings", do="export").json
    assert {one["class_nbr"] for one in exported["class_watches"]} == set(NUMBERS[:2])
    person = f"/admin/users/{door.user_id()}"
    for path in ("/", "/admin", "/admin/users?search=ann", person, "/admin/classes"):
        assert root.get(path).status_code == 200, path
    assert root.send(person, action="disable", sure="yes").status_code == 303
    assert ann.get("/dashboard").headers["Location"].startswith("/welcome")
    root.send(person, action="enable", sure="yes")
    assert ann.send("/settings", do="close", sure="yes").headers["Location"] == "/welcome"
    assert ann.post("/welcome", {"token": ann.token("/welcome"), "do": "reopen"}).status_code == 303
    assert len(cards(ann)) == 2
