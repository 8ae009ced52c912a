"""The server with real MCP clients from PyPI and npm, none of them logged in."""

from __future__ import annotations

import functools
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from kit import inside
from kit.components import need, real
from kit.drivers import (
    CLIENTS,
    DEADLINE_S,
    Driver,
    McpClient,
    recorded_server,
    revisions_spoken,
)
from kit.processes import processes, processes_left
from kit.wire import LEGACY, MODERN, node, recordings

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.workplace import Workplace
    from matrix import Matrix


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> McpClient:
    client: McpClient = request.param
    need(client.component)
    if client.component.startswith("ts-"):
        need("node-22")
    return client


@pytest.fixture
def measured(matrix: Matrix, client: McpClient) -> Callable[..., None]:
    return functools.partial(matrix.write, client.name, client.component)


@pytest.fixture
def place(recorded: Workplace) -> Workplace:
    return recorded


def test_client_connects_lists_and_calls(
    client: McpClient, place: Workplace, measured: Callable[..., None]
) -> None:
    with Driver(client, place) as driver:
        assert driver.revision in (client.revision, None)  # a host does not say
        tools = {tool["name"]: tool for tool in driver.tools()}
        assert set(tools) == set(inside.TOOLS)
        for name, tool in tools.items() if client.shows == "schemas" else ():
            assert tool["description"] == inside.TOOLS[name]["description"]
            assert tool["inputSchema"] == inside.TOOLS[name]["inputSchema"]
        measured(listed="yes")
        answer = driver.answer(driver.call("get_aws_sso_status", profile="dev"))
        assert answer["sessions"][0]["state"] == "absent"
        answer = driver.answer(driver.call("get_aws_sso_status", profile="nobody"))
        assert (answer["success"], answer["reason"]) == (False, "profile_not_found")
        measured(called="yes")
    assert revisions_spoken(place) == {client.revision}
    measured(revision=client.revision)


def test_client_logs_in_through_pending(
    client: McpClient, place: Workplace, measured: Callable[..., None]
) -> None:
    # Each answer comes before the client's timeout, whatever AWS and the user do.
    with Driver(
        client, place, more={"limit": 4}, AWS_SSO_MCP_WAIT_SECONDS="1"
    ) as driver:
        answer = driver.refresh()
        while "loginUrl" not in answer:
            answer = driver.refresh()
        assert answer["status"] == "pending"
        assert place.centre.wait_for(lambda: bool(place.centre.pages))
        assert answer["loginUrl"].startswith(
            "https://oidc.us-east-1.amazonaws.com/authorize?"
        )
        joined = driver.call(profile="dev")
        place.centre.approve_now()
        answer = driver.outcome(joined)
        # "valid" if the login ended between a `pending` answer and the next call.
        assert answer["status"] in ("logged_in", "valid")
        measured(login="yes")
        if client.hears == "progress":
            assert any("https://" in message for message in driver.progress())
            measured(progress="yes")
    assert len(place.centre.pages) == 1


def test_cancelled_call_gets_no_answer_and_leaves_the_login(
    client: McpClient, place: Workplace, measured: Callable[..., None]
) -> None:
    if client.cancels == "never":
        pytest.skip("it never cancels a call")
    with Driver(client, place) as driver:
        call = driver.call(profile="dev")
        assert place.centre.wait_for(lambda: bool(place.centre.pages))
        driver.cancel(call)
        assert len(driver.tools()) == 2
        joined = driver.call(profile="dev")
        place.centre.approve_now()
        assert driver.answer(joined)["status"] == "logged_in"
    assert len(place.centre.pages) == 1
    [recording] = [each for each in recordings(place.wrote) if each.spoken()]
    assert len(recording.cancelled()) == (client.cancels == "by notification")
    assert not set(recording.cancelled()) & set(recording.answered())
    measured(cancelled=client.cancels)


# The timeout belongs to the library, whatever the mode.
@pytest.mark.parametrize(
    "client",
    {client.component: client for client in reversed(CLIENTS)}.values(),
    indirect=True,
    ids=lambda client: client.name,
)
def test_client_timeout_leaves_the_login(
    client: McpClient, place: Workplace, measured: Callable[..., None]
) -> None:
    with Driver(
        client, place, more={"limit": 2}, AWS_SSO_MCP_WAIT_SECONDS="30"
    ) as driver:
        error = driver.wait_for("failed", call=driver.call(profile="dev"))["error"]
        assert "timed out" in error.lower()
        assert place.centre.wait_for(lambda: bool(place.centre.pages))
        place.centre.approve_now()
        assert driver.outcome()["status"] in ("logged_in", "valid")
    assert len(place.centre.pages) == 1
    measured(limit="joined")


def test_closing_the_client_during_a_login_leaves_no_process(
    client: McpClient, place: Workplace, measured: Callable[..., None]
) -> None:
    with Driver(client, place) as driver:
        driver.call(profile="dev")
        assert place.centre.wait_for(lambda: bool(place.centre.pages))
        assert any("/aws sso login" in process for process in processes(place.home))
    seconds = driver.wait_for("closed")["closed"]
    assert processes_left(place.home) == []
    assert seconds < 2  # later, a signal would have ended the server
    measured(closed=f"{seconds * 1000:.0f} ms")


# --- Inspector: one process a request ----------------------------------------------------

ERAS = {"legacy": LEGACY, "auto": MODERN, "modern": MODERN}


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    need("node-22")
    need("inspector")
    era: str = request.param
    return era


def inspector(place: Workplace, era: str, *arguments: str) -> subprocess.Popen[str]:
    program = real("inspector") / "node_modules" / ".bin" / "mcp-inspector"
    environment = [f"-e{key}={value}" for key, value in place.environment().items()]
    options = (
        "--cli",
        "--format=json",
        f"--protocol-era={era}",
        *arguments,
        *environment,
    )
    return subprocess.Popen(
        [node(), program, *options, "--", *recorded_server(place)],
        env={"HOME": str(place.home), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def inspected(process: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    result: dict[str, Any] = json.loads(stdout)["result"]
    return result


def test_inspector_lists_calls_and_logs_in(
    era: str, place: Workplace, matrix: Matrix
) -> None:
    write = functools.partial(matrix.write, f"Inspector, {era}", "inspector")
    # Strict: exit code 6 for a schema that some model's API refuses.
    tools = inspected(inspector(place, era, "--method=tools/list", "--strict"))["tools"]
    assert [tool["name"] for tool in tools] == list(inside.TOOLS)
    assert revisions_spoken(place) == {ERAS[era]}
    write(revision=ERAS[era], listed="strict")
    call = ("--method=tools/call", "--tool-arg=profile=dev", "--tool-name")
    status = inspected(inspector(place, era, *call, "get_aws_sso_status"))
    assert status["structuredContent"]["sessions"][0]["state"] == "absent"
    write(called="yes")

    login = inspector(place, era, *call, "refresh_aws_sso_token")
    assert place.centre.wait_for(lambda: bool(place.centre.pages))
    login.terminate()
    login.communicate(timeout=DEADLINE_S)
    assert processes_left(place.home) == []
    write(closed="by SIGTERM")

    login = inspector(place, era, *call, "refresh_aws_sso_token")
    assert place.centre.wait_for(lambda: len(place.centre.pages) == 2)
    place.centre.approve_now()
    assert inspected(login)["structuredContent"]["status"] == "logged_in"
    write(login="yes")
