#!/usr/bin/env python3
"""Install the real programs that interop runs against, without touching the system.

    python3 interop/install.py [NAME ...]      those of kit/components.py, or those named
    python3 interop/install.py --where [NAME]  print the folder that they are in, or one of them

They come into `$AWS_SSO_MCP_REAL`, else into `aws-sso-mcp-interop` in `$XDG_CACHE_HOME` or
`~/.cache`: 3.3 GB, in two minutes with a fast line. What is there already stays as it is, unless
its pin changed; to renew a component, remove its folder.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from kit.components import (
    COMPONENTS,
    REAL,
    Component,
    InstallError,
    install,
    installed,
    say,
    version,
)


def bring(component: Component) -> bool:
    """Install a component unless it is there, print one line, and return whether it is."""
    started = time.monotonic()
    try:
        if not installed(component.name):
            install(component)
        outcome = version(component.name)
    except (InstallError, OSError, ValueError) as error:
        outcome = f"FAILED: {error}"
    say(f"{component.name:12} {outcome}  ({time.monotonic() - started:.1f} s)")
    return installed(component.name)


def main(names: list[str]) -> int:
    """Install the components named, or all; return 1 when one of them cannot be had."""
    if names[:1] == ["--where"]:
        say(os.path.join(REAL, *names[1:]))
        return 0
    known = {component.name: component for component in COMPONENTS}
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}\n")
        return 2
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(bring, [known[name] for name in names or known]))
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
