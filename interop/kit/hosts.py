"""Hosts on a machine of a test, and a stand-in for Claude Code's model."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kit.components import need, real
from kit.wire import node

if TYPE_CHECKING:
    from kit.machine import Machine


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


class Anthropic(ThreadingHTTPServer):
    """A model for Claude Code: it calls one tool, {name, input}, then says "done".

    `asked` are all requests; `results` the messages that hold the result of the tool.
    """

    daemon_threads = True

    def __init__(self, wish: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), AnthropicHandler)
        self.wish = wish
        self.results: list[str] = []
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class AnthropicHandler(BaseHTTPRequestHandler):
    server: Anthropic

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(json.dumps(asked))
        wish = self.server.wish
        can = any(tool["name"] == wish["name"] for tool in asked.get("tools") or [])
        ran = "tool_result" in json.dumps(asked.get("messages"))
        if ran:
            self.server.results.append(json.dumps(asked["messages"]))
        delta: dict[str, Any] = {"type": "text_delta", "text": "done"}
        block: dict[str, Any] = {"type": "text", "text": ""}
        if can and not ran:
            block = {
                "type": "tool_use",
                "id": "toolu_1",
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


def results_of_claude(claude: Machine, wish: dict[str, Any], options: str = "") -> str:
    """Return what a model that calls one tool hears of it, as JSON."""
    with Anthropic(wish) as model:
        url = f"http://127.0.0.1:{model.server_port}"
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
        env["ENABLE_TOOL_SEARCH"] = "false"  # all tools at once, not after a search
        assert "done" in claude.run(f"claude -p go {options}", env=env)
    return model.results[-1]
