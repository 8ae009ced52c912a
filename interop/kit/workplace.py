"""One user's machine at an Identity Center: a temporary HOME, an AWS CLI, a browser.

Tests and the demo start the server here as a client would, and inspect the results.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from mcp import Client, StdioServerParameters

from kit.components import real
from kit.identity_center import IdentityCenter, utc
from kit.person import open_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Variables = dict[str, str]
KIT = Path(__file__).resolve().parent
ROOT = KIT.parents[1]
SERVER = ROOT / "aws_sso_mcp.py"
AWS_V2 = ("aws-2.9", "aws-2.23", "aws-newest")

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

    def environment(self, **more: str | None) -> Variables:
        """Return the server's environment: how to reach the centre, and the user's browser.

        None in `more` removes a variable.
        """
        base = {
            "HOME": str(self.home),
            "PATH": f"{self.aws.parent}:/usr/bin:/bin",
            "BROWSER": shlex.join([sys.executable, str(KIT / "person.py")]) + " %s",
            "AWS_SSO_MCP_LOGIN": "browser",
            **self.centre.environment(),
        }
        return {
            name: value for name, value in {**base, **more}.items() if value is not None
        }

    def server(
        self, *arguments: str, **environment: str | None
    ) -> tuple[list[str], Variables]:
        """Return the command that starts the server, and its environment."""
        return [sys.executable, "-IS", str(SERVER), *arguments], self.environment(
            **environment
        )

    def cli(self, *arguments: str) -> tuple[list[str], Variables]:
        return [str(self.aws), *arguments], self.environment()

    # --- The server

    @contextlib.asynccontextmanager
    async def client(
        self, mode: str = "auto", **environment: str | None
    ) -> AsyncIterator[Client]:
        """Connect the official SDK's client; all that the server writes is saved in `wrote`."""
        argv, env = self.server(**environment)
        out, err = (
            shlex.quote(str(self.wrote / name)) for name in ("stdout", "stderr")
        )
        command = f"{shlex.join(argv)} 2>>{err} | tee -a {out}"
        parameters = StdioServerParameters(
            command="/bin/sh", args=["-c", command], env=env
        )
        async with Client(parameters, mode=mode) as client:
            yield client

    def secrets_written(self) -> set[str]:
        """Return the secrets of the centre that appear in the server's output."""
        text = "".join(path.read_text() for path in self.wrote.iterdir())
        return {secret for secret in self.centre.secrets if secret in text}

    # --- What the AWS CLI leaves

    def run_aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv, env = self.cli(*arguments)
        return subprocess.run(
            argv,
            env=env,
            input="",
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            start_new_session=True,  # Ctrl-C ends the client, not the server
        )

    def run_login(self) -> None:
        """Log in without the server, as if the user had done it yesterday."""
        argv, env = self.cli("sso", "login", "--profile=dev", "--no-browser")
        login = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )
        assert login.stdout
        url = next(
            line for line in login.stdout if line.startswith("https://") and "?" in line
        )
        person = [sys.executable, str(KIT / "person.py"), url.strip()]
        subprocess.run(person, env=self.centre.environment(), check=True)
        login.stdout.read()
        assert login.wait() == 0
        self.run_aws("sts", "get-caller-identity", "--profile=dev")

    def token_path(self, key: str = "corp") -> Path:
        name = hashlib.sha1(key.encode()).hexdigest() + ".json"
        return self.home / ".aws" / "sso" / "cache" / name

    def token(self, key: str = "corp") -> dict[str, Any]:
        token: dict[str, Any] = json.loads(self.token_path(key).read_text())
        return token

    def keep_token(self, token: dict[str, Any], key: str = "corp") -> None:
        """Write a token of the centre into the CLI's cache."""
        self.token_path(key).parent.mkdir(parents=True, exist_ok=True)
        self.token_path(key).write_text(json.dumps(token))

    def keep_role_credentials(self, lifetime_s: float, **session: str) -> None:
        """Cache role credentials of Developer, for a `sessionName` or a `startUrl`."""
        role = {"accountId": "123456789012", "roleName": "Developer"}
        name = json.dumps({**role, **session}, sort_keys=True, separators=(",", ":"))
        credentials = self.centre.issue_role_credentials(lifetime_s, *role.values())
        file = hashlib.sha1(name.encode()).hexdigest() + ".json"
        path = self.home / ".aws" / "cli" / "cache" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"ProviderType": "sso", "Credentials": credentials}))

    def expire_token(self, key: str = "corp") -> None:
        """Make the token one that expired an hour ago, and remove the role credentials."""
        expired = {**self.token(key), "expiresAt": utc(time.time() - 3600)}
        self.keep_token(expired, key)
        self.forget_role_credentials()

    def forget_role_credentials(self) -> None:
        for path in (self.home / ".aws" / "cli" / "cache").glob("*.json"):
            path.unlink()


async def refresh(client: Client, **arguments: Any) -> dict[str, Any]:
    """Call refresh_aws_sso_token; return its answer, which is the same as structure and as text."""
    return await answer(client, "refresh_aws_sso_token", **arguments)


async def until_shown(client: Client, **arguments: Any) -> dict[str, Any]:
    """Return the first answer with a URL, calling again as a model does."""
    while "loginUrl" not in (answer := await refresh(client, **arguments)):
        assert answer["status"] == "pending", answer
    return answer


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    structured: dict[str, Any] = result.structured_content or {}
    assert structured == json.loads(result.content[0].text)  # type: ignore[union-attr]
    failed = not structured["success"] and structured.get("status") != "pending"
    assert result.is_error is failed
    return structured


# --- On plain pipes ---------------------------------------------------------------------


def start(
    place: Workplace, python: str | None = None, **environment: str | None
) -> subprocess.Popen[str]:
    """Start the server on plain pipes, optionally with another Python."""
    argv, env = place.server(**environment)
    argv[0] = python or argv[0]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def ask(
    process: subprocess.Popen[str],
    arguments: dict[str, Any],
    *,
    wait: bool = True,
    request_id: int = 1,
) -> dict[str, Any]:
    """Call the tool over plain pipes, and return its answer if `wait`."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "refresh_aws_sso_token", "arguments": arguments, "_meta": meta}
    message = {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": "tools/call",
        "params": params,
    }
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    if not wait:
        return {}
    told = json.loads(process.stdout.readline())
    assert told["id"] == request_id
    outcome: dict[str, Any] = told["result"]["structuredContent"]
    return outcome


# --- The user, and what the centre heard ----------------------------------------------


def visit(place: Workplace, url: str) -> None:
    """Open a URL in the browser of another machine."""
    with mock.patch.dict(os.environ, place.centre.environment()):
        open_page(url)


def authorizations(centre: IdentityCenter) -> int:
    """Return how many tokens were issued after an approval."""
    return sum(call.startswith("CreateToken:") for call in successful(centre))


def successful(centre: IdentityCenter) -> list[str]:
    # A device polls until it is approved; only its last call returns a token.
    calls = [call for call in centre.calls if "refresh_token" not in call]
    return [a for a, b in zip(calls, [*calls[1:], ""]) if a != b]
