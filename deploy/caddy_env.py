"""Print the environment that the Caddyfile wants, from the settings: one truth for both.

    .venv/bin/python deploy/caddy_env.py [CADDY_VERSION] > /etc/pickmyclass/caddy.env

No secret is among it. Leaves with status 2 and the reason when a setting does not do for Caddy.
"""

from __future__ import annotations

import re
import sys
from urllib.parse import urlsplit

from deploy.balancer import BALANCER, own_functions
from shared.settings import Settings, SettingsError, load

BODY_BYTES = 64 * 1024 + 1


def environment(settings: Settings, caddy_version: str = "") -> dict[str, str]:
    """The variables of the Caddyfile. Raises `ValueError` with the remedy when a setting does not do."""
    if settings.site_url is None:
        raise ValueError("SITE_URL: not set; Caddy needs the public name")
    site = urlsplit(settings.site_url)
    if site.path or not site.hostname:
        raise ValueError("SITE_URL: must be https:// and a host name, without a path, for Caddy to serve it")
    variables = {
        "DOMAIN": site.netloc if site.scheme == "https" else f"http://{site.netloc}",
        "FUNCTIONS": own_functions(settings),
    }
    if settings.site_upstream is not None:
        if urlsplit(settings.site_upstream).path:
            raise ValueError("SITE_UPSTREAM: must be scheme, host and port, without a path: Caddy proxies whole sites")
        variables["SITE_UPSTREAM"] = settings.site_upstream
    if settings.upstreams is not None:
        variables["BALANCER"] = BALANCER
    numbers = re.match(r"v?(\d+)\.(\d+)", caddy_version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= (2, 7):
        variables["REQUEST_BUFFERS"] = f"request_buffers {BODY_BYTES}"
    return variables


def main() -> None:
    """Print them, one `NAME="value"` a line."""
    try:
        variables = environment(load(), " ".join(sys.argv[1:2]))
    except (SettingsError, ValueError) as error:
        sys.exit(f"caddy_env.py: {error}")
    sys.stdout.writelines(f'{name}="{value}"\n' for name, value in variables.items())


if __name__ == "__main__":
    main()
