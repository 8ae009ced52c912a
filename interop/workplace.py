"""One person's machine at an Identity Center: a throw-away HOME, an AWS CLI, a browser.

Tests and the demo start the server here as a client would, and look at what it leaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import Client, StdioServerParameters

from install import real

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from identity_center import IdentityCenter

HERE = Path(__file__).resolve().parent
SERVER = HERE.parent / "aws_sso_mcp.py"

CONFIG = """\
[sso-session corp]
sso_start_url = {start_url}
sso_region = us-east-1
sso_registration_scopes = sso:account:access

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer

[profile ops]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Operator

[profile deploy]
role_arn = arn:aws:iam::123456789012:role/Deploy
source_profile = dev

[profile old]
sso_start_url = {start_url}
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = Developer
"""


class Workplace:
    """A HOME in `folder` with profiles of `centre`, and an AWS CLI: a component, or a path."""

    def __init__(self, folder: Path, centre: IdentityCenter, aws: str | Path) -> None:
        self.centre = centre
        self.aws = real(aws) / "bin" / "aws" if isinstance(aws, str) else aws
        self.home = folder / "home"
        self.wrote = folder / "wrote"
        for path in (self.home / ".aws", self.wrote):
            path.mkdir(parents=True)
        self.write_config(CONFIG.format(start_url=centre.start_url))

    def write_config(self, text: str) -> None:
        (self.home / ".aws" / "config").write_text(text)

    def environment(self, **more: str) -> dict[str, str]:
        """Return what the server gets: the way to the centre, and a person who opens pages."""
        base = {
            "HOME": str(self.home),
            "PATH": f"{self.aws.parent}:/usr/bin:/bin",
            "BROWSER": shlex.join([sys.executable, str(HERE / "person.py")]) + " %s",
            "AWS_SSO_MCP_LOGIN": "browser",
            **self.centre.environment(),
        }
        return {**base, **more}

    # --- The server

    @contextlib.asynccontextmanager
    async def client(self, mode: str = "auto", **environment: str) -> AsyncIterator[Client]:
        """Connect the official SDK's client; every byte the server writes is kept in `wrote`."""
        server = shlex.join([sys.executable, "-IS", str(SERVER)])
        out, err = (shlex.quote(str(self.wrote / name)) for name in ("stdout", "stderr"))
        command = f"{server} 2>>{err} | tee -a {out}"
        env = self.environment(**environment)
        parameters = StdioServerParameters(command="/bin/sh", args=["-c", command], env=env)
        async with Client(parameters, mode=mode) as client:
            yield client

    def secrets_written(self) -> set[str]:
        """Return the secrets of the centre that stand in anything the server wrote."""
        text = "".join(path.read_text() for path in self.wrote.iterdir())
        return {secret for secret in self.centre.secrets if secret in text}

    # --- What the AWS CLI leaves

    def run_aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.aws), *arguments]
        return subprocess.run(
            argv, env=self.environment(), capture_output=True, text=True, check=False, cwd=self.home
        )

    def run_login(self) -> None:
        """Log in without the server, as the person did yesterday."""
        login = subprocess.Popen(
            [str(self.aws), "sso", "login", "--profile=dev", "--no-browser"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )
        assert login.stdout
        url = next(line for line in login.stdout if line.startswith("https://") and "?" in line)
        person = [sys.executable, str(HERE / "person.py"), url.strip()]
        subprocess.run(person, env=self.environment(), check=True)
        login.stdout.read()
        assert login.wait() == 0
        self.run_aws("sts", "get-caller-identity", "--profile=dev")

    def token_path(self, key: str = "corp") -> Path:
        name = hashlib.sha1(key.encode()).hexdigest() + ".json"
        return self.home / ".aws" / "sso" / "cache" / name

    def token(self, key: str = "corp") -> dict[str, Any]:
        token: dict[str, Any] = json.loads(self.token_path(key).read_text())
        return token

    def expire_token(self, key: str = "corp") -> None:
        """Let the token have run out an hour ago, and the CLI have no role credentials left."""
        expired = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        path = self.token_path(key)
        path.write_text(json.dumps({**self.token(key), "expiresAt": expired}))
        self.forget_role_credentials()

    def forget_role_credentials(self) -> None:
        for path in (self.home / ".aws" / "cli" / "cache").glob("*.json"):
            path.unlink()


def soon(happened: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether `happened()` turns true in time; for what tells nobody of itself."""
    deadline = time.monotonic() + seconds
    while not (now := happened()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


def cli_left(home: Path) -> list[str]:
    """Return the command lines of the `aws` processes of a HOME that do not end at once."""
    soon(lambda: not list(cli_processes(home)), 2)
    return list(cli_processes(home))


def cli_processes(home: Path) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            argv = (process / "cmdline").read_text(errors="replace").split("\0")
            variables = (process / "environ").read_text(errors="replace").split("\0")
            if f"HOME={home}" in variables and any(word.endswith("/aws") for word in argv):
                yield " ".join(argv)


async def refresh(client: Client, **arguments: Any) -> dict[str, Any]:
    """Call refresh_aws_sso_token and return its answer, the same as structure and as text."""
    return await answer(client, "refresh_aws_sso_token", **arguments)


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    structured: dict[str, Any] = result.structured_content or {}
    assert structured == json.loads(result.content[0].text)  # type: ignore[union-attr]
    failed = not structured["success"] and structured.get("status") != "pending"
    assert result.is_error is failed
    return structured
