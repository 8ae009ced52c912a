#!/usr/bin/env python3
"""See the server work, without an AWS account: `python3 interop/demo.py [AWS-COMPONENT]`.

Starts an Identity Center on this machine, writes a throw-away HOME with one profile, connects the
official MCP client, and shows what an assistant and its person see. The AWS CLI is the real one:
that of this machine if it is a v2, else one that install.py brings; or the component named.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from kit.components import REAL, installed, real


def main() -> int:
    """Bring what is missing, then run the demo with the Python that has it."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    aws = find_aws(wanted)
    missing = [name for name in ("demo", aws) if isinstance(name, str) and not installed(name)]
    if missing:
        print(f"Once, into {REAL}: {', '.join(missing)} (about a minute).", flush=True)
        script = Path(__file__).with_name("install.py")
        if subprocess.run([sys.executable, script, *missing], check=False).returncode:
            return 1
    python = real("demo") / "bin" / "python"
    if Path(sys.prefix) != real("demo"):
        return subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode
    return asyncio.run(demo(aws))


def find_aws(wanted: str | None) -> str | Path:
    """Return the AWS CLI v2 of this machine, else the name of the component to install."""
    if wanted:
        return wanted
    here = shutil.which("aws")
    if here:
        told = subprocess.run([here, "--version"], capture_output=True, text=True, check=False)
        if told.stdout.startswith("aws-cli/2."):
            return Path(here)
    return "aws-newest"


async def demo(aws: str | Path) -> int:
    from kit.identity_center import IdentityCenter
    from kit.processes import cli_left
    from kit.workplace import Workplace, answer

    with IdentityCenter() as centre, tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), centre, aws)
        version = place.run_aws("--version").stdout.split()[0]
        say(f"AWS CLI: {version}. An IAM Identity Center listens on 127.0.0.1:{centre.port}.")
        say(f"HOME is {place.home}; its ~/.aws/config holds the profile `dev`.")
        command = ("sts", "get-caller-identity", "--profile=dev")
        show_run(place, *command)
        async with place.client() as client:
            names = ", ".join(tool.name for tool in (await client.list_tools()).tools)
            say(f"An assistant's client connects, MCP {client.protocol_version}. Tools: {names}")

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
                print(f"\nassistant> {tool}({words})")
                started = time.monotonic()
                result = await answer(client, tool, **arguments)
                show_answer(result, time.monotonic() - started)
                return result

            await call("refresh_aws_sso_token", profile="dev")
            say(f"The person approved one page: {centre.pages[-1][:70]}...")
            show_run(place, *command)
            await call("refresh_aws_sso_token")
            say("An hour later the token has expired; the session still lives.")
            place.expire_token()
            await call("refresh_aws_sso_token")
            say("Next morning the session is over too, and the person is at lunch.")
            place.expire_token()
            centre.revoke()
            centre.approval = "ignore"
        async with place.client(AWS_SSO_MCP_WAIT_SECONDS="4") as client:
            await call("refresh_aws_sso_token")
            say("The person comes back and approves.")
            centre.approve_now()
            last = await call("refresh_aws_sso_token")
            await call("get_aws_sso_status")
        leaks, left = place.secrets_written(), cli_left(place.home)
        say(
            f"Pages opened: {len(centre.pages)}. Secrets in what the server wrote: {len(leaks)} "
            f"(of {len(centre.secrets)}). Processes left: {len(left)}."
        )
        return 0 if last["status"] == "logged_in" and not leaks and not left else 1


def say(text: str) -> None:
    print("\n" + textwrap.fill(text, 98))


def show_run(place: Any, *arguments: str) -> None:
    run = place.run_aws(*arguments)
    print(f"\n$ aws {' '.join(arguments)}")
    print(textwrap.indent((run.stdout or run.stderr).strip(), "    "))


def show_answer(answer: dict[str, Any], seconds: float) -> None:
    print(f"    [{seconds:.2f} s]")
    for name, value in answer.items():
        text = re.sub(r"(\S{60})\S+", r"\1...", str(value))
        print(
            textwrap.fill(f"{name}: {text}", 98, initial_indent="    ", subsequent_indent="      ")
        )


if __name__ == "__main__":
    raise SystemExit(main())
