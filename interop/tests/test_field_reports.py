"""What people's commands and MCP configurations really look like, and what we make of them.

`field_reports.json` comes from public reports, `own_reports.json` from our own search. The hook is
tried with a token that is good, expired or absent, and without a config. Of each kind a share must
be right; what is not stands in the message.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from kit import inside
from kit.inside import find_trigger
from kit.token_states import (
    ABSENT,
    EXPIRED,
    GOOD,
    NO_CONFIG,
    STATES,
    TEAM,
    hear,
    write_home,
)

REPORTS = {
    name: json.loads(
        (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")
    )
    for name in ("field_reports", "own_reports")
}
SHARE = {"field_reports": 0.97, "own_reports": 0.95}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("state", STATES)
def test_hook(name: str, state: str, tmp_path: Path) -> None:
    """Every report of an expired token is answered; what is said is true of the token."""
    wrong: list[tuple[str, Any]] = []
    count = 0
    for case in REPORTS[name]["hook"]:
        home = tmp_path / case["id"]
        write_home(home, state, case["profile"])
        heard = hear(home, case["command"], case["output"])
        profile = case["profile"] or TEAM
        trigger = find_trigger(case["output"])
        right: list[Any] = [None if heard is None else heard.arguments]
        if state == GOOD and trigger == "refused":
            right = [{"profile": profile, "force": True}]
        elif state == GOOD:
            right = [None]
        elif state == NO_CONFIG:
            right = [None, {}]
        elif case["right"] == "refresh":
            right = [{"profile": profile}]
        if case["right"] == "refresh":
            count += 1
        if (None if heard is None else heard.arguments) not in right:
            wrong.append((case["id"], heard))
        if heard and state in (EXPIRED, ABSENT):
            assert heard.text.startswith(TRUE[state]), case["id"]
    assert len(wrong) <= (1 - SHARE[name]) * count, wrong


TRUE = {
    EXPIRED: "The AWS SSO token of profile ",
    ABSENT: "There is no AWS SSO token for profile ",
}


@pytest.mark.parametrize("name", REPORTS)
def test_hook_is_silent_where_the_token_is_good(name: str, tmp_path: Path) -> None:
    """A command of another kind says nothing, but for AWS's whole sentence of a refusal."""
    alarms = []
    cases = [case for case in REPORTS[name]["hook"] if case["right"] != "refresh"]
    for case in cases:
        home = tmp_path / case["id"]
        write_home(home, GOOD, case["profile"])
        if hear(home, case["command"], case["output"]):
            alarms.append(case["id"])
    assert len(alarms) <= 1, alarms


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
