"""Load: many calls, many sessions, very many requests; none blocks another, no memory grows."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kit.workplace import Workplace, answer, authorizations, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from mcp import Client

SESSION = """
[sso-session s{0}]
sso_start_url = {1}
sso_region = us-east-1
sso_registration_scopes = sso:account:access

[profile p{0}]
sso_session = s{0}
sso_account_id = 123456789012
sso_role_name = Developer
"""


async def answers_of(
    client: Client, profiles: list[str], all_wait: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Return the answers of one client that asks for all `profiles` at once.

    `all_wait` is called once each of the calls has reported progress.
    """
    answers: list[dict[str, Any]] = []
    waiting: set[int] = set()

    async def call(number: int, profile: str) -> None:
        async def progress(
            progress: float, total: float | None, message: str | None
        ) -> None:
            del progress, total, message  # that it was called is enough
            if len(waiting) < len(profiles) and number not in waiting:
                waiting.add(number)
                if len(waiting) == len(profiles):
                    all_wait()

        result = await client.call_tool(
            "refresh_aws_sso_token", {"profile": profile}, progress_callback=progress
        )
        answers.append(result.structured_content or {})

    async with anyio.create_task_group() as group:
        for number, profile in enumerate(profiles):
            group.start_soon(call, number, profile)
    return answers


@pytest.mark.anyio
async def test_fifty_calls_at_once_open_one_page(place: Workplace) -> None:
    place.centre.assigned.add(("123456789012", "Operator"))
    place.centre.approval = "ignore"

    def approve() -> None:
        assert place.centre.wait_for(lambda: bool(place.centre.pages))
        place.centre.approve_now()

    async with place.client() as client:
        answers = await answers_of(client, ["dev", "ops"] * 25, approve)
    assert [answer["status"] for answer in answers] == ["logged_in"] * 50
    assert len(place.centre.pages) == 1
    assert authorizations(place.centre) == 1
    assert (
        place.centre.calls.count("GetCallerIdentity") == 2
    )  # one call for each profile


@pytest.mark.anyio
async def test_logins_of_ten_sessions_run_at_once(newest: Workplace) -> None:
    newest.write_config(
        "".join(SESSION.format(n, newest.centre.start_url) for n in range(10))
    )
    newest.centre.approval = "ignore"
    profiles = [f"p{n}" for n in range(10)]
    async with newest.client(AWS_SSO_MCP_WAIT_SECONDS="20") as client:
        async with anyio.create_task_group() as group:
            group.start_soon(answers_of, client, profiles)
            # All ten pages are open before any is approved.
            pages = newest.centre.pages
            assert await anyio.to_thread.run_sync(
                newest.centre.wait_for, lambda: len(pages) == 10, 20
            )
            status = await answer(client, "get_aws_sso_status")
            assert [each["loginInProgress"] for each in status["sessions"]] == [
                True
            ] * 10
            newest.centre.approve_now()
        answers = await answers_of(client, profiles)
    assert {answer["status"] for answer in answers} == {"valid"}
    assert len(pages) == 10


def ask_many(process: subprocess.Popen[str], count: int) -> None:
    """Send `count` requests without waiting, and read their answers."""
    assert process.stdin
    assert process.stdout
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    call = {
        "name": "get_aws_sso_status",
        "arguments": {"profile": "nobody"},
        "_meta": meta,
    }
    kinds = [("ping", {}), ("tools/list", {"_meta": meta}), ("nonsense", {})] * 33 + [
        ("tools/call", call)
    ]
    lines = [
        json.dumps({"id": n, "method": m, "params": p})
        for n, (m, p) in enumerate(kinds)
    ]
    text = "\n".join(lines) + "\n"

    def write() -> None:
        assert process.stdin
        for _ in range(count // len(kinds)):
            process.stdin.write(text)
        process.stdin.flush()

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(count // len(kinds) * len(kinds)):
        assert '"id"' in process.stdout.readline()
    writer.join()


def footprint(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Return the numbers of resident pages, threads and open files."""
    proc = Path("/proc") / str(process.pid)
    pages = int((proc / "statm").read_text().split()[1])
    return (
        pages,
        len(list((proc / "task").iterdir())),
        len(list((proc / "fd").iterdir())),
    )


def test_hundred_thousand_requests_do_not_grow_memory(newest: Workplace) -> None:
    process = start(newest)
    assert process.stdin
    ask_many(process, 10_000)
    before = footprint(process)
    ask_many(process, 100_000)
    after = footprint(process)
    process.stdin.close()
    assert process.wait(10) == 0
    assert after[0] - before[0] < 512, "grew by more than 2 MiB"
    assert abs(after[1] - before[1]) <= 5  # threads of the last calls
    assert after[2] == before[2]
