"""A simulated model on loopback that refreshes an SSO token, for hosts that need a model.

It implements as much of OpenAI's chat completions and Gemini's generateContent as the hosts need.
It asks for the status, calls for a refresh until there is an outcome, and answers "done".
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = "get_aws_sso_status"
REFRESH = "refresh_aws_sso_token"


class Model(ThreadingHTTPServer):
    """A running model. `heard`: the answers of our tools; `offered`: the tools it could call."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[dict[str, Any]] = []
        self.asked: list[str] = []  # all requests, as JSON
        self.offered: set[str] = set()
        self._changed = (
            threading.Condition()
        )  # guards both lists; notified at each request
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that make the hosts use this model only."""
        url = f"http://127.0.0.1:{self.server_port}"
        options = {"baseURL": f"{url}/v1", "apiKey": "none"}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": options,
            "models": {"m": {}},
        }
        opencode = {"provider": {"stand-in": provider}, "model": "stand-in/m"}
        return {
            "COPILOT_OFFLINE": "true",
            "COPILOT_MODEL": "stand-in",
            "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
            "GEMINI_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": url,
            "OPENCODE_CONFIG_CONTENT": json.dumps(opencode),
        }

    def statuses(self) -> list[str | None]:
        with self._changed:
            return [answer.get("status") for answer in self.heard]

    def wait_for(self, happened: Callable[[], bool], timeout_s: float = 20) -> bool:
        """Return whether `happened()` becomes true in time; it is called at each request."""
        with self._changed:
            return self._changed.wait_for(happened, timeout_s)

    def wish(
        self, tools: list[str], results: list[str]
    ) -> tuple[str, dict[str, Any]] | None:
        """Return the next tool to call, by the host's name, and its arguments; None: done."""
        # Hosts add words to the answer, or pass it twice: as text and as structured content.
        answers = []
        for text in results:
            answer, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
            answers.append(answer)
        names = {}
        for name in tools:
            for ours in (STATUS, REFRESH):
                if name.endswith(ours):
                    names[ours] = name
        with self._changed:
            self.heard = max(self.heard, answers, key=len)
            self.offered.update(names)
            self._changed.notify_all()
        if len(names) < 2:  # the host asks for something else, for example a title
            return None
        if answers and answers[-1].get("status", "pending") != "pending":
            return None
        return names[REFRESH if answers else STATUS], {"profile": "dev"}


class OneCall(Model):
    """A model that calls one tool, by the end of its name, and then says "done"."""

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.tool = tool
        self.arguments = arguments

    def wish(
        self, tools: list[str], results: list[str]
    ) -> tuple[str, dict[str, Any]] | None:
        names = [name for name in tools if name.endswith(self.tool)]
        if results or not names:
            return None
        return names[0], self.arguments


class Handler(BaseHTTPRequestHandler):
    """One request of a host."""

    server: Model

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(json.dumps(asked))
        if "contents" in asked:
            reply = gemini(self.server, asked)
        else:
            reply = openai(self.server, asked)
        if asked.get("stream") or "streamGenerateContent" in self.path:
            content_type = "text/event-stream"
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in reply)
        else:
            content_type = "application/json"
            body = json.dumps(reply[0])
        content = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def openai(model: Model, asked: dict[str, Any]) -> list[dict[str, Any]]:
    tools = [each["function"]["name"] for each in asked.get("tools") or []]
    results = [each["content"] for each in asked["messages"] if each["role"] == "tool"]
    texts = [each if isinstance(each, str) else each[0]["text"] for each in results]
    wish = model.wish(tools, texts)
    message: dict[str, Any] = {"role": "assistant", "content": "done"}
    if wish:
        function = {"name": wish[0], "arguments": json.dumps(wish[1])}
        call = {
            "index": 0,
            "id": f"call-{len(texts)}",
            "type": "function",
            "function": function,
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    about = {"id": "1", "created": 1, "model": "stand-in"}
    reason = "tool_calls" if wish else "stop"
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return [{**about, "object": "chat.completion", "choices": [choice]}]
    choices = [{"index": 0, "delta": message, "finish_reason": None}]
    ends = [{"index": 0, "delta": {}, "finish_reason": reason}]
    chunk = {**about, "object": "chat.completion.chunk"}
    return [{**chunk, "choices": choices}, {**chunk, "choices": ends}]


def gemini(model: Model, asked: dict[str, Any]) -> list[dict[str, Any]]:
    tools = []
    for declared in asked.get("tools") or []:
        for function in declared.get("functionDeclarations", []):
            tools.append(function["name"])
    texts = []
    for content in asked["contents"]:
        for part in content["parts"]:
            if "functionResponse" in part:
                response = part["functionResponse"]["response"]
                texts.append(response.get("output") or response["error"])
    wish = model.wish(tools, texts)
    part = {"text": "done"}
    if wish:
        name, arguments = wish
        part = {"functionCall": {"name": name, "args": arguments}}
    content = {"role": "model", "parts": [part]}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    return [{"candidates": [candidate], "usageMetadata": usage}]
