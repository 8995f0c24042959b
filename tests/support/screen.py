"""A real browser without a screen, and how to look at pages in it."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.node import node_folder

SECONDS = 30
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,900",
)


class Screen:
    """One browser on one site."""

    def __init__(self, driver: webdriver.Chrome, site: str) -> None:
        self.driver, self.site = driver, site

    def open(self, path: str) -> None:
        """Go to a path of the site."""
        self.driver.get(f"{self.site}{path}")

    @property
    def path(self) -> str:
        """Where the browser is."""
        return self.driver.current_url.removeprefix(self.site)

    def see(self, selector: str) -> WebElement:
        """The first element that the selector finds, as soon as there is one."""
        return WebDriverWait(self.driver, SECONDS).until(
            lambda driver: next(iter(driver.find_elements(By.CSS_SELECTOR, selector)), None),
            f"no {selector} on {self.path}",
        )

    def count(self, selector: str, wanted: int) -> None:
        """Wait until the selector finds so many."""
        WebDriverWait(self.driver, SECONDS).until(
            lambda driver: len(driver.find_elements(By.CSS_SELECTOR, selector)) == wanted,
            f"not {wanted} {selector} on {self.path}",
        )

    def read(self, words: str) -> None:
        """Wait until the page holds these words."""
        WebDriverWait(self.driver, SECONDS).until(
            lambda driver: words in driver.execute_script("return document.body.innerText"),
            f"no {words!r} on {self.path}",
        )

    def type(self, selector: str, words: str) -> None:
        """Write into a field."""
        field = self.see(selector)
        field.clear()
        field.send_keys(words)

    def press(self, words: str) -> None:
        """Press the button, or follow the link, that says this."""
        means = f"*[self::button or self::a][contains(., '{words}')]"

        def pressed(driver: webdriver.Chrome) -> bool:
            inside = driver.find_elements(By.XPATH, f"//main//{means}")
            around = driver.find_elements(By.XPATH, f"//header//{means}")
            for one in [*inside, *around]:
                if one.is_displayed():
                    one.click()
                    return True
            return False

        # What is live may be replaced between a look and a press.
        wait = WebDriverWait(self.driver, SECONDS, ignored_exceptions=[StaleElementReferenceException])
        wait.until(pressed, f"no {words!r} to press on {self.path}")

    def reach(self, words: str) -> None:
        """Press Tab until what has the focus says this, and see that it shows that it has."""
        said = (
            "const at = document.activeElement; return at.getAttribute('aria-label') || at.innerText || at.name || ''"
        )
        for _ in range(60):
            self.key(Keys.TAB)
            if words in self.run(said):
                outline = self.run("return getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"nobody sees that {words!r} has the focus"
                return
        raise AssertionError(f"no way to {words!r} on {self.path} by Tab")

    def push(self, words: str, key: str = Keys.ENTER) -> None:
        """Reach it by Tab, and press it by Enter or Space."""
        self.reach(words)
        self.key(key)

    def key(self, *keys: str) -> None:
        """Type into whatever has the focus, also while another page comes in."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def text(self, selector: str) -> str:
        """What the first element that the selector finds says, as soon as there is one."""
        self.see(selector)
        return str(self.run(f"return document.querySelector({json.dumps(selector)}).innerText"))

    def run(self, script: str) -> Any:
        """What a script gives."""
        return self.driver.execute_script(script)

    def look(
        self, width: int, *, dark: bool = False, forced: bool = False, zoom: float = 1.0, still: bool = False
    ) -> None:
        """From now on as on a screen so wide, in the dark, in forced colours, magnified, or where nothing may move."""
        metrics = {"width": int(width / zoom), "height": int(900 / zoom), "deviceScaleFactor": zoom, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "forced-colors", "value": "active" if forced else "none"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def serious(self, only: str | None = None) -> list[str]:
        """What axe finds wrong with the page that is serious or critical; by one rule `only`, where that is enough."""
        if not self.run("return Boolean(window.axe)"):
            self.run((node_folder() / "node_modules" / "axe-core" / "axe.min.js").read_text())
        found = self.driver.execute_async_script(
            "const [only, done] = arguments; axe.run(only ? {runOnly: [only]} : {})"
            ".then((r) => done(r.violations), (e) => done([{id: String(e)}]))",
            only,
        )
        return [
            f"{one['id']} at {[node['target'] for node in one.get('nodes', [])]}"
            for one in found
            if one.get("impact") in ("serious", "critical", None)
        ]

    def keep_downloads(self, folder: Path) -> None:
        """What is downloaded from now on is kept there."""
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def downloaded(self, folder: Path, name: str) -> str:
        """The text of the one file of that name, as soon as it is whole."""
        whole = WebDriverWait(self.driver, SECONDS).until(lambda _: list(folder.glob(name)), f"no {name} came")
        return whole[0].read_text()

    def photograph(self, path: Path) -> None:
        """The whole page, as PNG."""
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(taken["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged: policy violations, failed requests, errors of scripts."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def hosts(self) -> set[str]:
        """Every address that was asked for anything since the last time."""
        hosts = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            params = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                hosts.add(params["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                hosts.add(params["url"])
        return {"/".join(address.split("/")[:3]) for address in hosts if address.startswith(("http", "ws"))}


@contextmanager
def opened(site: str, folder: Path, *, script: bool = True) -> Iterator[Screen]:
    """A browser of its own on `site`; `script`: whether it runs any."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "needs chromium and chromedriver on the path (Debian: chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    if not script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    browser.set_page_load_timeout(SECONDS)
    browser.set_script_timeout(SECONDS)
    try:
        yield Screen(browser, site)
    finally:
        browser.quit()
