#!/usr/bin/env python3
"""Show the server at work, without an AWS account: `python3 interop/demo.py [AWS-COMPONENT]`.

Starts an Identity Center on this machine, writes a temporary HOME with one profile, connects the
official MCP client, and shows what an assistant and its user see. The AWS CLI is a real one: the
machine's v2, else one that install.py gets from Debian; or the named component.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import install
from kit.components import (
    COMPONENTS,
    REAL,
    InstallError,
    debian_keyring,
    debian_mirror,
    find_python,
    installed,
    real,
    version,
)

if TYPE_CHECKING:
    from mcp import Client

    from kit.workplace import Workplace

AWS_GUIDE = (
    "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
)

CONFIG = """\
[sso-session corp]
sso_start_url = {start_url}
sso_region = us-east-1
sso_registration_scopes = sso:account:access

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer
"""


def main() -> int:
    """Install what is missing, then run the demo with the Python that has it."""
    parser = argparse.ArgumentParser(
        description="See the server work, without an AWS account."
    )
    clis = [
        component.name for component in COMPONENTS if component.name.startswith("aws-")
    ]
    parser.add_argument(
        "aws", nargs="?", choices=clis, help="in place of this machine's AWS CLI"
    )
    wanted = parser.parse_args().aws
    try:
        aws = wanted or find_aws()
        missing = [
            name
            for name in ("demo", aws)
            if isinstance(name, str) and not installed(name)
        ]
        if missing:
            find_python()
    except InstallError as error:
        say_next(f"The demo cannot run here: {error}")
        return 1
    if missing:
        once = f"Once, into {REAL}: {' and '.join(missing)}. It takes half a minute."
        print(fitted(once), flush=True)
        code = install.main(missing)
        if code == 1 and installed("demo"):
            say_next(f"Or install the AWS CLI v2 yourself, then try again: {AWS_GUIDE}")
        if code:
            return code
    if not Path(sys.prefix).samefile(real("demo")):
        python = real("demo") / "bin" / "python"
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    return asyncio.run(demo(aws))


def say_next(text: str) -> None:
    print(f"\n{fitted(text)}", file=sys.stderr)


def end_unheard(error: BaseException) -> None:
    """Report why stdout cannot be written, unless its reader has gone; discard the rest."""
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        say_next(f"The demo ends here: {error}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def find_aws() -> str | Path:
    """Return the AWS CLI v2 on PATH, else the name of the component that install.py can install.

    Raises InstallError with the next step when there is neither.
    """
    on_path = [shutil.which("aws", path=folder) for folder in os.get_exec_path()]
    found = [path for path in on_path if path]
    for path in found:
        if is_v2(path):
            return Path(path)
    if not installed("aws-newest"):
        try:
            debian_mirror()
            debian_keyring()
        except InstallError as error:
            older = f" ({', '.join(found)} is none)" if found else ""
            raise InstallError(
                f"it needs an AWS CLI v2. There is none on PATH{older}, and Debian's cannot be "
                f"installed: {error}. Install one, then try again: {AWS_GUIDE}"
            ) from error
    return "aws-newest"


def is_v2(path: str) -> bool:
    # With the environment of the demo: a shim may need the user's HOME.
    env = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    try:
        told = subprocess.run(
            [path, "--version"], env=env, capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.startswith(b"aws-cli/2.")


async def demo(aws: str | Path) -> int:
    from kit.identity_center import IdentityCenter
    from kit.workplace import SERVER, Workplace

    with IdentityCenter() as centre, tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), centre, aws)
        place.write_config(CONFIG.format(start_url=centre.start_url))
        show = Show(place)
        cli = place.run_aws("--version").stdout.partition(" ")[0] or place.aws
        show.tell(
            f"Real: {cli}, an MCP client ({version('demo')}). Played: IAM Identity Center, on "
            f"127.0.0.1:{centre.port}, and the user. HOME: {place.home}"
        )
        if not await went_well(show):
            show.tell("Something else was expected: the demo ends here.")
            return 1
        return show.ending(SERVER)


async def went_well(show: Show) -> bool:
    """Run the scenes; return whether every call got the expected answer."""
    place = show.place
    centre = show.place.centre
    command = ("sts", "get-caller-identity", "--profile", "dev")
    show.run_aws(*command)
    async with place.client() as client:
        if not await show.call(client, "logged_in", profile="dev"):
            return False
        show.run_aws(*command)
        show.tell("An hour later the token has expired; the session still lives.")
        place.expire_token()
        if not await show.call(client, "refreshed"):
            return False
        show.tell("Another assistant asks, and the token is good.")
        if not await show.call(client, "valid"):
            return False
    show.tell("Next morning the session is over too, and the user is at lunch.")
    place.expire_token()
    centre.revoke()
    centre.approval = "ignore"
    async with place.client(AWS_SSO_MCP_WAIT_SECONDS="4") as client:
        if not await show.call(client, "pending"):
            return False
        show.tell("The user comes back and approves.")
        centre.approve_now()
        return await show.call(client, "logged_in")


class Show:
    """The demo's output: as wide as the terminal, in colour if the terminal supports it."""

    def __init__(self, place: Workplace) -> None:
        from rich.console import Console

        self.place = place
        self.console = Console(
            highlight=False, markup=False, emoji=False, soft_wrap=True
        )

    def tell(self, text: str) -> None:
        self._print("\n" + fitted(text), "italic cyan")

    def run_aws(self, *arguments: str) -> None:
        run = self.place.run_aws(*arguments)
        self._print(f"\n$ aws {' '.join(arguments)}", "bold")
        for line in (run.stdout or run.stderr).strip().splitlines():
            self._print(shortened(line), "red" if run.returncode else "")

    async def call(self, client: Client, expected: str, **arguments: Any) -> bool:
        """Call the tool, show what happened, and return whether its status is as expected."""
        from kit.workplace import refresh

        words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        self._print("", "")
        self._row("assistant", f"refresh_aws_sso_token({words})", "bold")
        began = time.monotonic()
        pages = len(self.place.centre.pages)
        answer = await refresh(client, **arguments)
        seconds = time.monotonic() - began
        opened = self.place.centre.pages[pages:]
        for each in opened or ["opens nothing"]:
            self._row("browser", each)
        if opened and answer["success"]:
            self._row("user", "approves the page")
        style = "bold green" if answer["success"] else "bold yellow"
        self._row("server", f"{answer['status']}, after {seconds:.1f} s", style)
        self._row("", answer["message"])
        return bool(answer["status"] == expected)

    def ending(self, server: Path) -> int:
        """Show which processes are left, and the status; return 0 if none are."""
        from kit.processes import cli_left

        place = self.place
        leaks = place.secrets_written()
        left = cli_left(place.home)
        centre = place.centre
        seen = Path("/proc").is_dir()  # not on macOS
        self.tell(
            f"Pages opened: {len(centre.pages)}. Secrets in what the server wrote: {len(leaks)} "
            f"of {len(centre.secrets)}."
            + (f" Processes left: {len(left)}." if seen else "")
        )
        self._print(f"\n$ python3 {server.name} status", "bold")
        own = {
            name: os.environ[name]
            for name in ("TERM", "NO_COLOR")
            if name in os.environ
        }
        env = {**place.environment(), **own, "COLUMNS": str(width())}
        subprocess.run([sys.executable, "-IS", server, "status"], env=env, check=False)
        return 1 if leaks or left else 0

    def _row(self, who: str, text: str, style: str = "") -> None:
        """Print an actor, and what it says or does beside it."""
        self._print(f"{who:11}", "cyan", end="")
        self._print(fitted(text, 11).lstrip(), style)

    def _print(self, text: str, style: str, end: str = "\n") -> None:
        try:
            self.console.print(text, style=style, end=end)
        except (OSError, SystemExit) as error:  # rich exits if the reader has gone
            end_unheard(error)
            task = asyncio.current_task()
            assert task
            task.cancel()  # so that the server ends and the folder is removed


def width() -> int:
    return min(shutil.get_terminal_size().columns, 100)


def fitted(text: str, indent: int = 0) -> str:
    """Return a text as lines that fit the terminal; words stay whole, a long query is cut."""
    words = [shortened(word, indent) if "?" in word else word for word in text.split()]
    margin = " " * indent
    lines = textwrap.TextWrapper(
        width(),
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.fill(" ".join(words))


def shortened(line: str, indent: int = 0) -> str:
    room = width() - indent
    return line if len(line) <= room else line[: room - 3] + "..."


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(install.INTERRUPTED) from None
    except asyncio.CancelledError:
        raise SystemExit(1) from None
    except OSError as error:
        end_unheard(error)
        raise SystemExit(1) from None
