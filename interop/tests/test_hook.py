"""The hook in real hosts: what a model hears of a tool that failed, and of a session's start.

Each host runs its own command line, with a stand-in for its model, in a home whose config and
token files say whether a token is good.
"""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kit.hosts import (
    PLUGIN,
    Anthropic,
    Responses,
    install_claude_with_plugin,
    install_host,
)
from kit.model import OneCall
from kit.profiles import EXPIRED, write_profiles
from kit.workplace import ROOT, SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from kit.machine import Machine

# An MCP server whose only tool fails as a server does whose AWS SDK has no good token.
FAILING_SERVER = """\
import json, sys

ERROR = {"content": [{"type": "text", "text": sys.argv[1]}], "isError": True}
TOOL = {"name": "query", "description": "query", "inputSchema": {"type": "object"}}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        about = {"name": "kb", "version": "1"}
        version = asked["params"]["protocolVersion"]
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
    elif asked["method"] == "tools/list":
        result = {"tools": [TOOL]}
    elif asked["method"] == "tools/call":
        result = ERROR
    else:
        result = {}
    answer = {"jsonrpc": "2.0", "id": asked.get("id"), "result": result}
    if asked["method"] == "server/discover":
        answer = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "?"}}
    if "id" in asked:
        print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def claude(machine: Machine) -> Machine:
    """Claude Code with the plugin."""
    install_claude_with_plugin(machine)
    return machine


def asked_of_claude(claude: Machine, wish: dict[str, Any], options: str = "") -> str:
    """Return all that a model which calls one tool is asked, as JSON."""
    with Anthropic(wish) as model:
        url = f"http://127.0.0.1:{model.server_port}"
        env = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
        env["ENABLE_TOOL_SEARCH"] = "false"  # all tools at once, not after a search
        assert "done" in claude.run(f"claude -p go {options}", env=env)
        return model.asked[-1].replace("\\", "")


@pytest.mark.parametrize(
    ("minutes_left", "output", "speaks"),
    [
        (-90, EXPIRED, True),
        (300, EXPIRED, False),
        (-90, "make: *** No rule to make target", False),
    ],
)
def test_claude_hears_of_a_token_that_has_expired(
    claude: Machine, minutes_left: float, output: str, speaks: bool
) -> None:
    write_profiles(claude.home, {"dev": minutes_left, "corp": 300})
    command = f"echo {shlex.quote(output)} >&2; exit 255 # --profile dev"
    wish = {"name": "Bash", "input": {"command": command, "description": "run"}}
    asked = asked_of_claude(claude, wish, "--allowedTools Bash")
    assert output in asked
    assert (
        "The AWS SSO token of profile 'dev' expired 90 minutes ago." in asked
    ) is speaks
    assert ('refresh_aws_sso_token with {"profile": "dev"}' in asked) is speaks


def test_claude_hears_of_the_profile_of_an_mcp_server(claude: Machine) -> None:
    write_profiles(claude.home, {"ops": -90, "corp": 300})
    script = claude.home / "kb.py"
    script.write_text(FAILING_SERVER)
    argv = shlex.join([sys.executable, str(script), EXPIRED])
    claude.run(f"claude mcp add -s user kb -e AWS_PROFILE=ops -- {argv}")
    wish = {"name": "mcp__kb__query", "input": {}}
    asked = asked_of_claude(claude, wish, "--allowedTools mcp__kb__query")
    assert EXPIRED in asked
    assert 'refresh_aws_sso_token with {"profile": "ops"}' in asked


@pytest.mark.parametrize(
    ("minutes_left", "words"),
    [
        (-90, "The AWS SSO token of profile 'dev' expired 90 minutes ago."),
        (12, '{"profile": "dev", "force": true}'),
        (300, None),
    ],
)
def test_claude_hears_at_the_start_that_a_token_has_expired(
    claude: Machine, minutes_left: float, words: str | None
) -> None:
    write_profiles(claude.home, {"dev": minutes_left})
    asked = asked_of_claude(claude, {"name": "none", "input": {}})
    if words is None:
        assert "AWS SSO token of profile" not in asked
    else:
        assert words in asked


def test_claude_passes_the_option_of_the_plugin(claude: Machine) -> None:
    write_profiles(claude.home, {"ops": -90, "dev": 300})
    option = json.dumps({"profile": "ops"})
    claude.run(
        f"echo {shlex.quote(option)} | claude plugin configure {PLUGIN} --values-stdin"
    )
    asked = asked_of_claude(claude, {"name": "none", "input": {}})
    assert "The AWS SSO token of profile 'ops' expired" in asked


# --- Other hosts, whose users add the hook to a file of theirs -----------------------------

EXPIRED_OPS = "The AWS SSO token of profile 'ops' expired 90 minutes ago."
COMMAND = f"echo {EXPIRED}; exit 255 # --profile ops"


def entry_of_page(file: str) -> dict[str, Any]:
    """Return what docs/clients.md tells users to write into a file below `~`."""
    page = (ROOT / "docs" / "clients.md").read_text()
    section = page.partition("\n## The hook\n")[2]
    block = section.partition(f"`~/{file}`")[2].partition("```json\n")[2]
    text = block.partition("```")[0]
    assert " /path/to/aws_sso_mcp.py hook" in text
    entry: dict[str, Any] = json.loads(
        text.replace("/path/to/aws_sso_mcp.py", str(SERVER))
    )
    return entry


def failing_server(home: Path) -> dict[str, Any]:
    """Return the entry of an MCP server that fails, and runs with profile `ops`."""
    script = home / "kb.py"
    script.write_text(FAILING_SERVER)
    environment = {"AWS_PROFILE": "ops"}
    return {
        "command": sys.executable,
        "args": [str(script), EXPIRED],
        "env": environment,
    }


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("last_used", ["dev", "ops"])
def test_codex_hears_of_a_failed_command_and_at_the_start(
    machine: Machine, last_used: str
) -> None:
    install_host(machine, "codex")
    file = ".codex/hooks.json"
    write_json(machine.home / file, entry_of_page(file))
    command = COMMAND
    if last_used == "ops":
        write_profiles(machine.home, {"dev": 300, "ops": -90})
        command = "true"
    else:
        write_profiles(machine.home, {"ops": -90, "dev": 300})
    with Responses("exec_command", {"cmd": command}) as model:
        url = f"http://127.0.0.1:{model.server_port}/v1"
        provider = f'{{name="x", base_url="{url}", wire_api="responses"}}'
        options = (
            "--skip-git-repo-check --dangerously-bypass-approvals-and-sandbox"
            # A user reviews new hooks once, with /hooks.
            " --dangerously-bypass-hook-trust -c model=x -c model_provider=x"
        )
        said = machine.run(
            f"codex exec {options} -c {shlex.quote(f'model_providers.x={provider}')} go"
        )
    assert "done" in said
    assert EXPIRED_OPS in model.asked[-1]
    assert (EXPIRED_OPS in model.asked[0]) is (last_used == "ops")


@pytest.mark.parametrize("last_used", ["dev", "ops"])
def test_gemini_hears_of_a_failed_command_and_at_the_start(
    machine: Machine, last_used: str
) -> None:
    install_host(machine, "gemini")
    file = ".gemini/settings.json"
    settings = entry_of_page(file)
    settings["security"] = {"auth": {"selectedType": "gemini-api-key"}}
    write_json(machine.home / file, settings)
    command = COMMAND
    if last_used == "ops":
        write_profiles(machine.home, {"dev": 300, "ops": -90})
        command = "true"
    else:
        write_profiles(machine.home, {"ops": -90, "dev": 300})
    with OneCall("run_shell_command", {"command": command}) as model:
        said = machine.run(
            "gemini -m gemini-2.5-pro --yolo -p go", env=model.environment()
        )
    assert "done" in said
    assert EXPIRED_OPS in model.asked[-1]
    assert (EXPIRED_OPS in model.asked[0]) is (last_used == "ops")


@pytest.mark.parametrize(
    ("tool", "arguments", "last_used"),
    [
        ("bash", {"command": COMMAND, "description": "x"}, "dev"),
        ("query", {}, "dev"),
        ("bash", {"command": "true", "description": "x"}, "ops"),
    ],
)
def test_copilot_hears_of_failed_tools_and_at_the_start(
    machine: Machine, tool: str, arguments: dict[str, Any], last_used: str
) -> None:
    install_host(machine, "copilot")
    # With a capital letter, Copilot CLI names event and keys as Claude Code does.
    file = ".copilot/hooks/aws-sso.json"
    write_json(machine.home / file, entry_of_page(file))
    entry = {"type": "local", "tools": ["*"], **failing_server(machine.home)}
    servers = {"mcpServers": {"kb": entry}}
    write_json(machine.home / ".copilot" / "mcp-config.json", servers)
    if last_used == "ops":
        write_profiles(machine.home, {"dev": 300, "ops": -90})
    else:
        write_profiles(machine.home, {"ops": -90, "dev": 300})
    with OneCall(tool, arguments) as model:
        said = machine.run(
            "copilot -p go --allow-all-tools --disable-builtin-mcps",
            env=model.environment(),
        )
    assert "done" in said
    assert EXPIRED_OPS in model.asked[-1]
    assert (EXPIRED_OPS in model.asked[0]) is (last_used == "ops")
