"""Recorded messages of client and server, validated with the official JSON schemas of MCP.

The schemas of 2025-03-26 and later come from npm's conformance suite, the only package that has
them. For 2024-11-05 they come from the models of the Python SDK of that time.
"""

from __future__ import annotations

import functools
import json
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema

from kit.components import real
from kit.workplace import KIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = "io.modelcontextprotocol/"

RESULTS = {
    "initialize": "InitializeResult",
    "ping": "EmptyResult",
    "server/discover": "DiscoverResult",
    "tools/list": "ListToolsResult",
    "tools/call": "CallToolResult",
}
RESULTS_OF_TASKS = {
    "tasks/get": "GetTaskResult",
    "tasks/update": "EmptyResult",
    "tasks/cancel": "EmptyResult",
}
METHODS = {
    "notifications/progress": "ProgressNotification",
    "notifications/elicitation/complete": "ElicitationCompleteNotification",
    "elicitation/create": "ElicitRequest",
}
ERRORS = {-32022: "UnsupportedProtocolVersionError"}

# The extension `io.modelcontextprotocol/tasks` (SEP-2663), as its text has it: no package has
# a JSON schema of it.
TASK = {
    "taskId": {"type": "string", "minLength": 1},
    "status": {
        "enum": ["working", "input_required", "completed", "failed", "cancelled"]
    },
    "statusMessage": {"type": "string"},
    "createdAt": {"type": "string", "format": "date-time"},
    "lastUpdatedAt": {"type": "string", "format": "date-time"},
    "ttlMs": {"type": ["integer", "null"]},
    "pollIntervalMs": {"type": "integer"},
    "_meta": {"type": "object"},
}
NEEDED = ["resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"]
SCHEMAS_OF_TASKS = {
    "CreateTaskResult": {
        "type": "object",
        "required": NEEDED,
        "properties": {"resultType": {"const": "task"}, **TASK},
        "additionalProperties": False,
    },
    "GetTaskResult": {
        "type": "object",
        "required": NEEDED,
        "properties": {
            "resultType": {"const": "complete"},
            **TASK,
            "result": {"$ref": "#/$defs/CallToolResult"},
            "error": {"$ref": "#/$defs/Error"},
            "inputRequests": {"$ref": "#/$defs/InputRequests"},
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"status": {"const": status}}},
                "then": {"required": [key]},
                "else": {"properties": {key: False}},
            }
            for status, key in (
                ("completed", "result"),
                ("failed", "error"),
                ("input_required", "inputRequests"),
            )
        ],
    },
}

MODELS_OF_2024 = """\
import json
from mcp import types
from pydantic.json_schema import models_json_schema
names = ["JSONRPCMessage", "ProgressNotification", *{results}]
_, schema = models_json_schema([(getattr(types, name), "validation") for name in names])
print(json.dumps(schema))
"""


def node() -> Path:
    """Return the Node.js that runs clients; the machine's own may be too old."""
    [program] = real("node-22").glob("node_modules/node-linux-*/bin/node")
    return program


@functools.cache
def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each revision; needs the components `schemas` and `mcp-1.2`."""
    bundle = (
        real("schemas") / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    )
    official = [str(node()), str(KIT / "clients" / "schemas.mjs"), str(bundle)]
    newer = ("DiscoverResult", "Result")
    results = [name for name in RESULTS.values() if name not in newer]
    models = MODELS_OF_2024.format(results=results)
    oldest = [str(real("mcp-1.2") / "bin" / "python"), "-c", models]
    found: dict[str, dict[str, Any]] = json.loads(subprocess.check_output(official))
    return {"2024-11-05": json.loads(subprocess.check_output(oldest)), **found}


@functools.cache
def validator(revision: str, name: str) -> Any:
    schema = schemas()[revision]
    key = "$defs" if "$defs" in schema else "definitions"
    dialect = jsonschema.validators.validator_for(schema)
    definitions = schema[key]
    if revision == MODERN:
        definitions = {**definitions, **SCHEMAS_OF_TASKS}
    return dialect({"$ref": f"#/{key}/{name}", key: definitions})


class Message(NamedTuple):
    """One message of the server, its revision, and its type in the schema."""

    revision: str
    name: str
    content: dict[str, Any]

    def check(self) -> None:
        """Raise AssertionError if it does not match the schema."""
        is_result = self.name.endswith("Result")
        self._check("JSONRPCMessage", self.content)
        self._check(self.name, self.content["result"] if is_result else self.content)

    def _check(self, name: str, content: Any) -> None:
        error = jsonschema.exceptions.best_match(
            validator(self.revision, name).iter_errors(content)
        )
        assert error is None, (
            f"no {name} of {self.revision}: {error.message}\n{self.content}"
        )


class Recording:
    """The lines that one server process read and wrote."""

    def __init__(self, heard: bytes, said: bytes) -> None:
        self.heard = [json.loads(line) for line in heard.splitlines()]
        self.said = [json.loads(line) for line in said.splitlines()]
        self._requests = {
            repr(each["id"]): each
            for each in self.heard
            if "method" in each and "id" in each
        }
        self._negotiated = LEGACY
        for message in self.said:
            result = message.get("result") or {}
            self._negotiated = result.get("protocolVersion", self._negotiated)

    def revision(self, request: dict[str, Any]) -> str:
        modern = f"{META}protocolVersion" in (
            (request.get("params") or {}).get("_meta") or {}
        )
        return MODERN if modern else self._negotiated

    def revisions(self) -> set[str]:
        """Return the revisions of the requests; `initialize` counts as the negotiated one."""
        return {self.revision(each) for each in self._requests.values()}

    def spoken(self) -> set[str]:
        """Return the revisions in which tools were listed or called."""
        requests = self._requests.values()
        return {
            self.revision(each)
            for each in requests
            if each["method"].startswith("tools/")
        }

    def cancelled(self) -> list[Any]:
        """Return the ids of the requests that the client cancelled."""
        cancelled = [
            each
            for each in self.heard
            if each.get("method") == "notifications/cancelled"
        ]
        return [each["params"]["requestId"] for each in cancelled]

    def answered(self) -> list[Any]:
        return [each["id"] for each in self.said if "method" not in each]

    def messages(self) -> Iterator[Message]:
        for message in self.said:
            yield (
                self._notice(message) if "method" in message else self._answer(message)
            )

    def _answer(self, message: dict[str, Any]) -> Message:
        request = self._requests[repr(message["id"])]
        if "error" in message:
            name = ERRORS.get(message["error"]["code"], "JSONRPCMessage")
        elif message["result"].get("resultType") == "input_required":
            name = "InputRequiredResult"
        elif message["result"].get("resultType") == "task":
            name = "CreateTaskResult"
        else:
            name = {**RESULTS, **RESULTS_OF_TASKS}[request["method"]]
        return Message(self.revision(request), name, message)

    def _notice(self, message: dict[str, Any]) -> Message:
        """Return a message that the server sent by itself; progress has its call's revision."""
        params = message["params"]
        revision = self._negotiated
        for request in self._requests.values():
            meta = (request.get("params") or {}).get("_meta") or {}
            if meta.get("progressToken", meta) == params.get("progressToken"):
                revision = self.revision(request)
        if "elicitation" in message["method"]:
            revision = max(
                revision, LEGACY
            )  # has URL elicitation, which Codex declares in older revisions too
        return Message(revision, METHODS[message["method"]], message)


def recordings(folder: Path) -> list[Recording]:
    """Return what `clients/record.sh` saved in a folder, one recording per process."""
    kept = [
        (path, path.with_name(path.name.replace("in", "out", 1)))
        for path in folder.glob("in.*")
    ]
    return [Recording(heard.read_bytes(), said.read_bytes()) for heard, said in kept]
