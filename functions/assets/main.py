"""GET /assets/…, /robots.txt, /sitemap.xml, /manifest.webmanifest, /favicon.ico: what browsers and searchers load.

curl localhost:8080/robots.txt
"""

import json
import re

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.web.pages import asset, asset_path, colours
from shared.web.replies import failure

TYPES = {"site.css": "text/css", "site.js": "text/javascript", "icon.svg": "image/svg+xml"}
FOR_EVERYONE = ("/", "/legal", "/legal/privacy", "/legal/terms")
DAY = "public, max-age=86400"


@functions_framework.http
@site_door("GET")
def assets(caller: Caller) -> Response:
    """By the path."""
    path, site = caller.request.path.removeprefix("/assets"), f"{caller.parts.settings.site_url}{caller.start}"
    if path == "/robots.txt":
        closed = "".join(f"Disallow: {caller.start}{one}\n" for one in ("/dashboard", "/settings", "/admin", "/auth/"))
        return answer(f"User-agent: *\n{closed}Sitemap: {site}/sitemap.xml\n", "text/plain")
    if path == "/sitemap.xml":
        places = "".join(f"<url><loc>{site}{one}</loc></url>" for one in FOR_EVERYONE)
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        return answer(f"{head}{places}</urlset>\n", "application/xml")
    if path == "/manifest.webmanifest":
        return answer(manifest(caller.start), "application/manifest+json")
    if path == "/favicon.ico":  # browsers that ask without being told where the icon is
        return answer(asset("icon.svg").decode(), TYPES["icon.svg"])
    return file(path)


def file(path: str) -> Response:
    """A file under the name that pages of this release give it, for ever; under that of another release as it is now.

    A page that was loaded before a release still finds its style.
    """
    found = re.fullmatch(r"(?:/assets)?/(\w+)\.[0-9a-f]{12}\.(\w+)", path)
    name = f"{found[1]}.{found[2]}" if found else ""
    if name not in TYPES:
        raise failure("There is no such file.", 404)
    is_this_one = asset_path("", name).endswith(path)
    return answer(
        asset(name).decode(), TYPES[name], "public, max-age=31536000, immutable" if is_this_one else "no-store"
    )


def manifest(start: str) -> str:
    """What a phone needs to keep the site among its apps."""
    icon = {"src": asset_path(start, "icon.svg"), "sizes": "any", "type": "image/svg+xml"}
    words = {"name": "PickMyClass", "short_name": "PickMyClass", "start_url": f"{start}/dashboard"}
    return json.dumps({**words, "display": "minimal-ui", "background_color": colours()[0]["page"], "icons": [icon]})


def answer(text: str, media: str, cache: str = DAY) -> Response:
    """A file."""
    headers = {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}
    return Response(text, 200, headers, mimetype=media)
