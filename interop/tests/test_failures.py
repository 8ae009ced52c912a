"""What failed commands really print, and what our hook makes of it.

`failures.json` holds outputs of many tools: of an expired SSO session, of failures that look like
one and are another's, and of failures that only mention the same words.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from kit.inside import find_trigger
from kit.token_states import ABSENT, EXPIRED, GOOD, TEAM, hear, write_home

CORPUS = json.loads(
    (Path(__file__).parent / "failures.json").read_text(encoding="utf-8")
)


EXPIRED_OUTPUTS = [entry["text"] for entry in CORPUS["expired"]]
OTHER_OUTPUTS = [entry["text"] for entry in CORPUS["look_alike"]] + CORPUS["harmless"]


@pytest.mark.parametrize("state", [EXPIRED, ABSENT])
def test_expired_token_leads_to_the_tool(state: str, tmp_path: Path) -> None:
    write_home(tmp_path, state, None)
    for output in EXPIRED_OUTPUTS:
        heard = hear(tmp_path, "make", output)
        assert heard, output
        assert heard.arguments == {"profile": TEAM}, output


def test_good_token_makes_the_hook_silent(tmp_path: Path) -> None:
    write_home(tmp_path, GOOD, None)
    for output in EXPIRED_OUTPUTS:
        heard = hear(tmp_path, "make", output)
        if find_trigger(output) == "refused":
            assert heard, output
            assert heard.arguments == {"profile": TEAM, "force": True}, output
        else:
            assert heard is None, output


def test_good_token_hardly_ever_raises_a_false_alarm(tmp_path: Path) -> None:
    """Only a whole sentence of AWS's about a refused token does, wherever it is shown."""
    write_home(tmp_path, GOOD, None)
    alarms = [output for output in OTHER_OUTPUTS if hear(tmp_path, "make", output)]
    for output in alarms:
        assert find_trigger(output) == "refused"
    assert len(alarms) <= 4


@pytest.mark.parametrize("state", [EXPIRED, ABSENT])
def test_what_the_hook_says_of_other_failures_is_true(
    state: str, tmp_path: Path
) -> None:
    write_home(tmp_path, state, None)
    true = {
        EXPIRED: "The AWS SSO token of profile 'team' expired 90 minutes ago.",
        ABSENT: "There is no AWS SSO token for profile 'team'.",
    }
    for output in OTHER_OUTPUTS:
        heard = hear(tmp_path, "make", output)
        assert heard is None or heard.text.startswith(true[state]), output


def test_without_a_config_only_sentences_of_aws_count(tmp_path: Path) -> None:
    silent = []
    for output in EXPIRED_OUTPUTS:
        heard = hear(tmp_path, "make", output)
        if heard is None:
            silent.append(output)
        else:
            assert heard.arguments == {}, output
            assert find_trigger(output) in ("expired", "refused")
    assert len(silent) <= 0.03 * len(EXPIRED_OUTPUTS), silent


# --- The skill, which says the same to a model ------------------------------------------

SKILL = (
    Path(__file__).parents[2] / "skills" / "aws-sso-refresh" / "SKILL.md"
).read_text("utf-8")


def quoted(section: str, last_cell: str = "") -> list[str]:
    """Return the texts that the tables of a section quote."""
    text = SKILL.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [
        line for line in text.splitlines() if line.startswith("|") and last_cell in line
    ]
    return [
        span for row in rows for span in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]


def test_skill_and_hook_agree() -> None:
    refresh, status = quoted("When", "| refresh |"), quoted("When", "get the status")
    never = quoted("When not")
    assert min(map(len, (refresh, status, never))) > 2
    for text in refresh:
        assert find_trigger(f"Error: run {text}"), text
    for text in status + never:
        parts = [part.strip() for part in text.split("...")]
        known = [
            each
            for each in CORPUS["look_alike"]
            if all(part in each["text"] for part in parts)
        ]
        assert known, text


def test_corpus_is_large() -> None:
    sizes = [len(CORPUS[key]) for key in ("expired", "look_alike", "harmless")]
    assert sizes >= [70, 45, 200]


HOSTILE = [
    "x509: ",
    "InvalidGrant",
    "unable to refresh SSO token",
    "request send failed, https:",
]


@pytest.mark.parametrize(
    "piece", [*"\"'\n│\\", "Error: ", "\x1b[", *HOSTILE], ids=ascii
)
def test_hostile_output_takes_no_time(piece: str, tmp_path: Path) -> None:
    write_home(tmp_path, EXPIRED, None)
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    hear(tmp_path, text, text)
    assert time.process_time() - started < 1
