"""Pages for people: plain HTML that works without JavaScript, on a phone, in the dark, by keyboard and read aloud."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Response

if TYPE_CHECKING:
    import jinja2

_FOLDER = Path(__file__).parent


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


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


@lru_cache(maxsize=8)
def _style(sheet: str) -> tuple[str, str]:
    """The style sheet, and the policy that lets it and the page's own icon, and nothing else, in."""
    style = (_FOLDER / sheet).read_text(encoding="utf-8")
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
