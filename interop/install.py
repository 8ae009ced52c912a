#!/usr/bin/env python3
"""Install the real programs that interop uses, without changing the system.

    python3 interop/install.py [NAME ...]      install all of kit/components.py, or those named
    python3 interop/install.py --where [NAME]  print the folder of all, or of one
    python3 interop/install.py --help          print this, and all names

The folder is `$AWS_SSO_MCP_REAL`, else `aws-sso-mcp-interop` in `$XDG_CACHE_HOME` or `~/.cache`:
4.8 GB, in two minutes with a fast connection. An installed component stays as it is unless its pin
changed. To install it again, remove its folder.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait

from kit.components import (
    COMPONENTS,
    REAL,
    STOPPED,
    Component,
    InstallError,
    install,
    installed,
    report,
    say,
    stop,
    version,
)

INTERRUPTED = 128 + signal.SIGINT


def bring(component: Component) -> bool:
    """Install a component unless it is installed; print the result; return whether it is there."""
    try:
        if not installed(component.name):
            install(component)
        outcome = version(component.name)
    except OSError as error:
        outcome = f"FAILED: {error}. $AWS_SSO_MCP_REAL can name another folder"
    except (InstallError, ValueError) as error:
        outcome = "interrupted, and removed" if STOPPED.is_set() else f"FAILED: {error}"
    report(component.name, outcome)
    return installed(component.name)


def main(names: list[str]) -> int:
    """Install the named components, or all; return 1 if one cannot be installed.

    An interrupt stops all installations and removes what is incomplete.
    """
    if names[:1] == ["--where"]:
        say(str(REAL.joinpath(*names[1:])))
        return 0
    known = {component.name: component for component in COMPONENTS}
    if "--help" in names or "-h" in names:
        say(f"{(__doc__ or '').strip()}\n\nThe names: {', '.join(known)}")
        return 0
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.stderr.write(
            f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}\n"
        )
        return 2
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(4) as pool,
    ):
        os.environ["TMPDIR"] = (
            folder  # pip's temporary files, which an interrupt would leave
        )
        coming = {pool.submit(bring, known[name]): name for name in names or known}
        shown = ""
        try:
            while missing := wait(coming, timeout=5).not_done:
                names_left = ", ".join(sorted(coming[each] for each in missing))
                if names_left != shown:  # no line twice
                    report("...", names_left)
                shown = names_left
        except KeyboardInterrupt:
            stop()
            pool.shutdown(cancel_futures=True)
            return INTERRUPTED
    return 0 if all(each.result() for each in coming) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
