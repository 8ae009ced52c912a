"""All kinds of messages in each MCP revision match its schema; clients that misbehave."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from kit.components import need
from kit.desk import TOOL, Client, Desk, RecordedClient, written
from kit.drivers import CLIENTS, Driver
from kit.processes import processes, processes_left
from kit.wire import LEGACY, META, MODERN, Message

if TYPE_CHECKING:
    from kit.workplace import Workplace

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", LEGACY, MODERN)


@pytest.fixture
def messages(desk: Desk, request: pytest.FixtureRequest) -> list[Message]:
    """One message of each kind that the server writes in a revision."""
    need("schemas")
    need("mcp-1.2")
    revision = request.param
    client = RecordedClient(desk, revision, AWS_SSO_MCP_WAIT_SECONDS="0.2")
    if revision == MODERN:
        client.answer(client.request("server/discover"))
        assert (
            client.error("tools/list", {f"{META}protocolVersion": "2027-01-01"})
            == -32022
        )
        assert client.error("ping") == -32601
    else:
        assert client.initialize(revision)["protocolVersion"] == revision
        assert client.answer(client.request("ping"))["result"] == {}
    client.answer(client.request("tools/list"))
    for name in (TOOL, "get_aws_sso_status"):
        call = client.request("tools/call", name=name, arguments={"profile": "nobody"})
        assert client.result(call)["reason"] == "profile_not_found"
    call = client.request("tools/call", name=TOOL, arguments={"profile": 1})
    assert client.result(call)["reason"] == "bad_argument"
    assert client.error("tools/call", name="nothing") == -32602
    assert client.error("tools/call", name=TOOL, arguments=[]) == -32602
    assert client.error("nothing") == -32601

    call = client.refresh_with_progress(profile="dev")
    run = desk.prompt()
    desk.page()
    while "loginUrl" not in client.result(call):
        call = client.refresh_with_progress(profile="dev")
    call = client.request("tools/call", name="get_aws_sso_status")
    assert client.result(call)["sessions"][0]["loginInProgress"] is True
    desk.stand_ins.log_in(run)
    answer = client.result(client.refresh_with_progress(profile="dev"))
    while answer["status"] == "pending":
        answer = client.result(client.refresh_with_progress(profile="dev"))
    assert answer["status"] == "logged_in"
    return client.messages()


@pytest.mark.parametrize("messages", REVISIONS, indirect=True, ids=REVISIONS)
def test_every_message_matches_the_schema(
    messages: list[Message], request: pytest.FixtureRequest
) -> None:
    revision = request.node.callspec.params["messages"]
    assert {message.revision for message in messages} == {revision}
    expected = {
        "ListToolsResult",
        "CallToolResult",
        "ProgressNotification",
        "JSONRPCMessage",
    }
    if revision == MODERN:
        expected |= {"DiscoverResult", "UnsupportedProtocolVersionError"}
    else:
        expected |= {"InitializeResult", "EmptyResult"}
    assert {message.name for message in messages} == expected
    for message in messages:
        message.check()


REQUIRED = {
    "CallToolResult": ("result", "content"),
    "DiscoverResult": ("result", "supportedVersions"),
    "EmptyResult": ("result",),
    "InitializeResult": ("result", "serverInfo"),
    "JSONRPCMessage": ("error", "code"),
    "ListToolsResult": ("result", "tools"),
    "ProgressNotification": ("params", "progressToken"),
    "UnsupportedProtocolVersionError": ("error", "data"),
}


@pytest.mark.parametrize("messages", REVISIONS, indirect=True, ids=REVISIONS)
def test_schemas_refuse_messages_with_missing_parts(messages: list[Message]) -> None:
    for message in messages:
        broken = copy.deepcopy(message.content)
        part = broken
        *outer, last = REQUIRED[message.name]
        for key in outer:
            part = part[key]
        del part[last]
        with pytest.raises(AssertionError):
            message._replace(content=broken).check()


# --- Clients that misbehave --------------------------------------------------------------

NOTHING = [
    {},
    {"capabilities": None},
    {"capabilities": "all", "clientInfo": 7},
    {"capabilities": {"elicitation": True}},
    {
        "capabilities": {
            "elicitation": {"url": {}, "form": {}},
            "tasks": {},
            "roots": [],
        }
    },
]


@pytest.mark.parametrize("declared", NOTHING, ids=json.dumps)
def test_invalid_capabilities_get_no_elicitation_and_no_progress(
    desk: Desk, declared: dict[str, Any]
) -> None:
    client = Client(desk, desk.stand_ins.environment(AWS_SSO_MCP_WAIT_SECONDS="0.2"))
    answer = client.ask("initialize", {"protocolVersion": LEGACY, **declared})
    assert answer["result"]["protocolVersion"] == LEGACY
    call = client.call(profile="dev")
    run = desk.prompt()
    desk.page()
    assert client.until_asked(call, profile="dev")["status"] == "pending"
    desk.stand_ins.log_in(run)
    assert desk.outcome(client, profile="dev")["status"] == "logged_in"
    assert client.notifications.empty()
    assert client.requests.empty()


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_two_requests_with_one_id_are_both_answered(desk: Desk, revision: str) -> None:
    client = RecordedClient(desk, revision)
    if revision == LEGACY:
        client.initialize()
    params = {"name": TOOL, "arguments": {"profile": "dev"}, "_meta": client.meta}
    for _ in range(2):
        client.send("tools/call", params, id="twin")
    run = desk.prompt()
    desk.page()
    desk.stand_ins.log_in(run)
    answers = [client.result("twin")["status"] for _ in range(2)]
    assert answers == ["logged_in", "logged_in"]
    assert desk.stand_ins.count("sso", "login") == 1
    # They cannot be told apart: a cancellation cancels both, and no other call.
    params["arguments"] = {"profile": "dev", "force": True}
    for _ in range(2):
        client.send("tools/call", params, id="twin")
    run = desk.prompt()
    desk.page()
    client.notify("notifications/cancelled", {"requestId": "twin"})
    other = client.request("tools/call", name=TOOL, arguments=params["arguments"])
    client.answer(client.request("tools/list"))  # the server has heard all of this
    desk.stand_ins.log_in(run)
    assert client.result(other)["status"] == "logged_in"
    client.close()
    ids = [json.loads(line).get("id") for line in written(client)]
    assert ids.count("twin") == 2
    assert desk.stand_ins.count("sso", "login") == 2


@pytest.mark.parametrize(
    "client", [CLIENTS[0], CLIENTS[3], CLIENTS[6]], ids=lambda each: each.name
)
def test_killed_client_leaves_no_process(client: Any, newest: Workplace) -> None:
    need(client.component)
    need("node-22")
    newest.centre.approval = "ignore"
    with Driver(client, newest) as driver:
        driver.call(profile="dev")
        assert newest.centre.wait_for(lambda: bool(newest.centre.pages))
        assert any("/aws sso login" in process for process in processes(newest.home))
        driver.process.kill()
        assert processes_left(newest.home) == []
