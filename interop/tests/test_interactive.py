"""Claude Code as a user sees it: in a terminal, with a stand-in for its model.

Each test waits for what the screen shows or what the model, the server or AWS were asked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from kit.components import need
from kit.hosts import (
    Anthropic,
    Bedrock,
    PatientAnthropic,
    answer_first_questions,
    install_claude_with_plugin,
    open_claude,
    open_claude_on_bedrock,
    results_of_claude,
    started_claude,
    variables_of_claude,
)
from kit.model import REFRESH
from kit.processes import processes_left, soon
from kit.profiles import EXPIRED, write_profiles
from kit.terminal import DOWN, ENTER, ESCAPE, RIGHT
from kit.wire import MODERN, recordings
from kit.workplace import ROOT, SERVER, visit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.machine import Machine
    from kit.terminal import Terminal
    from kit.wire import Recording
    from kit.workplace import Workplace

COLUMNS = (80, 140)
REMOTE: dict[str, str | None] = {"AWS_SSO_MCP_LOGIN": "device", "BROWSER": None}
NO_TASKS = {"CLAUDE_CODE_DISABLE_MCP_TASKS": "1"}
EXTENSION = "io.modelcontextprotocol/tasks"
DIALOG = "MCP server “aws-sso” wants to open a URL"
POINTER = "❯"  # noqa: RUF001 (before what is selected)
NOTIFICATION = "<task-notification>"


@pytest.fixture
def model() -> Iterator[PatientAnthropic]:
    need("claude-code")
    with PatientAnthropic() as model:
        yield model


def say_go(terminal: Terminal) -> None:
    terminal.press(*"go")
    terminal.wait_for(f"{POINTER} go")
    terminal.press(ENTER)


def end(terminal: Terminal, place: Workplace) -> None:
    """Close the terminal, as a user does. No server is left."""
    terminal.close()
    assert processes_left(place.home) == []


def recording(place: Workplace) -> Recording:
    [recording] = [each for each in recordings(place.wrote) if each.spoken()]
    return recording


def asked(place: Workplace, method: str) -> list[dict[str, Any]]:
    """Return the parameters of the requests and notifications of this method so far."""
    found = []
    for path in place.wrote.glob("in.*"):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                message = json.loads(line)
                if message.get("method") == method:
                    found.append(message["params"])
    return found


def question_of_task(place: Workplace) -> dict[str, Any]:
    """Return the elicitation that the server asked for within a task."""
    for message in recording(place).said:
        questions = message.get("result", {}).get("inputRequests", {})
        if "login" in questions:
            question: dict[str, Any] = questions["login"]["params"]
            return question
    raise AssertionError("no question")


# --- Connection ------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", COLUMNS)
def test_mcp_command_shows_the_server_and_its_tools(
    recorded: Workplace, model: PatientAnthropic, columns: int
) -> None:
    terminal = open_claude(recorded, model, columns)
    try:
        terminal.press(*"/mcp")
        terminal.wait_for("/mcp")
        terminal.press(ENTER)
        terminal.wait_for("✔ aws-sso", "2 tools")
        terminal.press(ENTER)
        terminal.wait_for("✔ connected", f"Protocol: {MODERN}", "View tools")
        terminal.press(ENTER)
        terminal.wait_for(REFRESH, "get_aws_sso_status read-only")
        terminal.press(ENTER)
        # The end of the last parameter's description: nothing of it is cut.
        terminal.wait_for("when the sign-in page of a pending login shows an error.")
    finally:
        end(terminal, recorded)
    [discovery] = asked(recorded, "server/discover")
    capabilities = discovery["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert EXTENSION in capabilities["extensions"]
    assert "url" in capabilities["elicitation"]


# --- A login as a task -----------------------------------------------------------------------


@pytest.mark.parametrize("columns", COLUMNS)
def test_model_hears_of_the_end_of_a_login_without_a_second_call(
    recorded: Workplace, model: PatientAnthropic, columns: int
) -> None:
    terminal = open_claude(recorded, model, columns)
    try:
        say_go(terminal)
        # The model is free while the page waits.
        terminal.wait_for("● done", "1 MCP task still running")
        assert len(model.turns) == 2
        assert "server-side task" in model.turns[-1]
        assert recorded.centre.wait_for(lambda: bool(recorded.centre.pages))
        recorded.centre.approve_now()
        assert model.wait_for(lambda: NOTIFICATION in model.turns[-1])
        terminal.wait_for(f"(aws-sso/{REFRESH}) completed.")
    finally:
        end(terminal, recorded)
    assert model.statuses() == ["logged_in"]
    assert len(model.turns) == 3
    assert len(asked(recorded, "tools/call")) == 1
    assert len(recorded.centre.pages) == 1


def test_list_of_tasks_shows_the_page_and_can_stop_the_login(
    recorded: Workplace, model: PatientAnthropic
) -> None:
    terminal = open_claude(recorded, model, 140)
    try:
        say_go(terminal)
        terminal.wait_for("1 MCP task still running")
        terminal.press(DOWN, ENTER)
        terminal.wait_for(f"aws-sso/{REFRESH}", "A sign-in page should have opened")
        terminal.press("x")
        assert soon(lambda: asked(recorded, "tasks/cancel") != [])
    finally:
        end(terminal, recorded)
    assert asked(recorded, "notifications/cancelled") == []


# --- The dialog ------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", COLUMNS)
def test_dialog_shows_the_code_and_opens_the_page(
    recorded: Workplace, model: PatientAnthropic, columns: int
) -> None:
    recorded.centre.approval = "approve"
    terminal = open_claude(recorded, model, columns, environment=REMOTE)
    try:
        say_go(terminal)
        terminal.wait_for(DIALOG, f"{POINTER} Open in browser", "Decline")
        question = question_of_task(recorded)
        code = question["url"].rpartition("=")[2]
        # What protects the user is not cut off, however narrow the terminal is.
        screen = terminal.wait_for(
            f"Approve only if the page shows {code}.", question["url"]
        )
        assert ("asks for an AWS login." in screen) is (columns == 140)
        terminal.press(ENTER)
        terminal.wait_for("Open again", f"{POINTER} I'm done, continue")
        visit(recorded, question["url"])
        terminal.press(ENTER)
        assert model.wait_for(lambda: NOTIFICATION in model.turns[-1])
        terminal.wait_until_gone(DIALOG)
    finally:
        end(terminal, recorded)
    assert model.statuses() == ["logged_in"]
    [update] = asked(recorded, "tasks/update")
    assert update["inputResponses"] == {"login": {"action": "accept"}}


def test_declined_dialog_tells_the_model_the_url(
    recorded: Workplace, model: PatientAnthropic
) -> None:
    terminal = open_claude(recorded, model, environment=REMOTE)
    try:
        say_go(terminal)
        terminal.wait_for(DIALOG, f"{POINTER} Open in browser")
        terminal.press(RIGHT, RIGHT)
        terminal.wait_for(f"{POINTER} Decline")
        terminal.press(ENTER)
        assert model.wait_for(lambda: NOTIFICATION in model.turns[-1])
    finally:
        end(terminal, recorded)
    assert model.statuses() == ["pending"]
    assert question_of_task(recorded)["url"] in model.turns[-1]


def test_dialog_that_was_put_off_can_be_answered_later(
    recorded: Workplace, model: PatientAnthropic
) -> None:
    recorded.centre.approval = "approve"
    terminal = open_claude(recorded, model, environment=REMOTE)
    try:
        say_go(terminal)
        terminal.wait_for(DIALOG, "1 MCP task still running")
        terminal.press(ESCAPE)
        terminal.wait_until_gone(DIALOG)
        terminal.wait_for("needs your input")
        terminal.press(DOWN, ENTER)
        terminal.wait_for("The server is waiting for your answer")
        terminal.press(ENTER)
        terminal.wait_for(DIALOG)
        terminal.press(ENTER)
        terminal.wait_for(f"{POINTER} I'm done, continue")
        visit(recorded, question_of_task(recorded)["url"])
        terminal.press(ENTER)
        assert model.wait_for(lambda: NOTIFICATION in model.turns[-1])
    finally:
        end(terminal, recorded)
    assert model.statuses() == ["logged_in"]


# --- Without tasks ---------------------------------------------------------------------------


def test_progress_is_shown_and_escape_cancels_the_call(
    recorded: Workplace, model: PatientAnthropic
) -> None:
    terminal = open_claude(recorded, model, 140, NO_TASKS)
    try:
        say_go(terminal)
        terminal.wait_for("A sign-in page should have opened")
        terminal.press(ESCAPE)
        assert soon(lambda: asked(recorded, "notifications/cancelled") != [])
        terminal.wait_for("Interrupted")
    finally:
        end(terminal, recorded)
    cancelled = recording(recorded).cancelled()
    assert len(cancelled) == 1
    assert not set(cancelled) & set(recording(recorded).answered())
    assert len(recorded.centre.pages) == 1


def test_model_without_tasks_calls_again_until_the_login_has_ended(
    recorded: Workplace, model: PatientAnthropic
) -> None:
    wait = {"AWS_SSO_MCP_WAIT_SECONDS": "1"}
    terminal = open_claude(recorded, model, 80, NO_TASKS, wait)
    try:
        say_go(terminal)
        assert model.wait_for(lambda: len(model.turns) > 3)
        recorded.centre.approve_now()
        terminal.wait_for("● done")
    finally:
        end(terminal, recorded)
    *pending, last = model.statuses()
    assert set(pending) == {"pending"}
    assert last in ("logged_in", "valid")
    # Each `pending` costs a turn of the model, in which the user cannot do anything else.
    assert len(model.turns) == len(pending) + 2
    assert len(recorded.centre.pages) == 1


# --- The plugin ------------------------------------------------------------------------------

SKILL = {"name": "Skill", "input": {"skill": "aws-sso-mcp:aws-sso-refresh"}}
BODY_OF_SKILL = "# Refresh an AWS SSO token"


@pytest.fixture
def claude(machine: Machine) -> Machine:
    """Claude Code with the plugin."""
    install_claude_with_plugin(machine)
    return machine


def open_plugin(claude: Machine, model: Anthropic) -> Terminal:
    """Start Claude Code with the plugin in a terminal.

    In its default mode it would ask the model whether a command is harmless.
    """
    folder = claude.folder / "work"
    answer_first_questions(claude.home / ".claude", folder)
    environment = {**claude.environment(), **variables_of_claude(model)}
    argv = [str(claude.folder / "bin/claude"), "--permission-mode", "acceptEdits"]
    return started_claude(argv, environment, folder, 80, "accept edits on")


def test_skill_is_loaded_without_a_question(claude: Machine) -> None:
    with Anthropic(SKILL) as model:
        terminal = open_plugin(claude, model)
        try:
            say_go(terminal)
            assert model.wait_for(lambda: model.results != [])
            terminal.wait_for("● done")
        finally:
            terminal.close()
    assert BODY_OF_SKILL in model.results[-1]


def test_skill_is_loaded_without_a_terminal(claude: Machine) -> None:
    assert BODY_OF_SKILL in results_of_claude(claude, SKILL)


def test_hook_tells_the_model_of_an_expired_token(claude: Machine) -> None:
    write_profiles(claude.home, {"ops": -90, "dev": 300})
    command = f"echo {EXPIRED}; exit 255 # --profile ops"
    wish = {"name": "Bash", "input": {"command": command, "description": "run"}}
    settings = {"permissions": {"allow": ["Bash"]}}
    path = claude.home / ".claude" / "settings.json"
    settings = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps(settings))
    with Anthropic(wish) as model:
        terminal = open_plugin(claude, model)
        try:
            say_go(terminal)
            assert model.wait_for(lambda: model.results != [])
            terminal.wait_for("● done")
        finally:
            terminal.close()
    heard = model.results[-1].replace("\\", "")
    assert "The AWS SSO token of profile 'ops' expired 90 minutes ago." in heard
    assert 'refresh_aws_sso_token with {"profile": "ops"}' in heard


# --- Amazon Bedrock --------------------------------------------------------------------------


def test_login_command_of_bedrock_shows_page_and_code(recorded: Workplace) -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    [setting] = re.findall(r'{ "awsAuthRefresh": ".*" }', page)
    [program] = re.findall(r"/\S+/aws_sso_mcp.py", setting)
    setting = setting.replace(program, str(SERVER)).replace("NAME", "dev")
    recorded.centre.approval = "approve"
    with Bedrock() as bedrock:
        terminal = open_claude_on_bedrock(recorded, bedrock, json.loads(setting))
        try:
            # At its start, it shows nothing for 20 seconds.
            screen = terminal.wait_for("│ Sign-in", "shows the code", timeout_s=60)
            assert "✘" not in screen
            [url] = re.findall(r"https://\S+user_code=[A-Z]{4}-[A-Z]{4}", screen)
            visit(recorded, url)
            terminal.wait_until_gone("│ Sign-in")
            terminal.wait_for("auto mode on")
            assert soon(lambda: bedrock.signers != [])
        finally:
            end(terminal, recorded)
    assert recorded.token_path().exists()
