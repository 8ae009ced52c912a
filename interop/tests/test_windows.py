"""Logins and refreshes on Windows: its Python and the real AWS CLI v2, under Wine.

Wine cannot show: access lists, windows and consoles on a screen, a real browser.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit.components import InstallError, need, real
from kit.processes import processes, processes_left, soon
from kit.windows import (
    PYTHON,
    at_home,
    check_signature,
    drive_c,
    path_there,
    running,
    stop,
)
from kit.workplace import (
    KIT,
    SERVER,
    Variables,
    Workplace,
    answer,
    ask,
    authorizations,
    refresh,
    start,
    until_shown,
    visit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.identity_center import IdentityCenter

pytestmark = pytest.mark.anyio
ARN = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Developer_"
AWS = r"C:\aws\aws.exe"
PATH = r"C:\windows\system32;C:\windows"
DEVICE: dict[str, Any] = {"AWS_SSO_MCP_LOGIN": "device", "BROWSER": None}


class Desktop(Workplace):
    """A user's Windows, with the variables that the official SDKs pass to a server."""

    def environment(self, **more: str | None) -> Variables:
        home = path_there(self.home)
        person = path_there(KIT / "person.py")
        base = {
            "APPDATA": rf"{home}\AppData\Roaming",
            "HOMEDRIVE": home[:2],
            "HOMEPATH": home[2:],
            "LOCALAPPDATA": rf"{home}\AppData\Local",
            "PATH": rf"{PATH};C:\aws",
            "PATHEXT": ".COM;.EXE;.BAT;.CMD",
            "PROCESSOR_ARCHITECTURE": "AMD64",
            "SYSTEMDRIVE": "C:",
            "SYSTEMROOT": r"C:\windows",
            "TEMP": r"C:\windows\temp",
            "USERNAME": "alice",
            "USERPROFILE": home,
            "AWS_SSO_MCP_LOGIN": "browser",
            "BROWSER": f"{PYTHON} {person} %s".replace("\\", "/"),
            **self.centre.environment(),
        }
        base["AWS_CA_BUNDLE"] = path_there(Path(base["AWS_CA_BUNDLE"]))
        return {
            name: value for name, value in {**base, **more}.items() if value is not None
        }

    def server(
        self, *arguments: str, **environment: str | None
    ) -> tuple[list[str], Variables]:
        argv = [PYTHON, "-IS", path_there(SERVER), *arguments]
        return at_home(self.home, self.environment(**environment), *argv)

    def cli(self, *arguments: str) -> tuple[list[str], Variables]:
        return at_home(self.home, self.environment(), AWS, *arguments)

    def run(self, *argv: str, **environment: str | None) -> tuple[int, bytes, bytes]:
        """Run a program in Windows; return its exit code, stdout and stderr."""
        command, env = at_home(self.home, self.environment(**environment), *argv)
        done = subprocess.run(
            command, env=env, input=b"", capture_output=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def logins(self) -> list[str]:
        """Return the command lines of the processes of a login."""
        return [each for each in processes(self.home) if " sso login " in each]


@pytest.fixture(scope="module")
def windows() -> Iterator[None]:
    need("windows")
    with running():
        yield


@pytest.fixture
def desktop(tmp_path: Path, centre: IdentityCenter, windows: None) -> Iterator[Desktop]:  # noqa: ARG001
    """A home in Windows; at the end none of its processes runs, and no secret was written."""
    desktop = Desktop(tmp_path / "Zoë 日本", centre, "windows")
    yield desktop
    assert desktop.secrets_written() == set()
    assert processes_left(desktop.home) == []


# --- Ways to a token --------------------------------------------------------------------


async def test_pkce_login_then_silent_refresh_then_force(desktop: Desktop) -> None:
    config = desktop.home / ".aws" / "config"
    config.write_bytes(config.read_bytes().replace(b"\n", b"\r\n"))
    async with desktop.client(HOME=r"C:\nowhere") as client:
        first = await refresh(client, profile="dev")
        assert (first["status"], first["minutesLeft"]) == ("logged_in", 59)
        assert first["identity"]["arn"].startswith(ARN)
        assert desktop.token()["expiresAt"] == first["expiresAt"]
        desktop.expire_token()
        assert (await refresh(client, profile="dev"))["status"] == "refreshed"
        assert len(desktop.centre.pages) == 1
        assert (await refresh(client, profile="dev", force=True))[
            "status"
        ] == "logged_in"
    assert len(desktop.centre.pages) == 2
    assert "CreateToken:authorization_code" in desktop.centre.calls
    assert b"\r" not in (desktop.wrote / "stdout").read_bytes()
    assert (desktop.wrote / "stderr").read_bytes() == b""


async def test_two_servers_wait_for_one_device_code(desktop: Desktop) -> None:
    async with AsyncExitStack() as stack:
        more: dict[str, Any] = {**DEVICE, "AWS_SSO_MCP_WAIT_SECONDS": "1"}
        one, two = [
            await stack.enter_async_context(desktop.client(**more)) for _ in "12"
        ]
        shown = await until_shown(one, profile="dev")
        # The official SDKs do not pass COMPUTERNAME.
        assert "(requested by localhost)" in shown["message"]
        assert (await until_shown(two, profile="ops"))["loginUrl"] == shown["loginUrl"]
        assert [each.split()[0] for each in desktop.logins()].count(AWS) == 1
        visit(desktop, shown["loginUrl"])
        for client in (one, two):
            while (done := await refresh(client, profile="dev"))["status"] == "pending":
                pass
            assert done["status"] in ("logged_in", "valid")
    assert authorizations(desktop.centre) == 1


async def test_next_call_joins_the_login_of_a_cancelled_call(desktop: Desktop) -> None:
    desktop.centre.approval = "ignore"
    process = start(desktop)
    ask(process, {"profile": "dev"}, wait=False)
    assert desktop.centre.wait_for(lambda: bool(desktop.centre.pages), 30)
    cancelled = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    assert process.stdin
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **cancelled}) + "\n")
    desktop.centre.approve_now()
    joined = ask(process, {"profile": "dev"}, request_id=2)
    assert joined["status"] in ("logged_in", "valid")
    assert process.communicate(timeout=10) == ("", "")
    assert len(desktop.centre.pages) == 1


async def test_profile_name_reaches_the_cli_unchanged_or_is_refused(
    desktop: Desktop,
) -> None:
    arriving = ("Zoë's own", "--x")
    refused = ("100%", "a&b", 'a"b', "a^b")
    role = (
        "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Developer\n"
    )
    config = (desktop.home / ".aws" / "config").read_text()
    for name in (*arriving, *refused):
        quote = "'" if '"' in name else '"'
        config += f"[profile {quote}{name}{quote}]\n{role}"
    # Its path looks like one of Linux; in Windows it is on the current drive.
    elsewhere = desktop.home / "my.cfg"
    elsewhere.write_text(
        config, encoding="cp1252"
    )  # in which the AWS CLI reads it there
    desktop.run_login()
    more: dict[str, Any] = {
        "PATH": rf"{PATH};C:\aws\cmd",
        "AWS_CONFIG_FILE": str(elsewhere),
    }
    async with desktop.client(**more) as client:
        for name in arriving:
            answer = await refresh(client, profile=name)
            assert (answer["status"], answer["profile"]) == ("valid", name), answer[
                "message"
            ]
        for name in refused:
            answer = await refresh(client, profile=name)
            assert answer["reason"] == "aws_cli_failed", answer
            assert r"C:\aws\cmd\aws.cmd is a batch file" in answer["message"]


# --- What is where ----------------------------------------------------------------------


@pytest.fixture
def program_files(windows: None) -> Iterator[Path]:  # noqa: ARG001
    """The AWS CLI where its installer puts it."""
    folder = drive_c(real("windows")) / "Program Files" / "Amazon" / "AWSCLIV2"
    folder.mkdir(parents=True)
    shutil.copy(drive_c(real("windows")) / "aws" / "aws.exe", folder)
    yield folder
    shutil.rmtree(folder.parent, ignore_errors=True)


async def aws_cli(desktop: Desktop, **environment: Any) -> dict[str, Any]:
    async with desktop.client(**environment) as client:
        status = await answer(client, "get_aws_sso_status")
    found: dict[str, Any] = status["awsCli"]
    return found


async def test_aws_cli_is_found_where_the_installer_puts_it(
    desktop: Desktop, program_files: Path
) -> None:
    shutil.copy(program_files / "aws.exe", desktop.home)
    found = await aws_cli(desktop, PATH=r'C:\windows;"C:\aws"')
    assert found == {"path": AWS, "problem": None}
    # None of these folders counts, nor does the working folder.
    found = await aws_cli(desktop, PATH=r".;;\;C:;aws")
    assert found == {"path": path_there(program_files / "aws.exe"), "problem": None}
    home = path_there(desktop.home)
    shutil.move(program_files.parent, desktop.home)
    found = await aws_cli(desktop, PATH=PATH, ProgramFiles=home)
    assert found == {"path": rf"{home}\Amazon\AWSCLIV2\aws.exe", "problem": None}
    assert (await aws_cli(desktop, PATH=PATH))["path"] is None


@pytest.mark.usefixtures("windows")
def test_python_not_signed_by_python_org_is_refused(tmp_path: Path) -> None:
    folder = real("windows")
    python = drive_c(folder) / "Python3.13" / "python.exe"
    check_signature(python, folder)
    altered = bytearray(python.read_bytes())
    altered[5000] ^= 1
    (tmp_path / "altered.exe").write_bytes(altered)
    others = (tmp_path / "altered.exe", python.with_name("vcruntime140.dll"))
    for path in (*others, drive_c(folder) / "aws" / "aws.exe"):
        with pytest.raises(InstallError, match="is not signed"):
            check_signature(path, folder)


# --- For people -------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "utf-8"])
def test_console_encoding_does_not_break_the_output(
    desktop: Desktop, encoding: str
) -> None:
    config = path_there(desktop.home / ".aws" / "config").encode(encoding, "replace")
    for command in ("status", "refresh"):
        code, out, err = desktop.run(
            *(PYTHON, path_there(SERVER), command, "nosuch"), PYTHONIOENCODING=encoding
        )
        assert (code, err) == (1, b"")
        assert config in out


def test_byte_order_mark_in_config_is_reported(desktop: Desktop) -> None:
    config = desktop.home / ".aws" / "config"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    code, out, err = desktop.run(PYTHON, "-IS", path_there(SERVER), "status")
    assert (code, err) == (1, b"")
    assert b"byte order mark" in out


def test_missing_home_is_reported(desktop: Desktop) -> None:
    none = {"USERPROFILE": None, "HOMEDRIVE": None, "HOMEPATH": None}
    code, out, err = desktop.run(PYTHON, "-IS", path_there(SERVER), "status", **none)
    assert (code, err) == (1, b"")
    assert out.startswith(b"There is no home folder. Set HOME (Windows: USERPROFILE)")


def test_commands_in_help_can_be_pasted(desktop: Desktop, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    server = path_there(Path(shutil.copy(SERVER, folder)))
    more = {"PYTHONIOENCODING": "utf-8"}
    code, out, err = desktop.run(PYTHON, server, "--help", **more)
    assert (code, err) == (0, b"")
    text = out.decode().replace("\r", "")
    entry = json.loads(re.findall(r"\{.*\}", text)[0])["mcpServers"]["aws-sso"]
    assert entry == {"command": "python", "args": ["-IS", server]}
    [command] = re.findall("claude mcp add .* -- python (.*)", text)
    (folder / "pasted.cmd").write_text(
        f"@{PYTHON} {command} --version\n", encoding="utf-8"
    )
    cmd = r"C:\windows\system32\cmd.exe"
    code, out, err = desktop.run(cmd, "/c", path_there(folder / "pasted.cmd"))
    assert out.startswith(b"aws-sso-mcp "), (out, err)


# --- The end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code", "name"),
    [
        ("EOF", 0, "aws.exe"),
        ("Ctrl+C", 130, r"cmd\aws.cmd"),
        ("Ctrl+Break", 0xC000013A & 0xFF, "aws.exe"),  # unhandled, as Wine delivers it
        ("TerminateProcess", 15, r"cmd\aws.cmd"),
    ],
)
async def test_end_of_the_server_ends_the_login(
    desktop: Desktop, how: str, code: int, name: str
) -> None:
    process = start(desktop, **DEVICE, AWS_SSO_MCP_AWS_CLI=rf"C:\aws\{name}")
    ask(process, {"profile": "dev"}, wait=False)
    assert desktop.centre.wait_for(
        lambda: "CreateToken:device_code" in desktop.centre.calls, 30
    )
    assert desktop.logins()
    if how == "EOF":
        assert process.stdin
        process.stdin.close()
    else:
        stop(desktop.home, how)
    assert process.wait(10) == code
    assert soon(lambda: not desktop.logins(), 3)
    assert process.stderr
    assert process.stderr.read() == ""
