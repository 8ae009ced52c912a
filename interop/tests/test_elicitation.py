"""Logins whose page cannot be opened here, with clients that support URL elicitation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kit.components import need
from kit.desk import DEADLINE_S, DEVICE_PROMPT, TOOL, Desk, RecordedClient
from kit.drivers import CLIENTS, Driver, McpClient
from kit.wire import LEGACY, META, MODERN
from kit.workplace import visit

if TYPE_CHECKING:
    from kit.desk import Run
    from kit.workplace import Workplace

REMOTE = {"AWS_SSO_MCP_LOGIN": "device", "BROWSER": ""}

PYTHON, PYTHON_LEGACY, TYPESCRIPT_LEGACY, TYPESCRIPT, CODEX = ASKING = [
    *("Python SDK 2, auto", "Python SDK 2, legacy"),
    *("TypeScript SDK 1", "TypeScript client 2, auto", "Codex"),
]


@pytest.fixture
def client(request: pytest.FixtureRequest) -> McpClient:
    [client] = [client for client in CLIENTS if client.name == request.param]
    need(client.component)
    need("node-22")
    return client


def start(client: McpClient, place: Workplace, elicit: str, wait: str = "30") -> Driver:
    place.centre.approval = "approve"
    environment = {**REMOTE, "AWS_SSO_MCP_WAIT_SECONDS": wait}
    return Driver(client, place, more={"elicit": elicit}, **environment)


@pytest.mark.parametrize("client", ASKING, indirect=True)
def test_accepted_elicitation_leads_to_a_login(
    client: McpClient, recorded: Workplace
) -> None:
    with start(client, recorded, "accept") as driver:
        call = driver.call(profile="dev")
        url = driver.wait_for("elicited")["elicited"]["url"]
        assert recorded.centre.pages == []
        visit(recorded, url)
        answer = driver.answer(call)
        assert (answer["status"], answer["success"]) == ("logged_in", True)
        assert len(driver.elicited()) == 1


@pytest.mark.parametrize(
    ("client", "elicit"),
    [
        *((name, "decline") for name in ASKING),
        (TYPESCRIPT, "cancel"),
        (CODEX, "cancel"),
    ],
    indirect=["client"],
)
def test_declined_elicitation_leads_to_pending(
    client: McpClient, recorded: Workplace, elicit: str
) -> None:
    with start(client, recorded, elicit) as driver:
        answer = driver.refresh()  # at once, as the user has already answered
        assert answer["status"] == "pending"
        assert answer["userCode"] in answer["message"]
        visit(recorded, answer["loginUrl"])
        assert driver.outcome()["status"] in ("logged_in", "valid")
        assert len(driver.elicited()) == 1


# Python's SDK 1 is missing: it reads no message while the user has not answered.
@pytest.mark.parametrize(
    ("client", "elicit"),
    [
        *(
            (name, "error")
            for name in (PYTHON, PYTHON_LEGACY, TYPESCRIPT_LEGACY, TYPESCRIPT)
        ),
        *((name, "never") for name in (PYTHON_LEGACY, TYPESCRIPT, CODEX)),
    ],
    indirect=["client"],
)
def test_login_succeeds_without_an_answer_to_the_elicitation(
    client: McpClient, recorded: Workplace, elicit: str
) -> None:
    with start(client, recorded, elicit, wait="2") as driver:
        visit(recorded, driver.until_elicited())
        assert driver.outcome()["status"] in ("logged_in", "valid")
        assert len(driver.elicited()) == 1


# --- Clients that answer as they should not ----------------------------------------------


@pytest.mark.parametrize(
    "responses",
    [
        [{"result": {"action": "accept"}}, {"result": {"action": "decline"}}],
        [
            {"result": {"action": "accept"}},
            {"error": {"code": -32601, "message": "no"}},
        ],
        [{"result": {"action": "maybe"}}, {"result": {"action": "accept"}}],
        [{"result": None}, {"result": []}, {"error": 7}, {}],
    ],
    ids=json.dumps,
)
def test_second_answer_to_an_elicitation_is_ignored(
    desk: Desk, responses: list[dict[str, Any]]
) -> None:
    client, call, run = asked(desk, LEGACY)
    question = client.requests.get(timeout=DEADLINE_S)
    assert question["method"] == "elicitation/create"
    for response in responses:
        client.write(
            json.dumps({"jsonrpc": "2.0", "id": question["id"], **response}).encode()
        )
    assert client.answer(client.request("ping"))["result"] == {}
    assert (
        client.result(call)["status"] == "pending"
    )  # a declined one is answered at once
    call = client.request("tools/call", name=TOOL, arguments={"profile": "dev"})
    desk.stand_ins.log_in(run)
    assert client.result(call)["status"] == "logged_in"
    for message in client.messages():
        message.check()
    assert desk.stand_ins.count("sso", "login") == 1


@pytest.mark.parametrize(
    ("responses", "status"),
    [
        ({"login": {"action": "accept"}}, "logged_in"),
        ({"login": {"action": "decline"}}, "pending"),
        ({}, "pending"),
        ({"login": 7, "other": {"action": "accept"}}, "pending"),
        ([], "pending"),
    ],
)
@pytest.mark.parametrize(
    "state", [{}, {"requestState": "made up"}, {"requestState": 7}], ids=str
)
def test_repeated_call_joins_the_login(
    desk: Desk, state: Any, responses: Any, status: str
) -> None:
    client, call, run = asked(desk, MODERN)
    result = client.answer(call)["result"]
    assert result["resultType"] == "input_required"
    assert (
        "requestState" not in result
    )  # there is no state that could be lost or forged
    params = {
        "name": TOOL,
        "arguments": {"profile": "dev"},
        "inputResponses": responses,
        **state,
    }
    calls = [client.request("tools/call", **params) for _ in range(2)]
    if status == "pending":
        assert [client.result(each)["status"] for each in calls] == [
            "pending",
            "pending",
        ]
        params["inputResponses"] = {"login": {"action": "accept"}}
        calls = [client.request("tools/call", **params) for _ in range(2)]
    desk.stand_ins.log_in(run)
    assert {client.result(each)["status"] for each in calls} <= {"logged_in", "valid"}
    for message in client.messages():
        message.check()
    assert desk.stand_ins.count("sso", "login") == 1


def asked(desk: Desk, revision: str) -> tuple[RecordedClient, Any, Run]:
    """Return a client with URL elicitation, its call, and the login that waits."""
    need("schemas")
    capabilities: dict[str, Any] = {"elicitation": {"url": {}}}
    client = RecordedClient(desk, revision, **REMOTE, AWS_SSO_MCP_WAIT_SECONDS="5")
    if revision == MODERN:
        client.meta[f"{META}clientCapabilities"] = capabilities
    else:
        about = {"name": "t", "version": "1"}
        declared = {"capabilities": capabilities, "clientInfo": about}
        client.ask("initialize", {"protocolVersion": revision, **declared})
    call = client.request("tools/call", name=TOOL, arguments={"profile": "dev"})
    return client, call, desk.prompt(DEVICE_PROMPT)
