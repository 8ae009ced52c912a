#!/usr/bin/env python3
"""The user with a browser, for an `IdentityCenter`: open one URL as a browser would.

    BROWSER="python3 .../person.py %s"

`IdentityCenter.approval` decides what the user does with the page. The
exit code is 0 when the page, and the application's own page that it redirects to, were loaded.
An AWS CLI that opens the page itself needs `%s &`: it takes the redirect only once the opener
has returned.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request
from urllib.parse import urlsplit


def page_request(url: str) -> str:
    """Return the URL that a page finally requests: its script moves the query of the fragment."""
    parts = urlsplit(url)
    return parts._replace(
        query=urlsplit(parts.fragment).query or parts.query, fragment=""
    ).geturl()


def open_page(url: str) -> None:
    """Load a page and what it redirects to; raise OSError when that fails."""
    tls = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    browser = urllib.request.build_opener(
        # No proxy for http: the redirect goes to the AWS CLI on this machine.
        urllib.request.ProxyHandler({"https": os.environ["HTTPS_PROXY"]}),
        urllib.request.HTTPSHandler(context=tls),
    )
    with browser.open(page_request(url)) as reply:
        reply.read()


def main(argv: list[str]) -> int:
    """Open the URL in `argv` and return the exit code."""
    if len(argv) != 2:
        print(f"usage: {argv[0]} URL", file=sys.stderr)
        return 2
    try:
        open_page(argv[1])
    except (KeyError, ValueError, OSError) as error:
        print(f"person: {argv[1]}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
