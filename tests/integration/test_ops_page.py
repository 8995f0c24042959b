"""The health page in a real browser: readable, without scripts, on a phone and in the dark, healthy and broken."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from werkzeug.serving import make_server

from shared.health.beats import beat_figures
from shared.queue import Snapshot
from shared.web.host import build
from tests.support.ops import SECRET, Bundle
from tests.support.world import facts, see

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Debian's Chromium, driven by its own driver; what it logs is kept."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "needs chromium and chromedriver on the path (Debian: chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    opened.set_page_load_timeout(30)
    yield opened
    opened.quit()


@pytest.fixture
def page(bundle: Bundle, browser: webdriver.Chrome) -> Iterator[Page]:
    """The functions over HTTP, and the browser in front of them."""
    bundle.beat(figures=beat_figures(bundle.parts, Snapshot({}, 0, 0, 0, 0, 0, None, True, True, False)))
    bundle.tick()
    bundle.world.add_watch(since=bundle.clock() - timedelta(days=1))
    see(bundle.parts.database, facts(), bundle.clock())
    server = make_server("127.0.0.1", 0, build(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Page(browser, f"http://127.0.0.1:{server.server_port}/api/monitoring/health")
    browser.get("about:blank")
    server.shutdown()
    server.server_close()
    thread.join(5)


class Page:
    """The page as someone sees it."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, *, operator: bool = True, width: int = 1280, dark: bool = False) -> Page:
        """Open it anew, on a screen of this width."""
        command = self.browser.execute_cdp_cmd
        command("Network.enable", {})
        token = base64.b64encode(f"anyone:{SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"} if operator else {}
        command("Network.setExtraHTTPHeaders", {"headers": headers})
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        command("Emulation.setDeviceMetricsOverride", screen)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        command("Emulation.setEmulatedMedia", {"features": scheme})
        self.browser.get_log("browser")
        self.browser.get_log("performance")
        self.browser.get(self.url)
        return self

    @property
    def text(self) -> str:
        """Everything that is visible."""
        return self.browser.find_element(By.TAG_NAME, "body").text

    def complaints(self) -> list[str]:
        """What the browser complains of, the status code of a page that says that something is wrong aside."""
        said = [entry["message"] for entry in self.browser.get_log("browser")]
        return [
            message
            for message in said
            if "Failed to load resource: the server responded with a status of 50" not in message
        ]

    def asked(self) -> set[str]:
        """Every host that the browser asked for this page."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if not url.startswith("data:")}

    def colour(self, of: str, name: str = "background-color") -> str:
        """A colour of the first element that fits."""
        return self.browser.find_element(By.CSS_SELECTOR, of).value_of_css_property(name)

    def overflows(self) -> bool:
        """Whether one has to scroll sideways."""
        script = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.browser.execute_script(script))


def test_a_healthy_page_says_so_and_draws_freshness_and_day(page: Page) -> None:
    page.open()
    assert "Everything works" in page.text
    assert "What is wrong" not in page.text
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".bars tr")) == 10
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".columns.checks rect")) == 48
    first = page.browser.find_element(By.CSS_SELECTOR, ".bars .number").text
    assert first == "1"
    assert page.browser.find_element(By.CSS_SELECTOR, "#ticks")


def test_what_is_wrong_comes_first_in_words_with_what_to_do(page: Page, bundle: Bundle) -> None:
    bundle.beat(age=500)
    page.open()
    headings = [heading.text for heading in page.browser.find_elements(By.TAG_NAME, "h2")]
    assert headings[0] == "What is wrong"
    first = page.browser.find_element(By.CSS_SELECTOR, ".troubles li")
    assert first.text.startswith("No consumer is alive")
    assert "systemctl status pickmyclass-consumer" in first.text


def test_anyone_sees_statuses_and_no_figures(page: Page) -> None:
    page.open(operator=False)
    assert "Everything works" in page.text
    assert not page.browser.find_elements(By.CSS_SELECTOR, ".bars, .columns, .figures")
    assert "watched" not in page.text


@pytest.mark.parametrize("operator", [True, False])
def test_it_asks_nobody_else_and_the_browser_has_nothing_to_complain_of(page: Page, operator: bool) -> None:
    page.open(operator=operator)
    assert page.asked() == {urlsplit(page.url).netloc}
    assert page.complaints() == []


@pytest.mark.parametrize("broken", [False, True])
def test_nobody_has_to_scroll_sideways(page: Page, bundle: Bundle, broken: bool) -> None:
    if broken:
        bundle.beat("a-consumer-with-quite-a-long-name", age=500)
        bundle.tick(ago=timedelta(minutes=30), error="ConnectionError while queueing")
    for width in (320, 375, 800, 1600):
        assert not page.open(width=width).overflows(), width


def test_it_is_dark_where_people_want_it_dark(page: Page) -> None:
    light = page.open().colour("body")
    dark = page.open(dark=True).colour("body")
    assert (_brightness(light) > 200, _brightness(dark) < 50) == (True, True)


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(page: Page, bundle: Bundle, dark: bool) -> None:
    bundle.beat("two", age=500)
    bundle.clock.forward(hours=2)
    page.open(dark=dark)
    for place in (".pill.healthy", ".pill.degraded", ".pill.lost", "section .quiet", ".words", ".troubles p"):
        ink, ground = page.colour(place, "color"), _ground(page, place)
        assert _contrast(ink, ground) >= 4.5, place


def test_its_links_are_reached_by_keyboard_and_seen_when_they_are(page: Page) -> None:
    page.open(operator=False)
    for place in (".when a", "footer a"):
        link = page.browser.find_element(By.CSS_SELECTOR, place)
        page.browser.switch_to.active_element.send_keys("\ue004")  # tab
        assert page.browser.switch_to.active_element == link
        assert link.value_of_css_property("outline-style") == "solid"


def test_it_looks_anew_every_minute_for_whoever_asks_for_that_and_for_nobody_else(page: Page) -> None:
    page.open()
    assert page.browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]") == []
    page.browser.find_element(By.CSS_SELECTOR, ".when a").click()
    refresh = page.browser.find_element(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    assert refresh.get_attribute("content") == "60"


def test_a_page_is_answered_with_the_status_code_of_the_json(bundle: Bundle) -> None:
    answer = bundle.ask(Accept="text/html")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.4, application/json"])
def test_programs_get_json(bundle: Bundle, accept: str) -> None:
    assert bundle.ask(Accept=accept).mimetype == "application/json"


def test_a_browser_is_asked_for_the_password_when_its_user_wants_the_details(bundle: Bundle) -> None:
    answer = bundle.ask("details=1", secret=None, Accept="text/html")
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    wrong = base64.b64encode(b"anyone:wrong").decode()
    assert bundle.ask("details=1", secret=None, Accept="text/html", Authorization=f"Basic {wrong}").status_code == 401


def test_what_comes_from_outside_is_escaped(bundle: Bundle) -> None:
    bundle.beat("<script>alert(1)</script>", age=0)
    body = bundle.ask(Accept="text/html").get_data(as_text=True)
    assert "<script" not in body
    assert "&lt;script&gt;" in body


def test_a_page_without_a_database_still_comes_and_says_what_is_wrong(bundle: Bundle) -> None:
    parts = bundle.without("DATABASE_URL", "REDIS_URL")
    body = bundle.ask(Accept="text/html").get_data(as_text=True)
    assert "The database does not answer: not set: DATABASE_URL" in body
    assert "Redis does not answer: not set: REDIS_URL" in body
    assert "Settings are missing" in body
    anyone = bundle.ask(secret=None, Accept="text/html").get_data(as_text=True)
    assert "The database does not answer" in anyone
    assert "DATABASE_URL" not in anyone
    parts.close()


def _numbers(colour: str) -> list[float]:
    return [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]


def _brightness(colour: str) -> float:
    return sum(_numbers(colour)[:3]) / 3


def _ground(page: Page, place: str) -> str:
    """The colour behind an element: the nearest that is not see-through."""
    script = """let e = document.querySelector(arguments[0]);
        while (e) { const c = getComputedStyle(e).backgroundColor;
          if (!c.endsWith(', 0)')) return c; e = e.parentElement }"""
    return str(page.browser.execute_script(script, place))


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2, at least 1."""

    def luminance(colour: str) -> float:
        channels = [part / 255 for part in _numbers(colour)[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
