"""The server in hosts, through their own command lines; none of them is logged in.

test_clients.py drives Claude Code and Codex, which call a tool for who embeds them. The others
run one only for a model: here, one on loopback.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kit.components import need, real
from kit.drivers import recorded_server, revisions_spoken
from kit.model import REFRESH, STATUS, Model
from kit.processes import processes_left
from kit.wire import MODERN, node, recordings

if TYPE_CHECKING:
    from kit.workplace import Workplace
    from matrix import Matrix


class Host(NamedTuple):
    """A host's command line."""

    name: str
    component: str
    path: str
    """Its program, within the component's node_modules."""
    looks: dict[str, str]
    """What `mcp` subcommands must say of the server once it is added."""
    scope: tuple[str, ...] = ()
    revision: str = "-"
    """The one that it speaks when it looks; "-" for one that only reads its configuration."""
    allow: tuple[str, ...] = ()
    """What lets it call the server's tools unasked, when the server is added."""
    commands: str = "add, list, remove"

    def start(
        self, place: Workplace, *arguments: str, **environment: str
    ) -> subprocess.Popen[str]:
        [program] = (real(self.component) / "node_modules").glob(self.path)
        return subprocess.Popen(
            [*([node()] if program.suffix == ".js" else []), program, *arguments],
            cwd=place.home,
            env={
                "HOME": str(place.home),
                "CLAUDE_CONFIG_DIR": str(place.home / ".claude"),
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
                "PATH": "/usr/bin:/bin",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, place: Workplace, *arguments: str) -> str:
        process = self.start(place, *arguments)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def add(self, place: Workplace, **environment: str) -> None:
        program, *arguments = recorded_server(place)
        variables = [f"--env={key}={value}" for key, value in environment.items()]
        command = ["--", program, *arguments]
        if self in (GEMINI, QWEN):  # which want the program before the dashes
            command = [program, "--", *arguments]
        options = (*self.scope, *self.allow)
        self.run(place, "mcp", "add", *options, "aws-sso", *variables, *command)


CLAUDE = Host(
    *("Claude Code", "claude-code", "@anthropic-ai/claude-code-*/claude"),
    {"list": "✔ Connected", "get aws-sso": "Status: ✔ Connected"},
    ("-s", "user"),
    MODERN,
)
CODEX = Host(
    *("Codex", "codex", "@openai/codex-*/vendor/*/bin/codex"),
    {"list": "enabled", "get aws-sso": "enabled: true"},
)
GEMINI = Host(
    *("Gemini CLI", "gemini-cli", "@google/gemini-cli/bundle/gemini.js"),
    {"list": "✓ aws-sso"},
    ("-s", "user"),
    "2025-06-18",
    allow=("--trust",),
)
QWEN = Host(
    *("Qwen Code", "qwen-code", "@qwen-code/qwen-code/cli-entry.js"),
    {"list": "(stdio) - Connected"},
    ("-s", "user"),
    "2025-11-25",
    allow=("--trust",),
)
OPENCODE = Host(
    *("opencode", "opencode", "opencode-*/bin/opencode"),
    {"list": "✓ aws-sso "},
    revision="2025-11-25",
    commands="add, list",
)
COPILOT = Host(
    *("Copilot CLI", "copilot", "@github/copilot-*/copilot"),
    {"list": "aws-sso (local)", "get aws-sso": "Status: Enabled"},
)


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Host:
    host: Host = request.param
    need("node-22")
    need(host.component)
    return host


def by_name(value: object) -> str | None:
    return value.name if isinstance(value, Host) else None


HOSTS = [CLAUDE, CODEX, GEMINI, COPILOT, QWEN, OPENCODE]


@pytest.mark.parametrize("host", HOSTS, indirect=True, ids=by_name)
def test_host_adds_lists_and_removes_the_server(
    host: Host, recorded: Workplace, matrix: Matrix
) -> None:
    host.add(recorded)
    for look, words in host.looks.items():
        assert words in host.run(recorded, "mcp", *look.split())
    spoken = {each for kept in recordings(recorded.wrote) for each in kept.revisions()}
    assert spoken == {host.revision} - {"-"}
    assert processes_left(recorded.home) == []
    if "remove" in host.commands:
        host.run(recorded, "mcp", "remove", *host.scope, "aws-sso")
        assert "aws-sso" not in host.run(recorded, "mcp", "list")
    measured = {"revision": host.revision, "listed": "yes"} if spoken else {}
    matrix.write(host.name, host.component, commands=host.commands, **measured)


ASK = {
    "gemini-cli": ("-m", "gemini-2.5-pro", "-p", "go"),
    "copilot": ("-p", "go", "--allow-tool=aws-sso", "--disable-builtin-mcps"),
    "opencode": ("run", "go"),
}


@pytest.mark.parametrize(
    ("host", "revision"),
    [(GEMINI, "2025-06-18"), (COPILOT, MODERN), (OPENCODE, "2025-11-25")],
    indirect=["host"],
    ids=by_name,
)
def test_model_refreshes_the_token(
    host: Host, revision: str, recorded: Workplace, matrix: Matrix
) -> None:
    settings = recorded.home / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(
        json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}})
    )
    host.add(recorded, **recorded.environment(AWS_SSO_MCP_WAIT_SECONDS="1"))
    centre = recorded.centre
    with Model() as model:
        process = host.start(recorded, *ASK[host.component], **model.environment())
        assert centre.wait_for(lambda: bool(centre.pages), 30)
        assert model.wait_for(lambda: model.statuses()[1:] != [])
        centre.approve_now()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "done" in said
        assert model.offered >= {STATUS, REFRESH}
        status, *pending, outcome = model.statuses()
    assert (status, set(pending), outcome) == (None, {"pending"}, "logged_in")
    assert len(centre.pages) == 1
    assert revisions_spoken(recorded) == {revision}
    assert processes_left(recorded.home) == []
    measured = {
        "listed": "yes",
        "called": "yes",
        "login": "yes",
        "closed": "at its end",
    }
    matrix.write(host.name, host.component, revision=revision, **measured)
