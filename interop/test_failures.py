"""What failed commands really print, and what our hook makes of it.

`failures.json` holds outputs of many tools: of an expired SSO session, of failures that look like
one and are another's, and of failures that only mention the same words.
"""

from __future__ import annotations

import json
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


def test_corpus_is_large() -> None:
    sizes = [len(CORPUS[key]) for key in ("expired", "look_alike", "harmless")]
    assert sizes >= [70, 45, 200]


HOSTILE = ["x509: ", "InvalidGrant", "unable to refresh SSO token", "request send failed, https:"]


@pytest.mark.parametrize("piece", [*"\"'\n│\\", "Error: ", "\x1b[", *HOSTILE], ids=ascii)
def test_hostile_output_takes_no_time(piece: str) -> None:
    started = time.process_time()
    aws_sso_mcp.diagnosis(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 1
