"""Hosts on a machine of a test, stand-ins for models, and Claude Code in a terminal."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kit.components import need, real
from kit.drivers import recorded_server
from kit.model import REFRESH
from kit.processes import soon
from kit.terminal import Terminal
from kit.wire import node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kit.machine import Machine
    from kit.workplace import Workplace


HOSTS = {
    "claude": ("claude-code", "@anthropic-ai/claude-code-*/claude"),
    "codex": ("codex", "@openai/codex-*/vendor/*/bin/codex"),
    "copilot": ("copilot", "@github/copilot-*/copilot"),
    "gemini": ("gemini-cli", "@google/gemini-cli/bundle/gemini.js"),
    "qwen": ("qwen-code", "@qwen-code/qwen-code/cli-entry.js"),
    "opencode": ("opencode", "opencode-*/bin/opencode"),
    "mcpb": ("mcpb", "@anthropic-ai/mcpb/dist/cli/cli.js"),
}


def install_host(machine: Machine, name: str) -> None:
    """Put the command of a host on the machine's PATH."""
    component, pattern = HOSTS[name]
    need(component)
    [program] = (real(component) / "node_modules").glob(pattern)
    runner = [node()] if need("node-22") and program.suffix == ".js" else []
    machine.put(name, *runner, program)


PLUGIN = "aws-sso-mcp@aws-sso-mcp"


def install_claude_with_plugin(machine: Machine) -> None:
    install_host(machine, "claude")
    add = f"claude plugin marketplace add {machine.checkout}"
    machine.run(f"{add} && claude plugin install {PLUGIN}")


class Anthropic(ThreadingHTTPServer):
    """A model for Claude Code: it calls one tool, {name, input}, then says "done".

    `asked` are all requests; `turns` those in which it could call the tool; `results` the
    messages that hold the result of the tool.
    """

    daemon_threads = True

    def __init__(self, wish: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), AnthropicHandler)
        self.wish = wish
        self.results: list[str] = []
        self.asked: list[str] = []
        self.turns: list[str] = []
        self._changed = (
            threading.Condition()
        )  # guards the lists; notified at each request
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def wait_for(self, happened: Callable[[], bool], timeout_s: float = 20) -> bool:
        """Return whether `happened()` becomes true in time; it is called at each request."""
        with self._changed:
            return self._changed.wait_for(happened, timeout_s)

    def hear(self, asked: dict[str, Any]) -> bool:
        """Keep a request; return whether the model calls its tool now."""
        messages = json.dumps(asked.get("messages"))
        names = [tool["name"] for tool in asked.get("tools") or []]
        can_call = self.wish["name"] in names
        with self._changed:
            self.asked.append(json.dumps(asked))
            if can_call:
                self.turns.append(messages)
            if "tool_result" in messages:
                self.results.append(messages)
            self._changed.notify_all()
        return can_call and self.calls_tool(messages)

    def calls_tool(self, messages: str) -> bool:
        """Return whether it calls the tool after these messages, JSON."""
        return "tool_result" not in messages


class PatientAnthropic(Anthropic):
    """A model that calls our tool again while the answer is `pending`."""

    def __init__(self) -> None:
        name = f"mcp__aws-sso__{REFRESH}"
        super().__init__({"name": name, "input": {"profile": "dev"}})

    def statuses(self) -> list[str]:
        """Return the statuses that it has heard, in the last request."""
        with self._changed:
            return status_words(self.turns[-1])

    def calls_tool(self, messages: str) -> bool:
        if "tool_result" not in messages:
            return True
        is_task = "server-side task" in messages  # it is told of its end
        return status_words(messages)[-1:] == ["pending"] and not is_task


def status_words(messages: str) -> list[str]:
    return re.findall(
        r'"status":"(\w+)"', messages.replace("\\", "").replace(": ", ":")
    )


class AnthropicHandler(BaseHTTPRequestHandler):
    server: Anthropic

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wish = self.server.wish
        calls = self.server.hear(asked)
        delta: dict[str, Any] = {"type": "text_delta", "text": "done"}
        block: dict[str, Any] = {"type": "text", "text": ""}
        if calls:
            block = {
                "type": "tool_use",
                "id": f"toolu_{len(self.server.asked)}",
                "name": wish["name"],
                "input": {},
            }
            delta = {
                "type": "input_json_delta",
                "partial_json": json.dumps(wish["input"]),
            }
        reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "stand-in",
        }
        events: list[dict[str, Any]] = [
            {
                "type": "message_start",
                "message": {**message, "content": [], "usage": usage},
            },
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
            {"type": "message_stop"},
        ]
        lines = [
            f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events
        ]
        content = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Responses(ThreadingHTTPServer):
    """A model for Codex (Responses API): it calls one tool, then says "done"."""

    daemon_threads = True

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), ResponsesHandler)
        self.asked: list[str] = []
        call = {"name": tool, "arguments": json.dumps(arguments)}
        self.call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", **call}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class ResponsesHandler(BaseHTTPRequestHandler):
    server: Responses

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(asked)
        item: dict[str, Any] = self.server.call
        if "function_call_output" in asked:
            text = {"type": "output_text", "text": "done", "annotations": []}
            about = {"type": "message", "id": "msg_1", "role": "assistant"}
            item = {**about, "content": [text]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        response: dict[str, Any] = {
            "id": "resp_1",
            "status": "completed",
            "output": [item],
        }
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {**response, "usage": usage}},
        ]
        lines = [
            f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events
        ]
        content = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Bedrock(ThreadingHTTPServer):
    """An endpoint of Amazon Bedrock that refuses each request, and keeps who signed it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BedrockHandler)
        self.signers: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class BedrockHandler(BaseHTTPRequestHandler):
    server: Bedrock

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.signers.append(self.headers["Authorization"])
        content = json.dumps({"message": "a stand-in"}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def results_of_claude(claude: Machine, wish: dict[str, Any], options: str = "") -> str:
    """Return what a model that calls one tool hears of it, as JSON."""
    with Anthropic(wish) as model:
        url = f"http://127.0.0.1:{model.server_port}"
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
        env["ENABLE_TOOL_SEARCH"] = "false"  # all tools at once, not after a search
        assert "done" in claude.run(f"claude -p go {options}", env=env)
    return model.results[-1]


# --- Claude Code in a terminal --------------------------------------------------------------

API_KEY = "stand-in-for-a-key-that-no-one-has"


def open_claude(
    place: Workplace,
    model: Anthropic,
    columns: int = 80,
    variables: dict[str, str] | None = None,
    environment: Mapping[str, str | None] | None = None,
) -> Terminal:
    """Start Claude Code in a terminal, with the server, and wait for its prompt.

    `variables` are Claude Code's, `environment` the server's. What Claude Code asks a new user
    (theme, trust in the folder, API key) has been answered, else its state is a new user's.
    """
    need("node-22")
    [program] = (real(need("claude-code")) / "node_modules").glob(HOSTS["claude"][1])
    folder = place.home / "work"
    folder.mkdir(exist_ok=True)
    command, *arguments = recorded_server(place)
    server = {
        "type": "stdio",
        "command": command,
        "args": arguments,
        "env": place.environment(**(environment or {})),
    }
    config = place.home / ".claude"
    config.mkdir(exist_ok=True)
    settings = {"permissions": {"allow": ["mcp__aws-sso"]}}
    (config / "settings.json").write_text(json.dumps(settings))
    answer_first_questions(config, folder, mcpServers={"aws-sso": server})
    terminal = started_claude(
        [str(program)],
        {
            "HOME": str(place.home),
            "CLAUDE_CONFIG_DIR": str(config),
            "PATH": "/usr/bin:/bin",
            **variables_of_claude(model),
            **(variables or {}),
        },
        folder,
        columns,
    )
    # Before that, the model cannot call the tools.
    assert soon(lambda: has_listed_tools(place))
    return terminal


def has_listed_tools(place: Workplace) -> bool:
    return any(REFRESH in path.read_text() for path in place.wrote.glob("out.*"))


def answer_first_questions(config: Path, folder: Path, **more: Any) -> None:
    """Write into Claude Code's state what a user has answered at the first start."""
    path = config / ".claude.json"
    state: dict[str, Any] = {}
    if path.exists():
        state = json.loads(path.read_text())
    state["hasCompletedOnboarding"] = True
    state["theme"] = "dark"
    state["customApiKeyResponses"] = {"approved": [API_KEY[-20:]], "rejected": []}
    state["projects"] = {str(folder): {"hasTrustDialogAccepted": True}}
    path.write_text(json.dumps({**state, **more}))


def variables_of_claude(model: Anthropic) -> dict[str, str]:
    """Return the variables with which Claude Code asks only this model."""
    return {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.server_port}",
        "ANTHROPIC_API_KEY": API_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",  # all tools at once, not after a search
        "LANG": "C.UTF-8",
    }


def started_claude(
    argv: list[str],
    environment: dict[str, str],
    folder: Path,
    columns: int,
    mode: str = "auto mode on",
) -> Terminal:
    """Return a terminal with Claude Code that waits for the user.

    `mode` is what it then shows of its permission mode.
    """
    terminal = Terminal(argv, environment, folder, columns)
    try:
        terminal.wait_for(mode)
    except BaseException:
        terminal.close()
        raise
    return terminal


def open_claude_on_bedrock(
    place: Workplace, bedrock: Bedrock, settings: dict[str, str]
) -> Terminal:
    """Start Claude Code with a profile's credentials; it waits for a login, if it needs one."""
    [program] = (real(need("claude-code")) / "node_modules").glob(HOSTS["claude"][1])
    folder = place.home / "work"
    folder.mkdir()
    config = place.home / ".claude"
    config.mkdir()
    (config / "settings.json").write_text(json.dumps(settings))
    answer_first_questions(config, folder)
    environment = {
        **place.environment(AWS_SSO_MCP_LOGIN="device", BROWSER=None),
        "NODE_EXTRA_CA_CERTS": place.environment()["AWS_CA_BUNDLE"],
        "NO_PROXY": "127.0.0.1",
        "AWS_PROFILE": "dev",
        "AWS_REGION": "us-east-1",
        "ANTHROPIC_BEDROCK_BASE_URL": f"http://127.0.0.1:{bedrock.server_port}",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CONFIG_DIR": str(config),
        "DISABLE_AUTOUPDATER": "1",
        "LANG": "C.UTF-8",
    }
    return Terminal([str(program)], environment, folder, 100)
