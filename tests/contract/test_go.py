"""/go/asu: the link in every mail."""

from urllib.parse import parse_qs, urlsplit

from tests.support.site import SECTIONS, Site


def test_it_leads_to_the_universitys_search_for_the_section(site: Site) -> None:
    answer = site.ask("GET", "/go/asu?classNbr=12431&term=2267")
    assert answer.status_code == 302
    target = urlsplit(answer.headers["Location"])
    assert (target.scheme, target.hostname) == ("https", "catalog.apps.asu.edu")
    assert parse_qs(target.query)["keywords"] == ["12431"]
    assert parse_qs(target.query)["term"] == ["2267"]


def test_the_link_in_the_mail_is_this_one(site: Site) -> None:
    site.watch(site.world.add_user())
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user())
    text = site.inbox.app.mailbox.mails()[0].body["text"]
    link = next(word for word in text.split() if "/go/asu" in word)
    assert site.ask("GET", link.partition(site.environment["SITE_URL"])[2]).status_code == 302


def test_only_digits_go_through(site: Site) -> None:
    for query in (
        "",
        "classNbr=12431",
        "term=2267",
        "classNbr=1243&term=2267",
        "classNbr=12431%0d%0aX-Evil:1&term=2267",
        "classNbr=12431%0a&term=2267",
        "classNbr=https://evil.test&term=2267",
        "classNbr=%D9%A1%D9%A2%D9%A3%D9%A4%D9%A5&term=2267",
        "classNbr=1e431&term=2267",
    ):
        answer = site.ask("GET", f"/go/asu?{query}")
        assert answer.status_code == 400
        assert answer.get_json()["error"] == "Invalid input"
        assert "Location" not in answer.headers
