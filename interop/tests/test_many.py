"""Many servers with one expired session: one login, and nothing hangs."""

from __future__ import annotations

import json
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kit.workplace import Workplace, ask, authorizations, refresh, start

if TYPE_CHECKING:
    from mcp import Client

pytestmark = pytest.mark.anyio


async def all_at_once(clients: list[Client], *profiles: str) -> list[dict[str, Any]]:
    """Return the answers of clients that call at once, each for the next of `profiles`."""
    answers: list[dict[str, Any]] = []

    async def call(client: Client, profile: str) -> None:
        answers.append(await refresh(client, profile=profile))

    async with anyio.create_task_group() as group:
        for number, client in enumerate(clients):
            group.start_soon(call, client, profiles[number % len(profiles)])
    return answers


async def connected(
    stack: AsyncExitStack, place: Workplace, count: int, **more: str
) -> list[Client]:
    return [await stack.enter_async_context(place.client(**more)) for _ in range(count)]


async def test_twenty_servers_open_one_page(newest: Workplace) -> None:
    newest.centre.assigned.add(("123456789012", "Operator"))
    async with AsyncExitStack() as stack:
        clients = await connected(stack, newest, 20)
        answers = await all_at_once(clients, "dev", "ops", "deploy")
    assert {answer["status"] for answer in answers} == {"logged_in"}
    assert len(newest.centre.pages) == 1
    assert authorizations(newest.centre) == 1


async def test_one_time_refresh_token_is_used_once(place: Workplace) -> None:
    place.centre.one_time_refresh_tokens = True
    place.run_login()
    place.expire_token()
    async with AsyncExitStack() as stack:
        clients = await connected(stack, place, 4)
        answers = await all_at_once(clients, "dev")
    assert {answer["status"] for answer in answers} == {"refreshed"}
    assert place.centre.calls.count("CreateToken:refresh_token") == 1
    assert len(place.centre.pages) == 1  # from yesterday's login


async def test_denial_reaches_all_servers_and_no_other_page_opens(
    place: Workplace,
) -> None:
    place.centre.approval = "ignore"
    async with AsyncExitStack() as stack:
        clients = await connected(stack, place, 3, AWS_SSO_MCP_WAIT_SECONDS="5")
        answers = await all_at_once(clients, "dev")
        assert {answer["status"] for answer in answers} == {"pending"}
        assert len({answer["loginUrl"] for answer in answers}) == 1
        place.centre.deny_now()
        answers = await all_at_once(clients, "dev")
    assert {answer.get("reason") for answer in answers} == {"denied"}
    assert len(place.centre.pages) == 1


async def test_suspended_server_joins_the_login_after_it_wakes(
    newest: Workplace,
) -> None:
    newest.centre.approval = "ignore"
    process = start(newest, AWS_SSO_MCP_WAIT_SECONDS="1")
    ask(process, {"profile": "dev"}, wait=False)
    assert newest.centre.wait_for(lambda: bool(newest.centre.pages))
    process.send_signal(signal.SIGSTOP)
    newest.centre.approve_now()
    assert newest.centre.wait_for(
        lambda: "CreateToken:authorization_code" in newest.centre.calls
    )
    process.send_signal(signal.SIGCONT)
    assert process.stdout
    first = json.loads(process.stdout.readline())["result"]["structuredContent"]
    assert first["status"] in ("pending", "logged_in")
    again = ask(process, {"profile": "dev"})
    while again["status"] == "pending":
        again = ask(process, {"profile": "dev"})
    assert again["status"] in ("logged_in", "valid")
    assert process.communicate(timeout=10) == ("", "")
    assert len(newest.centre.pages) == 1


@pytest.mark.parametrize("approved", [True, False])
async def test_login_survives_a_killed_server(place: Workplace, approved: bool) -> None:
    place.centre.approval = "ignore"
    process = start(place)
    ask(process, {"profile": "dev"}, wait=False)
    assert place.centre.wait_for(lambda: bool(place.centre.pages))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    async with place.client(AWS_SSO_MCP_WAIT_SECONDS="1") as client:
        answer = await refresh(client, profile="dev")
        assert (answer["status"], "loginUrl" in answer) == ("pending", True)
        if approved:
            place.centre.approve_now()
        else:
            place.centre.deny_now()
        while answer["status"] == "pending":
            answer = await refresh(client, profile="dev")
    assert answer.get("reason", answer["status"]) == (
        "logged_in" if approved else "ended_elsewhere"
    )
    assert len(place.centre.pages) == 1
