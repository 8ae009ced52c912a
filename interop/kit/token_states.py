"""Homes whose token is good, expired, absent, or not configured, and what the hook says there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from kit import inside

if TYPE_CHECKING:
    from pathlib import Path

GOOD, EXPIRED, ABSENT, NO_CONFIG = "good", "expired", "absent", "no config"
STATES = (GOOD, EXPIRED, ABSENT, NO_CONFIG)
MINUTES_LEFT = {GOOD: 300.0, EXPIRED: -90.0}
TEAM = "team"  # the profile that a refresh takes when nobody names one
SESSION = """\
[sso-session {session}]
sso_start_url = https://{session}.awsapps.com/start
sso_region = us-east-1

[profile {profile}]
sso_session = {session}
sso_account_id = 111122223333
sso_role_name = Reader

"""


class Heard(NamedTuple):
    """What the hook said: its text, and the arguments of the call that it named."""

    text: str
    arguments: Any  # None where it named no call


def write_home(home: Path, state: str, profile: str | None) -> None:
    """Write the config and the tokens of `team`, and of a profile of another session."""
    if state == NO_CONFIG:
        return
    sessions = {TEAM: "of-team"}
    if profile and profile != TEAM:
        sessions[profile] = "of-other"
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    texts = [
        SESSION.format(profile=f'"{name}"', session=session)
        for name, session in sessions.items()
    ]
    (home / ".aws" / "config").write_text("".join(texts), encoding="utf-8")
    if state == ABSENT:
        return
    ends = time.gmtime(time.time() + 60 * MINUTES_LEFT[state])
    token = {"accessToken": "x", "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", ends)}
    for age_s, session in enumerate(sessions.values(), 60):  # the team's was used last
        file = cache / f"{hashlib.sha1(session.encode()).hexdigest()}.json"
        file.write_text(json.dumps(token))
        os.utime(file, (time.time() - age_s, time.time() - age_s))


def hear(home: Path, command: str, output: str) -> Heard | None:
    """Return what the hook says in such a home of a shell's command that failed."""
    event = {
        "hook_event_name": "PostToolUseFailure",
        "tool_name": "Bash",
        "tool_input": {"command": command},
        "error": output,
    }
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    with mock.patch.dict(os.environ, environment, clear=True):
        answer = inside.hook_answer(event)
    if answer is None:
        return None
    text = answer["hookSpecificOutput"]["additionalContext"]
    _, named, call = text.partition("refresh_aws_sso_token with ")
    arguments = json.JSONDecoder().raw_decode(call)[0] if named else None
    return Heard(text, arguments)
