"""Fewest clicks, whatever is cached: every state of a person's files, with the real AWS CLI.

A state is the product of what is cached and what asks for it, less the rules of `is_possible`:
158 for an AWS CLI, 474 for three. The newest is tried in all of them, the others with a profile
that has a role; where AWS_SSO_MCP_ALL_STATES is set, all three are tried in all.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kit.components import need
from kit.desk import outcome, server
from kit.identity_center import START_URL, IdentityCenter
from kit.workplace import AWS_V2, CONFIG, Workplace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE_S = 60
HOUR_S = 3600

# --- States -----------------------------------------------------------------------------


class State(NamedTuple):
    """What is cached when somebody calls, of which token and role are those that belong to it."""

    aws: str
    profile: str
    token: str
    refresh_token: str
    role_credentials: str


PROFILES = {  # kind -> the name of one in CONFIGS
    "role": "dev",
    "no role": "plain",  # another profile of its session has one
    "no role at all": "plain",
    "legacy": "old",
    "chained": "deploy",  # its role is assumed by `dev`
}
TOKENS = {  # kind -> seconds until it expires
    "absent": 0,
    "valid": HOUR_S,
    "expiring": 2 * MINUTE_S,
    "expired": -HOUR_S,
    "revoked": HOUR_S,  # by the clock: AWS refuses it
    "torn": HOUR_S,
}
REFRESH_TOKENS = ("none", "good", "refused")
ROLE_CREDENTIALS = {"none": 0, "short": 10 * MINUTE_S, "8 hours": 8 * HOUR_S}


def is_possible(state: State) -> bool:
    """Tell whether a state can be: only a token of an sso-session may have a refresh token."""
    has_refresh_token = state.token not in ("absent", "torn") and state.profile != "legacy"
    has_role = state.profile != "no role at all"
    return (has_refresh_token or state.refresh_token == "none") and (
        has_role or state.role_credentials == "none"
    )


STATES = [
    state
    for state in itertools.starmap(
        State, itertools.product(AWS_V2, PROFILES, TOKENS, REFRESH_TOKENS, ROLE_CREDENTIALS)
    )
    if is_possible(state)
]


def is_accepted(state: State) -> bool:
    """Tell whether the AWS CLI can use the profile as it is for more than some minutes.

    That needs no token where it has role credentials, and nobody can tell where there is no role
    to ask AWS through.
    """
    is_hidden = state.role_credentials == "8 hours" or state.profile == "no role at all"
    return state.token == "valid" or (state.token == "revoked" and is_hidden)


def is_silent(state: State) -> bool:
    """Tell whether there is a way to a good token that needs no person.

    The AWS CLI renews a token only within the last quarter of an hour of its life.
    """
    is_due = state.token in ("expiring", "expired")
    return is_accepted(state) or (is_due and state.refresh_token == "good")


class Outcome(NamedTuple):
    status: str
    pages: int
    logins: int
    """That the AWS CLI began."""
    is_token_good: bool
    """Whether AWS accepts the token that is cached in the end."""


def right_outcome(state: State) -> Outcome:
    pages = 0 if is_silent(state) else 1
    status = "valid" if is_accepted(state) else "logged_in" if pages else "refreshed"
    return Outcome(status, pages, pages, not (is_accepted(state) and state.token == "revoked"))


# --- What a state is in files -----------------------------------------------------------

PLAIN = "[profile plain]\nsso_session = corp\n"


def config(state: State) -> str:
    text = CONFIG.format(start_url=START_URL)
    if state.profile == "no role at all":
        text = text.partition("[profile")[0]
    return text + PLAIN


def arrange(place: Workplace, state: State) -> None:
    """Write what is cached."""
    place.write_config(config(state))
    session = {"startUrl": START_URL} if state.profile == "legacy" else {"sessionName": "corp"}
    (key,) = session.values()
    place.centre.refuse_refresh = state.refresh_token == "refused"
    if state.token != "absent":
        is_refreshable, is_revoked = state.refresh_token != "none", state.token == "revoked"
        lifetime_s = TOKENS[state.token]
        token = place.centre.issue_token(lifetime_s, refreshable=is_refreshable, revoked=is_revoked)
        place.keep_token(token, key)
    if state.token == "torn":
        path = place.token_path(key)
        path.write_text(path.read_text()[:-40])
    if state.role_credentials != "none":
        place.keep_role_credentials(ROLE_CREDENTIALS[state.role_credentials], **session)


def run(folder: Path, state: State) -> Outcome:
    """Return what a call does in a state."""
    with IdentityCenter() as centre:
        place = Workplace(folder, centre, state.aws)
        arrange(place, state)
        with server(place, AWS_SSO_MCP_WAIT_SECONDS="10") as client:
            answer = outcome(client, profile=PROFILES[state.profile])
        assert place.secrets_written() == set()
        logins = centre.calls.count("RegisterClient")
        key = START_URL if state.profile == "legacy" else "corp"
        is_token_good = centre.accepts(place.token(key)["accessToken"])
        return Outcome(answer["status"], len(centre.pages), logins, is_token_good)


# --- All of them ------------------------------------------------------------------------


def test_the_rules_leave_every_state_that_can_be() -> None:
    assert Counter(state.aws for state in STATES) == dict.fromkeys(AWS_V2, 158)


def groups() -> Iterator[Any]:
    """Yield the states that one test tries at the same time."""
    is_all = "AWS_SSO_MCP_ALL_STATES" in os.environ
    for (aws, profile, token), group in itertools.groupby(STATES, lambda state: state[:3]):
        if is_all or aws == "aws-newest" or profile == "role":
            states = list(group)
            yield pytest.param(aws, states, id=f"{aws}-{profile}-{token}-{len(states)}")


@pytest.mark.parametrize(("aws", "states"), list(groups()))
def test_no_page_where_a_silent_way_exists(tmp_path: Path, aws: str, states: list[State]) -> None:
    need(aws)
    folders = [tmp_path / str(number) for number in range(len(states))]
    with ThreadPoolExecutor(3) as executor:
        found = dict(zip(states, executor.map(run, folders, states)))
    right = {state: right_outcome(state) for state in states}
    wrong = {
        state: (found[state], right[state]) for state in states if found[state] != right[state]
    }
    assert wrong == {}, "found, right"
