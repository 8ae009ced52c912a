"""Drive the Python MCP client library of this interpreter; README.md describes the commands.

Runs with `mcp` 1.2, 1.30 and 2, and with fastmcp.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OPTIONS: dict[str, Any] = json.loads(sys.argv[1])


def tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


# --- Libraries: each yields its version of the protocol, and what lists and calls -------


@asynccontextmanager
async def fastmcp_client() -> AsyncIterator[Client]:
    library = import_module("fastmcp.client")
    command, *args = OPTIONS["command"]
    transport = library.StdioTransport(command, args, OPTIONS["env"], keep_alive=False)
    handler = elicited if "elicit" in OPTIONS else None
    limit = OPTIONS.get("limit")
    async with library.Client(
        transport, timeout=limit, elicitation_handler=handler
    ) as client:
        yield Client(
            client, client.protocol_version, client.list_tools_mcp, client.call_tool_mcp
        )


@asynccontextmanager
async def mcp_2_client() -> AsyncIterator[Client]:
    async with import_module("mcp").Client(
        server(),
        mode=OPTIONS["mode"],
        read_timeout_seconds=OPTIONS.get("limit"),
        elicitation_callback=elicited if "elicit" in OPTIONS else None,
    ) as client:
        yield Client(
            client, client.protocol_version, client.list_tools, client.call_tool
        )


@asynccontextmanager
async def mcp_1_client() -> AsyncIterator[Client]:
    connect = import_module("mcp.client.stdio").stdio_client
    start = import_module("mcp").ClientSession
    limit = timedelta(seconds=OPTIONS["limit"]) if "limit" in OPTIONS else None
    asks = {"elicitation_callback": elicited} if "elicit" in OPTIONS else {}
    async with connect(server()) as streams, start(*streams, limit, **asks) as session:
        version = (await session.initialize()).protocolVersion
        yield Client(session, version, session.list_tools, session.call_tool)


def server() -> Any:
    command, *args = OPTIONS["command"]
    parameters = import_module("mcp").StdioServerParameters
    return parameters(command=command, args=args, env=OPTIONS["env"])


def library() -> Callable[[], Any]:
    try:
        import_module("fastmcp.client")
    except ImportError:
        return mcp_2_client if hasattr(import_module("mcp"), "Client") else mcp_1_client
    return fastmcp_client


class Client:
    """The common part of all libraries."""

    def __init__(
        self,
        client: Any,
        version: Any,
        list_tools: Callable[[], Any],
        call: Callable[..., Any],
    ) -> None:
        self.client, self.version, self._list, self._call = (
            client,
            version,
            list_tools,
            call,
        )
        self._request_ids: dict[int, int] = {}

    async def list_tools(self) -> list[Any]:
        return [plain(each) for each in (await self._list()).tools]

    async def call_tool(self, call: int, tool: str, arguments: dict[str, Any]) -> Any:
        async def progress(
            _: float, __: float | None, message: str | None = None
        ) -> None:
            tell(progress=call, message=message)

        parameters = inspect.signature(self._call).parameters
        names = {"progress_callback", "progress_handler"}.intersection(parameters)
        # SDK 1 hides its request ids, and sends no cancellation by itself.
        self._request_ids[call] = getattr(self.client, "_request_id", -1)
        return plain(
            await self._call(tool, arguments, **dict.fromkeys(names, progress))
        )

    async def cancel(self, call: int, task: asyncio.Task[None]) -> None:
        if self._request_ids.get(call, -1) >= 0:
            await self._cancel_on_the_wire(self._request_ids[call])
        task.cancel()

    async def _cancel_on_the_wire(self, request_id: int) -> None:
        types = import_module("mcp.types")
        if hasattr(types, "CancelledNotificationParams"):  # 1.2 has none
            notification = types.CancelledNotification(
                method="notifications/cancelled",
                params=types.CancelledNotificationParams(requestId=request_id),
            )
            await self.client.send_notification(types.ClientNotification(notification))


def plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def elicited(*arguments: Any) -> Any:
    """Answer an elicitation as `elicit` says; the library passes a context and the parameters."""
    [params] = [each for each in arguments if hasattr(each, "message")]
    tell(elicited=plain(params))
    if OPTIONS["elicit"] == "never":
        await asyncio.Event().wait()
    if OPTIONS["elicit"] == "error":
        raise RuntimeError("this client fails to ask")
    return import_module("mcp.types").ElicitResult(action=OPTIONS["elicit"])


# --- Main -------------------------------------------------------------------------------


async def tell_outcome(call: int, answer: Awaitable[Any]) -> None:
    try:
        tell(answer=call, result=await answer)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - libraries raise many
        tell(failed=call, error=f"{type(error).__name__}: {error}")


async def main() -> None:
    tasks: dict[int, asyncio.Task[None]] = {}
    closing = 0.0
    async with library()() as client:
        tell(connected=client.version)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told = json.loads(line)
            if told["do"] == "list":
                tell(tools=await client.list_tools())
            elif told["do"] == "call":
                call = told["call"]
                answer = client.call_tool(call, told["tool"], told["arguments"])
                tasks[call] = asyncio.create_task(tell_outcome(call, answer))
            else:
                await client.cancel(told["call"], tasks[told["call"]])
        closing = time.monotonic()
    tell(closed=time.monotonic() - closing)


if __name__ == "__main__":
    asyncio.run(main())
