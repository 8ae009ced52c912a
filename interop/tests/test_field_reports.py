"""What people's commands and MCP configurations really look like, and what we make of them.

`field_reports.json` comes from public reports, `own_reports.json` from our own search. Of each kind
a share must be right; what is not stands in the message. No look-alike may be called expired.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from kit import inside

REPORTS = {
    name: json.loads(
        (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")
    )
    for name in ("field_reports", "own_reports")
}
SHARE = {"field_reports": 0.95, "own_reports": 0.9}


def hook(case: dict[str, Any]) -> Any:
    """Return the arguments of the call that the hook names, None when it is silent."""
    event = {
        "hook_event_name": "PostToolUseFailure",
        "tool_name": "Bash",
        "error": case["output"],
    }
    event["tool_input"] = {"command": case["command"]}
    printed = inside.hook(event)
    if not printed:
        return None
    said = json.loads(printed)["hookSpecificOutput"]["additionalContext"]
    _, _, call = said.partition("refresh_aws_sso_token with ")
    return json.JSONDecoder().raw_decode(call)[0]


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("right", ["refresh", "silent", "advice"])
def test_hook(name: str, right: str) -> None:
    cases = [case for case in REPORTS[name]["hook"] if case["right"] == right]
    wrong = []
    for case in cases:
        call = {"profile": case["profile"]} if case["profile"] else {}
        wrong += (
            [case["id"]] if hook(case) != (call if right == "refresh" else None) else []
        )
    assert 1 - len(wrong) / len(cases) >= (1 if right == "advice" else SHARE[name]), (
        wrong
    )


@pytest.mark.parametrize("name", REPORTS)
def test_servers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = REPORTS[name]["server"]
    if sys.version_info < (3, 11):  # there Codex's TOML is not read
        cases = [
            case for case in cases if not any(".toml" in path for path in case["files"])
        ]
    for variable in [
        each for each in os.environ if each.startswith(("AWS_", "CLAUDE_"))
    ]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(sys, "platform", "linux")
    wrong = []
    for case in cases:
        home = tmp_path / case["id"]
        for path, text in case["files"].items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text, encoding="utf-8")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(home / "proj"))
        found = inside.profile_of_server(case["server"])
        wrong += [] if found == case["profile"] else [(case["id"], found)]
    assert 1 - len(wrong) / len(cases) >= SHARE[name], wrong
