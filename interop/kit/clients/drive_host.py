"""Drive a host that is not logged in, Claude Code or Codex; README.md describes the commands.

Both call a tool for the program that embeds them, without any model: Claude Code by the control
request `mcp_call` of its stream-json mode, Codex by `mcpServer/tool/call` of its app-server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1])
NAME = "aws-sso"


def tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Host:
    """A running host. A thread reads its output; `_waiting` holds the requests without answer."""

    def __init__(self, program: Path, *arguments: str, **environment: str) -> None:
        self.environment = {**os.environ, **environment}
        add = [NAME, *(f"--env={key}={value}" for key, value in OPTIONS["env"].items())]
        self._run(program, "mcp", "add", *add, "--", *OPTIONS["command"])
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [program, *arguments],
            env=self.environment,
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        self._last_id = 0
        self._waiting: dict[str, Any] = {}
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _run(self, *argv: Any) -> None:
        subprocess.run(
            argv, env=self.environment, stdout=subprocess.DEVNULL, check=True
        )

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.take(json.loads(line))

    def write(self, **message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, then: Any, **params: Any) -> str:
        """Send a request; `then(result, error)` is called with the response."""
        self._last_id += 1
        request_id = str(self._last_id)
        self._waiting[request_id] = then
        self.send(request_id, method, params)
        return request_id

    def answered(self, request_id: str, result: Any, error: Any) -> None:
        self._waiting.pop(request_id)(result, error)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def start(self) -> None:
        self._reader.start()
        self.connect()
        self.ready.wait()

    # --- What each host does in its own way

    def connect(self) -> None:
        """Set `ready` once the server is connected."""
        raise NotImplementedError

    def send(self, request_id: str, method: str, params: dict[str, Any]) -> None:
        raise NotImplementedError

    def take(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def list_tools(self) -> None:
        raise NotImplementedError

    def call_tool(self, tool: str, arguments: dict[str, Any], then: Any) -> str:
        raise NotImplementedError

    def cancel(self, request_id: str) -> None:
        raise NotImplementedError


class Codex(Host):
    """Codex's app-server: JSON-RPC without `jsonrpc`; a thread has its MCP servers."""

    def __init__(self) -> None:
        [program] = Path(OPTIONS["library"]).glob(
            "node_modules/@openai/codex-*/vendor/*/bin/codex"
        )
        provider = '{name="none", base_url="http://127.0.0.1:1/v1"}'
        settings = ["model_provider=none", f"model_providers.none={provider}"]
        if "limit" in OPTIONS:
            settings.append(f"mcp_servers.{NAME}.tool_timeout_sec={OPTIONS['limit']}")
        super().__init__(program, *(f"-c{each}" for each in settings), "app-server")
        self._thread = ""

    def connect(self) -> None:
        about = {"name": "drive", "title": "drive", "version": "1"}
        capabilities = {"experimentalApi": True}
        self.ask(
            "initialize", self._initialized, clientInfo=about, capabilities=capabilities
        )

    def _initialized(self, *_: Any) -> None:
        self.write(method="initialized")
        self.ask("thread/start", self._started, ephemeral=True)

    def _started(self, result: Any, _: Any) -> None:
        self._thread = result["thread"]["id"]

    def send(self, request_id: str, method: str, params: dict[str, Any]) -> None:
        self.write(id=request_id, method=method, params=params)

    def take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        params = message.get("params") or {}
        if method == "mcpServer/startupStatus/updated" and params["status"] == "ready":
            self.ready.set()
        elif method == "mcpServer/elicitation/request":
            tell(elicited=params)
            if OPTIONS.get("elicit") != "never":
                self.write(id=message["id"], result={"action": OPTIONS["elicit"]})
        elif method is None:
            self.answered(message["id"], message.get("result"), message.get("error"))

    def list_tools(self) -> None:
        def listed(result: Any, _: Any) -> None:
            tell(tools=list(result["data"][0]["tools"].values()))

        self.ask("mcpServerStatus/list", listed, threadId=self._thread)

    def call_tool(self, tool: str, arguments: dict[str, Any], then: Any) -> str:
        ours = {"threadId": self._thread, "server": NAME}
        return self.ask(
            "mcpServer/tool/call", then, tool=tool, arguments=arguments, **ours
        )


class ClaudeCode(Host):
    """Claude Code's stream-json mode: control requests and responses."""

    def __init__(self) -> None:
        [program] = Path(OPTIONS["library"]).glob(
            "node_modules/@anthropic-ai/claude-code-*/claude"
        )
        settings = {
            "CLAUDE_CONFIG_DIR": f"{os.environ['HOME']}/.claude",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        if "limit" in OPTIONS:
            settings["MCP_TOOL_TIMEOUT"] = str(OPTIONS["limit"] * 1000)
        arguments = (
            "-p",
            "--verbose",
            "--input-format=stream-json",
            "--output-format=stream-json",
        )
        super().__init__(program, *arguments, **settings)

    def connect(self) -> None:
        self.ask("mcp_status", self._status)

    def _status(self, result: Any, _: Any) -> None:
        if result["mcpServers"][0]["status"] == "pending":
            self.connect()
        else:
            self.ready.set()

    def send(self, request_id: str, method: str, params: dict[str, Any]) -> None:
        request = {"subtype": method, **params}
        self.write(type="control_request", request_id=request_id, request=request)

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "control_response":
            response = message["response"]
            result = response.get("response")
            error = response.get("error")
            self.answered(response["request_id"], result, error)

    def list_tools(self) -> None:
        self.ask(
            "mcp_status", lambda result, _: tell(tools=result["mcpServers"][0]["tools"])
        )

    def call_tool(self, tool: str, arguments: dict[str, Any], then: Any) -> str:
        def outcome(result: Any, error: Any) -> None:
            # What its model would get: the structured answer as text, also for errors.
            text = result["content"] if error is None else error.removeprefix("Error: ")
            if text.startswith("{"):
                then({"content": [{"type": "text", "text": text}]}, None)
            else:
                then(None, text)

        return self.ask(
            "mcp_call", outcome, tool=f"mcp__{NAME}__{tool}", arguments=arguments
        )

    def cancel(self, request_id: str) -> None:
        self.write(type="control_cancel_request", request_id=request_id)


def main() -> None:
    host = Codex() if "codex" in OPTIONS["library"] else ClaudeCode()
    host.start()
    tell(connected=None)
    calls: dict[int, str] = {}
    for line in sys.stdin:
        told = json.loads(line)
        call = told.get("call")

        def outcome(result: Any, error: Any, call: int = call) -> None:
            if error is None:
                tell(answer=call, result=result)
            else:
                tell(
                    failed=call,
                    error=error if isinstance(error, str) else error["message"],
                )

        if told["do"] == "list":
            host.list_tools()
        elif told["do"] == "call":
            calls[call] = host.call_tool(told["tool"], told["arguments"], outcome)
        else:
            host.cancel(calls[call])
            tell(failed=call, error="cancelled")
    closing = time.monotonic()
    host.close()
    tell(closed=time.monotonic() - closing)


if __name__ == "__main__":
    main()
