"""Pages for people: plain HTML that works without JavaScript, on a phone, in the dark, by keyboard and read aloud."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response

from shared.settings import Settings

if TYPE_CHECKING:
    import jinja2

_FOLDER = Path(__file__).parent
_COLOUR = re.compile(r"--([a-z-]+): (#[0-9a-f]+)")


def page(template: str, status: int = 200, *, sheet: str = "style.css", **words: Any) -> Response:
    """A page from a template of this folder with the style `sheet`, with every word escaped.

    It may load nothing, run nothing and be framed by nobody; its address may hold a token, so it is not passed on.
    """
    style, policy = _style(sheet)
    html = _templates().get_template(template).render(style=style, **words)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    return Response(html, status, headers, mimetype="text/html")


def site_page(template: str, status: int = 200, *, settings: Settings, start: str, **words: Any) -> Response:
    """A page of the site from a template of this folder, with the site's frame, style and script.

    It may load what is ours, talk to us and to the project's Realtime, and be framed by nobody. `start` is where the
    site's paths begin.
    """
    html = (
        _templates()
        .get_template(template)
        .render(start=start, asset=partial(asset_path, start), grounds=[one["page"] for one in colours()], **words)
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _site_policy(settings.supabase_url),
        "Referrer-Policy": "same-origin",  # without it a browser does not say where a form comes from
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return Response(html, status, headers, mimetype="text/html")


@lru_cache(maxsize=1)
def colours() -> tuple[dict[str, str], dict[str, str]]:
    """The palette by name, light and dark: for what needs a colour and reads no style sheet."""
    light, dark = (_FOLDER / "colours.css").read_text().split("@media")
    return dict(_COLOUR.findall(light)), dict(_COLOUR.findall(dark))


@lru_cache(maxsize=8)
def asset(name: str) -> bytes:
    """A file that pages load: what is beside this one, with the common colours before every style sheet."""
    text = (_FOLDER / name).read_bytes()
    return (_FOLDER / "colours.css").read_bytes() + text if name.endswith(".css") else text


@lru_cache(maxsize=32)
def asset_path(start: str, name: str) -> str:
    """Where pages load the file `name` from: another path whenever it says something else."""
    stem, _, end = name.rpartition(".")
    return f"{start}/assets/{stem}.{hashlib.sha256(asset(name)).hexdigest()[:12]}.{end}"


@lru_cache(maxsize=2)
def _site_policy(supabase_url: str | None) -> str:
    live = f" {supabase_url.replace('http', 'ws', 1)}" if supabase_url else ""
    rules = [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        f"connect-src 'self'{live}",
        "img-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    return "; ".join(rules)


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=8)
def _style(sheet: str) -> tuple[str, str]:
    """The style sheet, and the policy that lets it and the page's own icon, and nothing else, in."""
    style = asset(sheet).decode()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    return style, "; ".join(rules)
