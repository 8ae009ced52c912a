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

import aws_sso_mcp

CORPUS = json.loads((Path(__file__).parent / "failures.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", CORPUS["expired"], ids=lambda entry: entry["where"])
def test_expired_session_leads_to_the_tool(entry: dict[str, str]) -> None:
    found = aws_sso_mcp.diagnosis(entry["text"])
    assert found is not None
    assert found[0] == "session_expired"


@pytest.mark.parametrize("entry", CORPUS["look_alike"], ids=lambda entry: entry["where"])
def test_look_alike_gets_its_own_next_step(entry: dict[str, str]) -> None:
    found = aws_sso_mcp.diagnosis(entry["text"])
    assert found is not None
    assert found[0] == entry["reason"]


@pytest.mark.parametrize("text", CORPUS["harmless"], ids=range(len(CORPUS["harmless"])))
def test_same_words_elsewhere_raise_no_alarm(text: str) -> None:
    assert aws_sso_mcp.diagnosis(text) is None


# --- The skill, which says the same to a model ------------------------------------------

SKILL = (Path(__file__).parents[2] / "skills" / "aws-sso-refresh" / "SKILL.md").read_text("utf-8")


def quoted(section: str, last_cell: str = "") -> list[list[str]]:
    """Return the texts that the tables of a section quote, each as its parts around `...`."""
    text = SKILL.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|") and last_cell in line]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row.split("|")[1])]
    return [[part.strip() for part in re.split(r"\.\.\.|X", span)] for span in spans]


def prints(parts: list[str], entries: list[dict[str, str]]) -> bool:
    """Tell whether a tool is known to print a text of these parts."""
    return any(all(part in entry["text"] for part in parts) for entry in entries)


def test_skill_and_hook_agree() -> None:
    refresh, status = quoted("When", "| refresh |"), quoted("When", "get the status")
    never = quoted("When not")
    assert min(map(len, (refresh, status, never))) > 2
    unknown = [parts for parts in refresh if not prints(parts, CORPUS["expired"])]
    unknown += [parts for parts in status + never if not prints(parts, CORPUS["look_alike"])]
    assert unknown == []


def test_corpus_is_large() -> None:
    sizes = [len(CORPUS[key]) for key in ("expired", "look_alike", "harmless")]
    assert sizes >= [70, 45, 200]


HOSTILE = ["x509: ", "InvalidGrant", "unable to refresh SSO token", "request send failed, https:"]


@pytest.mark.parametrize("piece", [*"\"'\n│\\", "Error: ", "\x1b[", *HOSTILE], ids=ascii)
def test_hostile_output_takes_no_time(piece: str) -> None:
    started = time.process_time()
    aws_sso_mcp.diagnosis(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 1
