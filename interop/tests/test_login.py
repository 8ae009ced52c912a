"""Logins and refreshes: the official SDK, the real AWS CLI v2, an Identity Center."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from kit.components import need
from kit.processes import cli_left, cli_processes
from kit.workplace import Workplace, answer, ask, refresh, start, until_shown, visit

if TYPE_CHECKING:
    from kit.identity_center import IdentityCenter

pytestmark = pytest.mark.anyio

MODES = ("legacy", "2026-07-28")
ARN = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Developer_"


# --- Ways to a token --------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_first_login_opens_one_page(place: Workplace, mode: str) -> None:
    async with place.client(mode) as client:
        answer = await refresh(client, profile="dev")
    assert (answer["status"], answer["success"]) == ("logged_in", True)
    assert answer["identity"]["arn"].startswith(ARN)
    assert answer["minutesLeft"] == 59
    assert len(place.centre.pages) == 1
    assert place.centre.pages[0].startswith("https://")
    token = place.token()
    assert token["accessToken"] in place.centre.secrets
    assert token["expiresAt"] == answer["expiresAt"]
    used = place.run_aws("sts", "get-caller-identity", "--profile=dev", "--output=json")
    assert json.loads(used.stdout)["Arn"] == answer["identity"]["arn"]


@pytest.mark.parametrize("mode", MODES)
async def test_good_token_needs_no_login(place: Workplace, mode: str) -> None:
    async with place.client(mode) as client:
        await refresh(client, profile="dev")
        before = place.token()
        answer = await refresh(client)
    assert (answer["status"], answer["profileSource"]) == ("valid", "most_recent")
    assert place.token() == before
    assert len(place.centre.pages) == 1


async def test_expired_token_is_refreshed_without_a_page(place: Workplace) -> None:
    place.run_login()
    place.expire_token()
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "refreshed"
    assert answer["minutesLeft"] == 59
    assert place.centre.calls.count("CreateToken:refresh_token") == 1
    assert len(place.centre.pages) == 1


async def test_refused_refresh_opens_one_page(place: Workplace) -> None:
    place.run_login()
    place.expire_token()
    place.centre.refuse_refresh = True
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "logged_in"
    assert len(place.centre.pages) == 2


async def test_revoked_session_is_detected(place: Workplace) -> None:
    place.run_login()
    place.centre.revoke()
    place.forget_role_credentials()
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "logged_in"


async def test_force_logs_in_although_the_token_is_good(place: Workplace) -> None:
    place.run_login()
    before = place.token()["accessToken"]
    async with place.client() as client:
        answer = await refresh(client, profile="dev", force=True)
    assert answer["status"] == "logged_in"
    assert place.token()["accessToken"] != before


async def test_role_profile_logs_in_to_its_source(place: Workplace) -> None:
    async with place.client() as client:
        answer = await refresh(client, profile="deploy")
    assert (answer["status"], answer["loginProfile"]) == ("logged_in", "dev")


async def test_legacy_profile_shows_the_code(place: Workplace) -> None:
    place.centre.approval = "ignore"
    async with place.client(AWS_SSO_MCP_WAIT_SECONDS="5") as client:
        answer = await until_shown(client, profile="old")
        assert answer["userCode"] in answer["loginUrl"]
        place.centre.approve_now()
        answer = await refresh(client, profile="old")
    assert (answer["status"], answer["ssoSession"]) == ("logged_in", None)
    assert place.token(place.centre.start_url)["expiresAt"] == answer["expiresAt"]


async def test_second_call_joins_the_pending_login(place: Workplace) -> None:
    place.centre.approval = "ignore"
    async with place.client(AWS_SSO_MCP_WAIT_SECONDS="5") as client:
        answer = await until_shown(client, profile="dev")
        assert answer["success"] is False
        assert answer["loginUrl"] in answer["message"]
        place.centre.approve_now()
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "logged_in"
    assert len(place.centre.pages) == 1


async def test_login_in_a_terminal_ends_the_pending_one(place: Workplace) -> None:
    place.centre.approval = "ignore"
    async with place.client(AWS_SSO_MCP_WAIT_SECONDS="4") as client:
        assert (await refresh(client, profile="dev"))["status"] == "pending"
        place.centre.approval = "approve"
        place.run_login()
        assert (await refresh(client, profile="dev"))["status"] == "logged_in"
        assert cli_left(place.home) == []


async def test_remote_login_with_a_device_code(place: Workplace) -> None:
    remote = {
        "AWS_SSO_MCP_LOGIN": "device",
        "BROWSER": "",
        "AWS_SSO_MCP_WAIT_SECONDS": "4",
    }
    async with place.client(**remote) as client:
        answer = await until_shown(client, profile="dev")
        assert place.centre.pages == []
        assert answer["userCode"] in answer["message"]
        visit(place, answer["loginUrl"])
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "logged_in"
    assert "CreateToken:authorization_code" not in place.centre.calls


async def test_progress_names_the_page(place: Workplace) -> None:
    heard: list[tuple[float, str | None]] = []

    async def progress(
        progress: float, total: float | None, message: str | None
    ) -> None:
        assert total is None
        heard.append((progress, message))

    async with place.client() as client:
        result = await client.call_tool(
            "refresh_aws_sso_token", {"profile": "dev"}, progress_callback=progress
        )
    assert not result.is_error
    assert [done for done, _ in heard] == list(range(1, len(heard) + 1))
    assert any("https://" in str(message) for _, message in heard)


async def test_status_tells_what_the_cli_left(place: Workplace) -> None:
    async with place.client() as client:
        before = await answer(client, "get_aws_sso_status", profile="dev")
        await refresh(client, profile="dev")
        after = await answer(client, "get_aws_sso_status", profile="dev")
    assert [each["sessions"][0]["state"] for each in (before, after)] == [
        "absent",
        "valid",
    ]
    assert after["next"] == {"profile": "dev", "profileSource": "parameter"}
    assert len(place.centre.pages) == 1


# --- What the AWS CLI says when it fails ------------------------------------------------


@pytest.mark.parametrize(
    ("approval", "profile", "reason"),
    [
        ("deny", "dev", "denied"),
        ("deny", "old", "denied"),
        ("expire", "dev", "login_expired"),
        ("expire", "old", "login_expired"),
        ("wrong_state", "dev", "wrong_state"),
    ],
)
async def test_denied_or_expired_page_is_reported(
    place: Workplace, aws: str, approval: str, profile: str, reason: str
) -> None:
    if aws == "aws-2.9" and approval == "wrong_state":
        approval, reason = "deny", "denied"  # before 2.22 there is no state parameter
    place.centre.approval = approval
    async with place.client() as client:
        answer = await refresh(client, profile=profile)
    assert (answer["status"], answer["reason"]) == ("failed", reason), answer["message"]
    assert "loginUrl" not in answer
    assert not place.token_path().exists()


@pytest.mark.parametrize(
    ("operation", "kind", "reason"),
    [
        ("RegisterClient", "500", "aws_error"),
        ("RegisterClient", "429", "aws_error"),
        ("RegisterClient", "html", "aws_error"),
        (
            "RegisterClient",
            "reset",
            "proxy",
        ),  # the CLI's message for a reset in a proxy's tunnel
        ("CreateToken", "500", "aws_error"),
        ("CreateToken", "InvalidGrantException", "login_expired"),
        ("CreateToken", "InvalidClientException", "client_registration"),
    ],
)
async def test_failure_of_aws_during_a_login_is_reported(
    place: Workplace, operation: str, kind: str, reason: str
) -> None:
    place.centre.fail(operation, kind, times=10)
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", reason), answer["message"]
    assert not place.token_path().exists()


async def test_unassigned_role_is_reported(place: Workplace) -> None:
    async with place.client() as client:
        answer = await refresh(client, profile="ops")
        assert answer["reason"] == "role_not_assigned"
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "valid"  # the login itself succeeded
    assert len(place.centre.pages) == 1


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (
            {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"},
            "proxy",
        ),
        ({"AWS_CA_BUNDLE": "another"}, "certificate"),
        ({"AWS_CA_BUNDLE": "/nowhere"}, "certificate"),
        ({"HTTPS_PROXY": "", "https_proxy": ""}, "network"),
    ],
)
async def test_unreachable_aws_is_reported(
    place: Workplace, environment: dict[str, str], reason: str
) -> None:
    if environment.get("AWS_CA_BUNDLE") == "another":
        trustme.CA().cert_pem.write_to_path(str(place.home / "another"))
        environment = {"AWS_CA_BUNDLE": str(place.home / "another")}
    async with place.client(**environment) as client:
        answer = await refresh(client, profile="dev")
    assert answer["reason"] == reason, answer["message"]
    assert place.centre.pages == []


async def test_unwritable_token_cache_is_reported(place: Workplace) -> None:
    cache = place.home / ".aws" / "sso"
    cache.write_text("a file where the CLI wants a folder")
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert answer["reason"] == "cache_not_writable", answer["message"]
    assert cache.read_text().startswith("a file")


async def test_login_replaced_by_a_cli_alias_is_reported(place: Workplace) -> None:
    alias = place.home / ".aws" / "cli" / "alias"
    alias.parent.mkdir()
    alias.write_text("[toplevel]\nsso = !echo Successfully logged into Start URL: x\n")
    async with place.client() as client:
        answer = await refresh(client, profile="dev")
    assert answer["reason"] == "no_token"


async def test_aws_cli_v1_is_reported_and_skipped(
    tmp_path: Path, centre: IdentityCenter
) -> None:
    place = Workplace(tmp_path, centre, need("aws-1"))
    async with place.client(AWS_SSO_MCP_AWS_CLI=str(place.aws)) as client:
        answer = await refresh(client, profile="dev")
        assert answer["reason"] == "aws_cli_v1", answer["message"]
        assert str(place.aws) in answer["message"]
    v2 = Workplace(tmp_path / "v2", centre, need("aws-newest"))
    path = os.pathsep.join(
        (*(str(each.aws.parent) for each in (place, v2)), os.defpath)
    )
    async with place.client(PATH=path) as client:
        answer = await refresh(client, profile="dev")
    assert answer["status"] == "logged_in"


async def test_version_1_that_python_runs_as_a_module_is_recognized(
    tmp_path: Path, centre: IdentityCenter
) -> None:
    python = (
        Workplace(tmp_path, centre, need("aws-1")).aws.parents[1] / "venv/bin/python"
    )
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\nexec {python} -m awscli "$@"\n')
    aws.chmod(0o755)
    place = Workplace(tmp_path / "module", centre, aws)
    async with place.client(AWS_SSO_MCP_AWS_CLI=str(aws)) as client:
        answer = await refresh(client, profile="dev")
    assert answer["reason"] == "aws_cli_v1", answer["message"]


async def test_aws_cli_v1_is_reported_with_a_valid_token_too(
    tmp_path: Path, newest: Workplace, centre: IdentityCenter
) -> None:
    newest.run_login()
    v1 = Workplace(tmp_path / "v1", centre, need("aws-1"))
    async with newest.client(AWS_SSO_MCP_AWS_CLI=str(v1.aws)) as client:
        answer = await refresh(client, profile="dev")
    assert answer["reason"] == "aws_cli_v1"


async def test_profile_without_a_role_is_verified_through_another(
    place: Workplace,
) -> None:
    config = (place.home / ".aws" / "config").read_text()
    place.write_config(f"[profile plain]\nsso_session = corp\n{config}")
    place.run_login()
    async with place.client() as client:
        answer = await refresh(client, profile="plain")
        assert (answer["status"], "AWS accepts it" in answer["message"]) == (
            "valid",
            True,
        )
        assert "identity" not in answer
        place.centre.revoke()
        place.forget_role_credentials()
        answer = await refresh(client, profile="plain")
    assert answer["status"] == "logged_in"
    assert len(place.centre.pages) == 2


async def test_credential_process_is_traced_to_its_profile(place: Workplace) -> None:
    config = (place.home / ".aws" / "config").read_text()
    process = f"{place.aws} configure export-credentials --profile dev"
    place.write_config(f"{config}[profile p]\ncredential_process = {process}\n")
    async with place.client() as client:
        answer = await refresh(client, profile="p")
    assert (answer["status"], answer["loginProfile"]) == ("logged_in", "dev")
    used = place.run_aws("sts", "get-caller-identity", "--profile=p", "--output=json")
    assert json.loads(used.stdout)["Arn"] == answer["identity"]["arn"]


@pytest.mark.parametrize("content", ["", '{"clientId": "x", "cli', "{}", "[]"])
@pytest.mark.parametrize("folder", ["sso", "cli"])
async def test_damaged_cache_file_of_the_cli_is_named(
    place: Workplace, folder: str, content: str
) -> None:
    place.run_login()
    files = (place.home / ".aws" / folder / "cache").glob("*.json")
    (damaged,) = [path for path in files if path != place.token_path()]
    damaged.write_text(content)
    async with place.client() as client:
        answer = await refresh(client, profile="dev", force=folder == "sso")
        assert (answer["status"], answer["reason"]) == ("failed", "damaged_cache")
        assert str(damaged) in answer["message"]
        damaged.unlink()
        answer = await refresh(client, profile="dev", force=folder == "sso")
    assert answer["success"]


# --- The environment of the server ------------------------------------------------------


async def test_misleading_variables_do_not_reach_the_cli(place: Workplace) -> None:
    hostile = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_PROFILE": "old",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_SSO_OIDC": "http://127.0.0.1:1",
        "AWS_CLI_AUTO_PROMPT": "on",
        "AWS_MAX_ATTEMPTS": "zero",
        "PYTHONWARNINGS": "error",
        "PYTHONHOME": "/nowhere",
        "LD_PRELOAD": "/nowhere/evil.so",
    }
    python = shutil.which("python3", path=str(Path(sys.executable).parent))
    process = start(place, str(python), **hostile)
    outcome = ask(process, {"profile": "dev"})
    stdout, stderr = process.communicate(timeout=10)
    assert (stdout, stderr.count("\n")) == (
        "",
        1,
    )  # ld.so's own warning, for the server
    assert outcome["status"] == "logged_in", outcome
    assert outcome["identity"]["arn"].startswith(ARN)
    assert not any(secret in json.dumps(outcome) for secret in place.centre.secrets)


async def test_config_file_in_another_place_is_used(place: Workplace) -> None:
    config = place.home / "elsewhere"
    (place.home / ".aws" / "config").rename(config)
    async with place.client(AWS_CONFIG_FILE="~/elsewhere", AWS_PROFILE="dev") as client:
        answer = await refresh(client)
    assert (answer["status"], answer["profileSource"]) == ("logged_in", "environment")


@pytest.mark.parametrize(
    "name",
    ["-x", "a b", "acct/Role.x@org+1:y=z", "日本", "$(id)", "a'b", "--no-browser"],
)
async def test_profile_names_that_botocore_accepts_work(
    newest: Workplace, name: str
) -> None:
    with (newest.home / ".aws" / "config").open("a") as file:
        file.write(
            f'\n[profile "{name}"]\nsso_session = corp\nsso_account_id = 123456789012\n'
            "sso_role_name = Developer\n"
        )
    async with newest.client(LANG="C.UTF-8") as client:
        answer = await refresh(client, profile=name)
    assert (answer["status"], answer["profile"]) == ("logged_in", name)


# --- The end ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["eof", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
async def test_end_of_the_server_ends_the_login(place: Workplace, end: str) -> None:
    place.centre.approval = "ignore"
    process = start(place)
    ask(process, {"profile": "dev"}, wait=False)
    assert place.centre.wait_for(lambda: bool(place.centre.pages))
    assert list(cli_processes(place.home))
    ended = time.monotonic()
    if end == "eof":
        assert process.stdin
        process.stdin.close()
    else:
        process.send_signal(getattr(signal, end))
    code = process.wait(10)
    assert time.monotonic() - ended < 2
    assert code == (0 if end == "eof" else 128 + getattr(signal, end))
    assert process.stderr
    assert process.stderr.read() == ""


# --- One forwarded port -------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


async def test_callback_listens_on_the_port_that_is_forwarded(
    newest: Workplace,
) -> None:
    port = free_port()
    variables = {"AWS_SSO_MCP_LOGIN": f"browser:{port}", "SSH_TTY": "/dev/pts/1"}
    async with newest.client(**variables) as client:
        answer = await until_shown(client, profile="dev")
        assert f"the machine that forwards port {port}" in answer["message"]
        assert newest.centre.pages == []  # it is the user who opens it
        query = parse_qs(urlsplit(answer["loginUrl"]).query)
        assert query["redirect_uri"] == [f"http://127.0.0.1:{port}/oauth/callback"]
        visit(newest, answer["loginUrl"])
        answer = await refresh(client, profile="dev")
    assert answer["status"] in ("logged_in", "valid")
    assert newest.token_path().exists()


@pytest.mark.parametrize("aws", ["aws-2.9", "aws-2.23"], indirect=True)
async def test_cli_that_cannot_choose_its_port_is_too_old(place: Workplace) -> None:
    async with place.client(AWS_SSO_MCP_LOGIN=f"browser:{free_port()}") as client:
        answer = await refresh(client, profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", "aws_cli_too_old")
    assert "2.37.2" in answer["message"]
    assert not place.token_path().exists()
