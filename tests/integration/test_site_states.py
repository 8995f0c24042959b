"""Every page in every state, as people with different eyes and screens meet it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.screen import Screen
from tests.support.states import every_state
from tests.support.student import Door

SIZES = ((320, 1.0), (360, 1.0), (820, 1.0), (1400, 1.0), (820, 2.0))
"""A small phone, a phone, a tablet, a wide screen, and 200 % on a small one."""
WIDER = "return [document.documentElement.scrollWidth, window.innerWidth]"
MOVING = """
document.querySelector('.card')?.classList.add('changed');
return [...document.querySelectorAll('*')].filter((one) => {
  const style = getComputedStyle(one);
  return style.animationName !== 'none' || parseFloat(style.transitionDuration) || style.scrollBehavior === 'smooth';
}).length
"""
WITHOUT_EDGE = """
const fields = 'input:not([type=hidden]):not([type=checkbox]), select';
return [...document.querySelectorAll(`button, .button, .pill, .card, .note, ${fields}`)]
  .filter((one) => one.offsetParent && (getComputedStyle(one).borderTopStyle === 'none'))
  .map((one) => one.className || one.innerText || one.name)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_page_in_every_state_is_for_everybody(door: Door, screen: Screen, request: pytest.FixtureRequest) -> None:
    """Read aloud, in the dark, on any screen, magnified, in colours of one's own, and with nothing moving."""
    pictures: Path | None = request.config.getoption("--pictures")
    found: dict[tuple[str, ...], object] = {}
    for state in every_state(door, screen):
        screen.look(1400)
        if serious := screen.serious():
            found[state, "light"] = serious
        screen.look(1400, dark=True)
        if pale := screen.serious("color-contrast"):
            found[state, "dark"] = pale
        for width, zoom in SIZES:
            screen.look(width, zoom=zoom)
            inside, outside = screen.run(WIDER)
            if inside > outside:
                found[state, f"{width} at {zoom}"] = f"{inside} > {outside}"
        screen.look(820, forced=True)
        if bare := screen.run(WITHOUT_EDGE):
            found[state, "forced colours"] = bare
        if pictures:
            take(screen, pictures, state)
        screen.look(1400, still=True)
        if moving := screen.run(MOVING):
            found[state, "reduced motion"] = moving
        screen.look(1400)
    assert found == {}


def take(screen: Screen, folder: Path, state: str) -> None:
    """Pictures of where the browser is: three widths, light and dark, and forced colours."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", state).strip("-") or "home"
    for width in (1400, 820, 360):
        for dark in (False, True):
            screen.look(width, dark=dark)
            screen.photograph(folder / f"{name}.{width}.{'dark' if dark else 'light'}.png")
    screen.look(820, forced=True)
    screen.photograph(folder / f"{name}.820.forced.png")
    screen.look(820, zoom=2.0)
    screen.photograph(folder / f"{name}.820.twice.png")
