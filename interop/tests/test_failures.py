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

from kit.inside import diagnosis

CORPUS = json.loads(
    (Path(__file__).parent / "failures.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("entry", CORPUS["expired"], ids=lambda entry: entry["where"])
def test_expired_session_leads_to_the_tool(entry: dict[str, str]) -> None:
    assert diagnosis(entry["text"]) == "session_expired"


@pytest.mark.parametrize(
    "entry", CORPUS["look_alike"], ids=lambda entry: entry["where"]
)
def test_look_alike_is_never_called_expired(entry: dict[str, str]) -> None:
    assert diagnosis(entry["text"]) is None


# What the hook takes for an expired token, as a rule for it would cost more than the odd alarm.
ODD = (
    "malformed patch at line 14: +The SSO session",  # the one line of a patch that `patch` quotes
    "Title underline too short.",  # a heading of reStructuredText is but a line of text
)


@pytest.mark.parametrize("text", CORPUS["harmless"], ids=range(len(CORPUS["harmless"])))
def test_same_words_elsewhere_raise_no_alarm(text: str) -> None:
    assert (diagnosis(text) is None) != any(odd in text for odd in ODD)


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
        assert diagnosis(f"Error: run {text}"), text
    for text in status + never:
        assert diagnosis(f"Error: {text}") is None, text
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
def test_hostile_output_takes_no_time(piece: str) -> None:
    started = time.process_time()
    diagnosis(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 1
