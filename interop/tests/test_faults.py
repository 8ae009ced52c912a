"""Faults that the server must survive: AWS, the AWS CLI, files, the browser, the clock.

First with the real AWS CLI and an Identity Center, then with a stand-in for what a real CLI cannot
be made to do. After each test the server still answers, no `aws` is left, and the output holds
nothing but JSON-RPC and no secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from kit import inside
from kit.desk import (
    DEADLINE_S,
    DEVICE_PROMPT,
    IDENTITY,
    PKCE_PROMPT,
    PKCE_URL,
    SECRETS,
    SESSION_EXPIRED,
    Client,
    Desk,
    iso,
    outcome,
    server,
)
from kit.processes import cli_left, cli_processes, end_processes, soon
from kit.workplace import SERVER, visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.workplace import Workplace


# --- AWS --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "profile"),
    [("RegisterClient", "dev"), ("StartDeviceAuthorization", "old")],
)
def test_call_is_answered_while_aws_hangs(
    newest: Workplace, operation: str, profile: str
) -> None:
    newest.centre.fail(operation, "hang")
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0.2") as client:
        call = client.call(profile=profile)
        assert newest.centre.wait_for(lambda: operation in newest.centre.calls)
        answers = [client.result(call), client.refresh(profile=profile)]
        for answer in answers:
            assert (answer["status"], answer["success"]) == ("pending", False)
            assert "loginUrl" not in answer
            assert "requesting a sign-in page" in answer["message"]
        assert client.status(profile=profile)["sessions"][0]["loginInProgress"]
        assert len(list(cli_processes(newest.home))) == 1
    assert newest.centre.pages == []


def test_login_of_a_server_killed_before_its_page_can_be_replaced(
    newest: Workplace,
) -> None:
    newest.centre.fail("StartDeviceAuthorization", "hang")
    first = subprocess.Popen(
        [sys.executable, "-IS", str(SERVER)], env=newest.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert first.stdin
    call = {"name": "refresh_aws_sso_token", "arguments": {"profile": "old"}}
    hello = {
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25"},
    }
    for message in (hello, {"id": 1, "method": "tools/call", "params": call}):
        first.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    first.stdin.flush()
    assert newest.centre.wait_for(
        lambda: "StartDeviceAuthorization" in newest.centre.calls
    )
    first.kill()
    first.wait()
    first.stdin.close()
    with server(newest) as client:
        call_of_another = client.call(profile="old", meta={"progressToken": 1})
        told = ""
        while not told.startswith("Another program"):  # the orphaned CLI holds the lock
            told = client.notifications.get(timeout=DEADLINE_S)["params"]["message"]
        started = time.monotonic()
        # Nobody knows its URL, so it is ended.
        assert client.result(call_of_another)["status"] == "logged_in"
        assert time.monotonic() - started < 15
    assert len(newest.centre.pages) == 1


def test_signal_right_after_a_message_ends_the_server(tmp_path: Path) -> None:
    """Python runs handlers between byte codes, so it must reach a read that starts later."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    left = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 50:
        with subprocess.Popen(
            [sys.executable, "-IS", str(SERVER)], env={"HOME": str(tmp_path), "PATH": ""},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        ) as process:  # fmt: skip
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(initialize).encode() + b"\n")
            process.stdout.readline()
            time.sleep(0.01)  # until it reads again, which cannot be observed
            process.stdin.write(
                b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n'
            )
            process.send_signal(number)
            try:
                assert process.wait(5) == 128 + number
            except subprocess.TimeoutExpired:
                left.append(number)
                process.kill()
    assert left == []


def test_missing_role_credentials_time_out(newest: Workplace) -> None:
    newest.run_login()
    newest.forget_role_credentials()
    before = newest.token()
    newest.centre.fail("GetRoleCredentials", "hang")
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0") as client:
        answer = client.refresh(profile="dev")
        assert (answer["status"], answer["reason"]) == ("failed", "timeout")
        assert "Check the network" in answer["message"]
    assert newest.token() == before
    assert len(newest.centre.pages) == 1  # a login would not help


def test_refresh_succeeds_without_role_credentials(newest: Workplace) -> None:
    newest.run_login()
    newest.expire_token()
    newest.centre.fail("GetRoleCredentials", "hang", times=9)
    here = mock.patch.dict(
        os.environ, newest.environment(AWS_SSO_MCP_WAIT_SECONDS="30"), clear=True
    )
    with here:
        answer = inside.refresh("dev", limit_s=3)
    assert answer["status"] == "refreshed", answer
    assert answer["minutesLeft"] == 59
    assert "could not be checked: `aws sts get-caller-identity`" in answer["message"]
    assert cli_left(newest.home) == []
    assert len(newest.centre.pages) == 1


@pytest.mark.parametrize("kind", ["500", "html", "hang"])
def test_login_succeeds_without_the_caller_identity(
    newest: Workplace, kind: str
) -> None:
    newest.centre.fail("GetCallerIdentity", kind, times=9)
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0") as client:
        answer = outcome(client, profile="dev")
        assert (answer["status"], answer["success"]) == ("logged_in", True), answer
        assert "The caller identity could not be checked: " in answer["message"]
        assert "identity" not in answer
    assert newest.token()["expiresAt"] == answer["expiresAt"]


@pytest.mark.parametrize("profile", ["dev", "old"])
def test_user_may_take_longer_than_one_call(newest: Workplace, profile: str) -> None:
    newest.centre.approval_delay_s = 1
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0.5") as client:
        answer = client.until_asked(client.call(profile=profile), profile=profile)
        assert answer["loginUrl"].startswith("https://")
        assert outcome(client, profile=profile)["status"] == "logged_in"
    assert len(newest.centre.pages) == 1


def test_login_survives_slow_down_answers(newest: Workplace) -> None:
    newest.centre.fail("CreateToken", "SlowDownException")
    with server(newest) as client:
        assert client.refresh(profile="old")["status"] == "logged_in"
    assert newest.centre.calls.count("CreateToken:device_code") >= 2


def test_forgotten_client_registration_is_reported_with_a_device_code(
    newest: Workplace,
) -> None:
    with server(newest, AWS_SSO_MCP_LOGIN="device") as client:
        assert client.refresh(profile="old")["status"] == "logged_in"
        newest.centre.forget_clients()
        before = newest.token(newest.centre.start_url)
        answer = client.refresh(profile="old", force=True)
        assert (answer["status"], answer["reason"]) == ("failed", "client_registration")
        assert newest.token(newest.centre.start_url) == before
        newest.run_aws("sso", "logout")  # it keeps the registration
        answer = client.refresh(profile="old")
        assert answer["reason"] == "client_registration"
        for path in newest.token_path().parent.iterdir():
            path.unlink()
        assert client.refresh(profile="old")["status"] == "logged_in"


def test_forgotten_client_registration_shows_the_url_with_pkce(
    newest: Workplace,
) -> None:
    newest.run_login()
    newest.centre.forget_clients()
    newest.expire_token()
    before = newest.token()
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0.5") as client:
        # The page shows an error and the CLI keeps waiting: the server can only show the URL.
        answer = client.until_asked(client.call(profile="dev"), profile="dev")
        assert answer["status"] == "pending"
        assert newest.centre.wait_for(lambda: len(newest.centre.pages) == 2)
    assert newest.token() == before


def test_several_servers_share_a_one_time_refresh_token(newest: Workplace) -> None:
    newest.run_login()
    newest.expire_token()
    newest.centre.one_time_refresh_tokens = True
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server(newest)) for _ in range(3)]
        calls = [(client, client.call(profile="dev")) for client in clients]
        answers = [client.result(call) for client, call in calls]
        assert {answer["success"] for answer in answers} == {True}, answers
        assert clients[0].refresh(profile="dev")["status"] == "valid"


@pytest.mark.parametrize("end", ["eof", "SIGTERM", "SIGKILL"])
def test_end_of_the_server_loses_no_refresh_token(newest: Workplace, end: str) -> None:
    """AWS takes each refresh token once; the new one must reach the file."""
    newest.run_login()
    newest.centre.one_time_refresh_tokens = True
    for moment_ms in (0, 5, 10, 20, 40, 80):
        newest.expire_token()
        refreshes = newest.centre.calls.count("CreateToken:refresh_token")
        first = Client(unittest.TestCase(), newest.environment())
        first.initialize()
        first.call(profile="dev")
        assert newest.centre.wait_for(
            lambda: newest.centre.calls.count("CreateToken:refresh_token") > refreshes  # noqa: B023
        )
        time.sleep(moment_ms / 1000)
        if end == "eof":
            first.close()
        else:
            first.process.send_signal(signal.Signals[end])
            first.process.wait(DEADLINE_S)
        with server(newest) as second:
            answer = second.refresh(profile="dev")
            assert answer["success"], (moment_ms, answer)
            assert soon(lambda: not list(cli_processes(newest.home)), 5)
    assert len(newest.centre.pages) == 1  # that of `run_login`


def refuse(place: Workplace) -> None:
    place.centre.refuse_refresh = True


def refuse_with_minutes_left(place: Workplace) -> None:
    place.centre.refuse_refresh = True
    place.keep_token({**place.token(), "expiresAt": iso(5)})


@pytest.mark.parametrize("prepare", [refuse, refuse_with_minutes_left])
def test_refused_refresh_token_leads_to_a_page(
    place: Workplace, prepare: Callable[[Workplace], None]
) -> None:
    place.run_login()
    place.expire_token()
    prepare(place)
    with server(place) as client:
        assert client.refresh(profile="dev")["status"] == "logged_in"
    assert len(place.centre.pages) == 2


@pytest.mark.parametrize(
    ("kind", "reason"), [("reset", "proxy"), ("html", "aws_error")]
)
def test_refresh_that_aws_has_not_refused_opens_no_page(
    place: Workplace, kind: str, reason: str
) -> None:
    """The kit's proxy stands between the AWS CLI and AWS."""
    place.run_login()
    place.expire_token()
    place.centre.fail("CreateToken", kind, times=20)
    with server(place) as client:
        assert client.refresh(profile="dev")["reason"] == reason
    assert len(place.centre.pages) == 1


# --- Files ------------------------------------------------------------------------------

TOKENS = {  # contents of the token file
    "torn": '{"accessToken": "x", "expi',
    "empty": "",
    "no JSON": "\0\xff",
    "a registration": json.dumps(
        {"clientId": "x", "clientSecret": "y", "expiresAt": iso(9999)}
    ),
    "naive": json.dumps({"accessToken": "x", "expiresAt": "2099-01-01T00:00:00"}),
    "garbage": json.dumps(
        {"accessToken": "x", "expiresAt": "soon", "refreshToken": "x"}
    ),
    "foreign": json.dumps({"accessToken": "x", "expiresAt": "2099-01-01T00:00:00Z"}),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_invalid_token_file_leads_to_a_login(newest: Workplace, kind: str) -> None:
    newest.token_path().parent.mkdir(parents=True)
    newest.token_path().write_text(TOKENS[kind], encoding="latin-1")
    with server(newest) as client:
        state = client.status(profile="dev")["sessions"][0]["state"]
        assert state == ("valid" if kind == "foreign" else "absent")
        answer = client.refresh(profile="dev")
        assert (answer["status"], answer["minutesLeft"]) == ("logged_in", 59), answer
    assert len(newest.centre.pages) == 1


@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_unreadable_token_file_is_reported(newest: Workplace, kind: str) -> None:
    path = newest.token_path()
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name)
    with server(newest) as client:
        answer = client.refresh(profile="dev")
        assert answer["status"] == "failed", answer
        assert "Cannot read " in answer["message"]


@pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs a folder that root cannot fill"
)
def test_read_only_token_cache_is_reported(newest: Workplace) -> None:
    (newest.home / ".aws" / "sso").mkdir()
    (newest.home / ".aws" / "sso" / "cache").symlink_to("/sys/kernel")
    with server(newest) as client:
        answer = client.refresh(profile="dev")
        assert (answer["status"], answer["reason"]) == (
            "failed",
            "cache_not_writable",
        ), answer
        assert "loginUrl" not in answer


def test_home_that_is_a_file_is_reported(desk: Desk) -> None:
    home = desk.home.path / "gone"
    home.write_text("")
    config = str(desk.home.path / ".aws" / "config")
    client = desk.client(HOME=str(home), AWS_CONFIG_FILE=config)
    answer = client.refresh(profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", "aws_cli_failed")
    assert str(home) in answer["message"]
    assert client.status(profile="dev")["success"]
    assert desk.stand_ins.seen == []
    client = desk.client(HOME=str(home))  # and no config at all
    assert client.refresh(profile="dev")["reason"] == "profile_not_found"


def test_missing_home_is_reported_and_not_created(desk: Desk) -> None:
    home = desk.home.path / "gone"
    client = desk.client(HOME=str(home))
    assert client.refresh(profile="dev")["reason"] == "profile_not_found"
    assert client.status()["sessions"] == []
    assert not home.exists()
    config = str(desk.home.path / ".aws" / "config")
    client = desk.client(HOME=str(home), AWS_CONFIG_FILE=config)
    call = client.call(profile="dev")
    run = desk.stand_ins.next_run("aws")  # which creates the folder too
    assert run.cwd == str(home)
    run.do(exit=255)
    assert client.result(call)["reason"] == "aws_cli_failed"


def test_aws_folder_that_is_a_file_is_reported(desk: Desk) -> None:
    config = desk.home.path / "config"
    (desk.home.path / ".aws" / "config").rename(config)
    desk.home.token_path().parent.rmdir()
    (desk.home.path / ".aws" / "sso").rmdir()
    (desk.home.path / ".aws").rmdir()
    (desk.home.path / ".aws").write_text("")
    client = desk.client(AWS_CONFIG_FILE=str(config))
    assert client.status(profile="dev")["sessions"][0]["state"] == "absent"
    call = client.call(profile="dev")
    said = "\naws: [ERROR]: [Errno 20] Not a directory: '/x/.aws/sso/cache'\n"
    desk.stand_ins.next_run("aws").do(stderr=said, exit=255)
    assert client.result(call)["reason"] == "cache_not_writable"


def test_profile_removed_between_two_calls_is_reported(desk: Desk) -> None:
    client = desk.client(AWS_SSO_MCP_WAIT_SECONDS="0.2")
    call = client.call(profile="dev")
    run = desk.prompt()
    desk.page()
    client.until_asked(call, profile="dev")
    text = (desk.home.path / ".aws" / "config").read_text()
    desk.home.write_config(text.replace("[profile dev]", "[profile developer]"))
    answer = client.refresh(profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", "profile_not_found")
    assert answer["candidates"][0] == "developer"
    desk.stand_ins.log_in(run)  # the login goes on for others
    assert desk.outcome(client, profile="developer")["status"] == "logged_in"
    assert desk.stand_ins.count("sso", "login") == 1


def test_renamed_session_gets_a_login_of_its_own(newest: Workplace) -> None:
    newest.centre.approval = "ignore"
    with server(newest, AWS_SSO_MCP_WAIT_SECONDS="0.5") as client:
        client.until_asked(client.call(profile="dev"), profile="dev")
        assert newest.centre.wait_for(lambda: bool(newest.centre._open_pages))  # noqa: SLF001
        config = (newest.home / ".aws" / "config").read_text()
        newest.write_config(config.replace("corp", "work"))
        newest.centre.approval = "approve"
        answer = outcome(client, profile="dev")
        assert (answer["status"], answer["ssoSession"]) == ("logged_in", "work")
    assert newest.token("work")["expiresAt"] == answer["expiresAt"]
    assert not newest.token_path("corp").exists()  # of the login that nobody answered


# --- Time -------------------------------------------------------------------------------


def jump(desk: Desk, seconds: float) -> Any:
    """Make the clock of this process wrong, but not that of the CLI."""
    desk.home.patch(desk, **desk.stand_ins.environment())
    now = time.time
    return mock.patch("time.time", side_effect=lambda: now() + seconds)


def refresh_here(results: list[dict[str, Any]]) -> threading.Thread:
    thread = threading.Thread(target=lambda: results.append(inside.refresh("dev")))
    thread.start()
    return thread


def test_clock_that_is_ahead_is_reported(desk: Desk) -> None:
    desk.home.write_token(60)
    before = desk.home.token_path().read_bytes()
    results: list[dict[str, Any]] = []
    with jump(desk, 7200):
        thread = refresh_here(results)
        renewal = desk.stand_ins.next_run("aws")
        assert renewal.argv[1] == "configure"
        assert desk.home.token_path().read_bytes() == before
        renewal.do(exit=0)
        run = desk.prompt()
        desk.page()
        desk.home.token_path().write_bytes(before.replace(b'"clientId"', b'"other"'))
        run.do(exit=0)
        thread.join(DEADLINE_S)
    assert results[0]["reason"] == "no_token"
    assert "and the clock." in results[0]["message"]


def test_clock_that_is_behind_is_detected_through_aws(desk: Desk) -> None:
    desk.home.write_token(-60)
    desk.stand_ins.auto = lambda _: False
    results: list[dict[str, Any]] = []
    with jump(desk, -7200):
        thread = refresh_here(results)
        asked = desk.stand_ins.next_run("aws")
        assert asked.argv[1] == "sts"
        asked.do(stderr=SESSION_EXPIRED, exit=255)
        run = desk.prompt()
        desk.page()
        desk.stand_ins.log_in(run, minutes=180)
        desk.stand_ins.next_run("aws").do(stdout=json.dumps(IDENTITY), exit=0)
        thread.join(DEADLINE_S)
    assert results[0]["status"] == "logged_in"


@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_login_survives_a_clock_that_jumps(desk: Desk, seconds: int) -> None:
    results: list[dict[str, Any]] = []
    with jump(desk, 0):
        thread = refresh_here(results)
        run = desk.prompt()
        desk.page()
        with jump(desk, seconds):
            assert thread.is_alive()  # timeouts use the monotonic clock
            desk.stand_ins.log_in(
                run, minutes=60
            )  # `iso` uses the same clock as the server
            thread.join(DEADLINE_S)
    assert (results[0]["status"], results[0]["minutesLeft"]) == ("logged_in", 59)


# --- The AWS CLI ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (0, "no_token", "without a new token"),
        (255, "aws_cli_failed", "(exit code 255). Run it in a terminal"),
        (130, "aws_cli_failed", "(exit code 130)"),
    ],
)
@pytest.mark.parametrize("profile", ["dev", "old"])
def test_cli_that_prints_nothing_is_reported(
    desk: Desk, profile: str, code: int, reason: str, words: str
) -> None:
    client = desk.client()
    call = client.call(profile=profile)
    desk.stand_ins.next_run("aws").do(exit=code)
    answer = client.result(call)
    assert (answer["status"], answer["reason"]) == ("failed", reason)
    assert words in answer["message"]
    assert not list(desk.home.token_path().parent.iterdir())


@pytest.mark.parametrize(
    "said", ["", "null", "[]", '{"Account": 1}', "\xff\xfe", "[" * 60_000, SECRETS[0]]
)
def test_malformed_caller_identity_is_reported(desk: Desk, said: str) -> None:
    desk.home.write_token(60)
    desk.stand_ins.auto = lambda _: False
    client = desk.client()
    call = client.call(profile="dev")
    desk.stand_ins.next_run("aws").do(stdout=said, exit=0)
    answer = client.result(call)
    assert (answer["status"], answer["reason"]) == ("failed", "aws_cli_failed")
    assert desk.stand_ins.count("sso", "login") == 0


def test_killed_cli_is_reported(desk: Desk) -> None:
    client = desk.client()
    write_aws(desk, "import signal", "os.kill(0, signal.SIGKILL)")
    answer = client.refresh(profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", "aws_cli_failed")
    assert "(exit code -9)" in answer["message"]


@pytest.mark.parametrize(
    "line", ["x" * 10_000_000, "x\n" * 5_000_000], ids=["one line", "lines"]
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_ten_megabytes_of_cli_output_do_no_harm(
    desk: Desk, stream: str, line: str
) -> None:
    client = desk.client()
    call = client.call(profile="dev")
    run = desk.stand_ins.next_run("aws")
    run.do(**{stream: line})
    desk.stand_ins.log_in(run)
    answer = client.result(call)
    assert answer["status"] == "logged_in"
    assert len(json.dumps(answer)) < 2000


def test_failure_after_ten_megabytes_is_reported_briefly(desk: Desk) -> None:
    client = desk.client()
    call = client.call(profile="dev")
    desk.stand_ins.next_run("aws").do(
        stderr="words and words \xff\x1b[31m" * 400_000, exit=255
    )
    answer = client.result(call)
    assert answer["reason"] == "aws_cli_failed"
    assert len(answer["message"]) < 500


@pytest.mark.parametrize("prompt", [PKCE_PROMPT, DEVICE_PROMPT], ids=["page", "code"])
def test_prompt_with_invalid_bytes_is_refused(desk: Desk, prompt: str) -> None:
    client = desk.client()
    call = client.call(profile="dev")
    desk.prompt(prompt.replace("?", "?\xff"))
    answer = client.result(call)
    assert (answer["status"], answer["reason"]) == ("failed", "untrusted_url")


def write_aws(desk: Desk, *lines: str) -> None:
    """Make `aws sso login` a program with these lines; `log_in()` writes a valid token."""
    token = json.dumps({"accessToken": SECRETS[0], "expiresAt": iso(60)})
    path = desk.home.token_path()
    program = (
        f"#!{sys.executable} -IS",
        "import os, sys, time",
        f"if sys.argv[1] == 'sts': print({json.dumps(IDENTITY)!r}); sys.exit()",
        f"def log_in(): open({str(path)!r}, 'w').write({token!r})",
        *lines,
    )
    (desk.stand_ins.folder / "aws").write_text("\n".join(program) + "\n")


def test_cli_that_closes_its_pipes_is_still_awaited(desk: Desk) -> None:
    client = desk.client(AWS_SSO_MCP_WAIT_SECONDS="0.2")
    go = desk.home.path / "go"
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    prompt = f"os.write(1, {PKCE_PROMPT.encode()!r})"
    write_aws(desk, prompt, "os.closerange(0, 3)", wait, "log_in()")
    answer = client.until_asked(client.call(profile="dev"), profile="dev")
    assert answer["loginUrl"] == PKCE_URL
    go.touch()
    assert desk.outcome(client, profile="dev")["status"] == "logged_in"


def test_child_of_the_cli_that_keeps_the_pipes_delays_nothing(desk: Desk) -> None:
    client = desk.client()
    write_aws(desk, "if os.fork() == 0: time.sleep(600)", "log_in()", "os._exit(0)")
    started = time.monotonic()
    assert client.refresh(profile="dev")["status"] == "logged_in"
    assert time.monotonic() - started < 10
    for command in cli_processes(
        desk.home.path
    ):  # like a browser that the CLI itself opened
        assert "sso login" in command
    end_processes(desk.home.path, "aws")


@pytest.mark.parametrize("end", ["eof", "SIGTERM"])
def test_cli_that_ignores_signals_ends_with_the_server(desk: Desk, end: str) -> None:
    import signal

    client = desk.client(AWS_SSO_MCP_WAIT_SECONDS="0.2")
    ignore = "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)"
    prompt = f"os.write(1, {PKCE_PROMPT.encode()!r})"
    fork = "os.fork()"  # a child of it in the same process group
    write_aws(desk, "import signal", ignore, fork, prompt, "time.sleep(600)")
    client.until_asked(client.call(profile="dev"), profile="dev")
    assert len(list(cli_processes(desk.home.path))) == 2
    if end == "eof":
        client.close()
    else:
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(DEADLINE_S) == 128 + signal.SIGTERM
        client.close(128 + signal.SIGTERM)
    assert cli_left(desk.home.path) == []


def test_cli_that_cannot_be_started_is_reported(desk: Desk) -> None:
    client = desk.client()
    aws = desk.stand_ins.folder / "aws"
    aws.write_text("no program at all\n")
    answer = client.refresh(profile="dev")
    assert (answer["status"], answer["reason"]) == ("failed", "aws_cli_failed")
    assert f"Cannot start {aws}: " in answer["message"]
    aws.write_text("#!/nowhere/python\n")
    assert client.refresh(profile="dev")["reason"] == "aws_cli_failed"


# --- The browser ------------------------------------------------------------------------

OPENER = """\
import os, sys, time
fds = {{}}
for fd in os.listdir("/proc/self/fd"):
    try: fds[fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError: pass
open({opened!r} + "~", "w").write(str(sorted(fds.items())))
os.rename({opened!r} + "~", {opened!r})
"""
OPENERS = {  # the program that $BROWSER names
    "fails": "sys.exit(1)",
    "blocks": "time.sleep(600)",
    "writes": "os.write(1, b'{\"jsonrpc\": \"2.0\"}\\n' * 99999); os.write(2, b'noise' * 99999)",
    "reads": "sys.stdin.read()",
    "keeps": "os.fork() or time.sleep(600)",
}


@pytest.mark.parametrize("kind", [*OPENERS, "missing"])
def test_opener_of_any_behaviour_does_not_disturb_the_login(
    desk: Desk, kind: str
) -> None:
    opened = desk.home.path / "opened"
    page = desk.home.path / "page"
    code = OPENER.format(opened=str(opened))
    if kind != "missing":
        page.write_text(f"#!{sys.executable} -IS\n{code}{OPENERS[kind]}\n")
        page.chmod(0o755)
    client = desk.client(BROWSER=f"{page} %s", AWS_SSO_MCP_WAIT_SECONDS="0.2")
    call = client.call(profile="dev")
    run = desk.prompt()
    if kind != "missing":
        assert soon(opened.exists)
        assert opened.read_text() == str([(fd, "/dev/null") for fd in "012"])
    answer = client.until_asked(call, profile="dev")
    assert answer["loginUrl"] == PKCE_URL
    assert f"If you do not see it, open {PKCE_URL}" in answer["message"]
    desk.stand_ins.log_in(run)
    started = time.monotonic()
    assert desk.outcome(client, profile="dev")["status"] == "logged_in"
    client.close()  # reads to the end of file: no other process holds the pipe
    assert time.monotonic() - started < 10
    end_processes(desk.home.path, "page")  # a browser stays open


def test_login_without_a_browser_shows_the_url(newest: Workplace) -> None:
    with server(
        newest, BROWSER="/nowhere %s", AWS_SSO_MCP_WAIT_SECONDS="0.5"
    ) as client:
        answer = client.until_asked(client.call(profile="dev"), profile="dev")
        visit(newest, answer["loginUrl"])
        assert outcome(client, profile="dev")["status"] == "logged_in"
