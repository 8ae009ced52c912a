"""Fewest clicks in every state of the caches, with the real AWS CLI.

A state combines what is cached with what asks for it; `is_possible` excludes what cannot be: 172
states for an AWS CLI, 516 for three. Every run tries 154 of them (`is_usual`); with
AWS_SSO_MCP_ALL_STATES set, it tries all.
"""

from __future__ import annotations

import itertools
import os
import shlex
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
    """What is cached at the time of a call, and for which kind of profile."""

    aws: str
    profile: str
    token: str
    refresh_token: str
    role_credentials: str


PROFILES = {  # kind -> name
    "role": "dev",
    "no role": "plain",  # another profile of its session has a role
    "no role at all": "plain",
    "not assigned": "ops",  # a role that is not assigned: no login can help
    "legacy": "old",
    "chained": "deploy",  # its role is assumed by `dev`
}
TOKENS = {  # kind -> seconds until it expires
    "absent": 0,
    "valid": HOUR_S,
    "expiring": 2 * MINUTE_S,
    "expired": -HOUR_S,
    "revoked": HOUR_S,  # not by the clock: AWS refuses it
    "torn": HOUR_S,
}
REFRESH_TOKENS = ("none", "good", "refused")
ROLE_CREDENTIALS = {"none": 0, "short": 10 * MINUTE_S, "8 hours": 8 * HOUR_S}


def is_possible(state: State) -> bool:
    """Return whether a state is possible: only tokens of an sso-session have a refresh token."""
    has_refresh_token = (
        state.token not in ("absent", "torn") and state.profile != "legacy"
    )
    has_role = state.profile not in ("no role at all", "not assigned")
    return (has_refresh_token or state.refresh_token == "none") and (
        has_role or state.role_credentials == "none"
    )


STATES = [
    state
    for state in itertools.starmap(
        State,
        itertools.product(AWS_V2, PROFILES, TOKENS, REFRESH_TOKENS, ROLE_CREDENTIALS),
    )
    if is_possible(state)
]


def is_accepted(state: State) -> bool:
    """Return whether the AWS CLI can use the profile for more than some minutes.

    With cached role credentials it needs no token. Without a role, nobody can ask AWS.
    """
    is_hidden = state.role_credentials == "8 hours" or state.profile == "no role at all"
    return state.token == "valid" or (state.token == "revoked" and is_hidden)


def is_silent(state: State) -> bool:
    """Return whether a valid token can be had without the user.

    The AWS CLI refreshes a token only within the last quarter of an hour of its life.
    """
    is_due = state.token in ("expiring", "expired")
    return is_accepted(state) or (is_due and state.refresh_token == "good")


class Outcome(NamedTuple):
    status: str
    pages: int
    logins: int
    """Logins that the AWS CLI started."""
    is_token_good: bool
    """Whether AWS accepts the token that is cached at the end."""


def right_outcome(state: State) -> Outcome:
    pages = 1
    status = "logged_in"
    if is_silent(state):
        pages = 0
        status = "refreshed"
    if is_accepted(state):
        status = "valid"
    if state.profile == "not assigned":
        status = "failed"
    keeps_revoked_token = is_accepted(state) and state.token == "revoked"
    return Outcome(status, pages, pages, not keeps_revoked_token)


# --- What a state is in files -----------------------------------------------------------

PLAIN = "[profile plain]\nsso_session = corp\n"


def config(state: State) -> str:
    text = CONFIG.format(start_url=START_URL)
    if state.profile == "no role at all":
        text = text.partition("[profile")[0]
    return text + PLAIN


def arrange(place: Workplace, state: State) -> None:
    """Write the caches of a state."""
    place.write_config(config(state))
    session = (
        {"startUrl": START_URL}
        if state.profile == "legacy"
        else {"sessionName": "corp"}
    )
    (key,) = session.values()
    place.centre.refuse_refresh = state.refresh_token == "refused"
    if state.token != "absent":
        is_refreshable = state.refresh_token != "none"
        is_revoked = state.token == "revoked"
        lifetime_s = TOKENS[state.token]
        token = place.centre.issue_token(
            lifetime_s, refreshable=is_refreshable, revoked=is_revoked
        )
        place.keep_token(token, key)
    if state.token == "torn":
        path = place.token_path(key)
        path.write_text(path.read_text()[:-40])
    if state.role_credentials != "none":
        place.keep_role_credentials(ROLE_CREDENTIALS[state.role_credentials], **session)


def run(folder: Path, state: State) -> Outcome:
    """Return the effect of a call in a state."""
    with IdentityCenter() as centre:
        place = Workplace(folder, centre, state.aws)
        arrange(place, state)
        with server(place, AWS_SSO_MCP_WAIT_SECONDS="40") as client:
            answer = outcome(client, profile=PROFILES[state.profile])
        assert place.secrets_written() == set()
        logins = centre.calls.count("RegisterClient")
        key = START_URL if state.profile == "legacy" else "corp"
        is_token_good = centre.accepts(place.token(key)["accessToken"])
        return Outcome(answer["status"], len(centre.pages), logins, is_token_good)


# --- All of them ------------------------------------------------------------------------


def test_rules_cover_every_possible_state() -> None:
    assert Counter(state.aws for state in STATES) == dict.fromkeys(AWS_V2, 172)


def is_usual(state: State) -> bool:
    """Return whether every run tries a state; these take 80 s on two cores.

    test_login.py has most of those without role credentials, with every AWS CLI.
    """
    is_due = state.token in ("expiring", "expired")
    if state.profile == "role":
        is_hidden = state.role_credentials == "8 hours" and state.token != "valid"
        return state.aws == "aws-newest" or (is_due and is_hidden)
    is_like_another = state.role_credentials == "short" or (
        state.refresh_token == "refused" and not is_due
    )
    return state.aws == "aws-newest" and not is_like_another


def groups() -> Iterator[Any]:
    """Yield the groups of states that one test tries at the same time."""
    is_all = "AWS_SSO_MCP_ALL_STATES" in os.environ
    tried = [state for state in STATES if is_all or is_usual(state)]
    for (aws, profile, token), group in itertools.groupby(
        tried, lambda state: state[:3]
    ):
        states = list(group)
        yield pytest.param(aws, states, id=f"{aws}-{profile}-{token}-{len(states)}")


@pytest.mark.parametrize(("aws", "states"), list(groups()))
def test_no_page_opens_where_a_silent_refresh_is_possible(
    tmp_path: Path, aws: str, states: list[State]
) -> None:
    need(aws)
    folders = [tmp_path / str(number) for number in range(len(states))]
    with ThreadPoolExecutor(3) as executor:
        found = dict(zip(states, executor.map(run, folders, states)))
    right = {state: right_outcome(state) for state in states}
    wrong = {
        state: (found[state], right[state])
        for state in states
        if found[state] != right[state]
    }
    assert wrong == {}, "found, right"


# --- Renewals that something might be in the way of -------------------------------------


def test_every_refresh_brings_a_new_token(place: Workplace) -> None:
    """The CLI asks for a role that is not assigned, with either of AWS's answers."""
    place.keep_role_credentials(8 * HOUR_S, sessionName="corp")
    answers = ("ForbiddenException", "ResourceNotFoundException", *2 * ("",))
    with server(place) as client:
        for renewals, place.centre.unassigned in enumerate(answers, 1):
            place.keep_token(place.centre.issue_token(-HOUR_S, refreshable=True))
            assert client.refresh(profile="dev")["status"] == "refreshed"
            assert place.centre.calls.count("CreateToken:refresh_token") == renewals
            assert place.centre.accepts(place.token()["accessToken"])
    assert place.centre.pages == []


SESSION = """\
[profile {profile}]
sso_session = {name}
sso_account_id = 123456789012
sso_role_name = Developer

[sso-session {quoted}]
sso_start_url = {start_url}
sso_region = us-east-1
"""
SESSION_NAMES = {"a": "my corp", "b": "bob's", "c": "日本", "d": 'x "y" \\z #1'}


def test_session_names_that_need_quotes_work(place: Workplace) -> None:
    sections = []
    for profile, name in SESSION_NAMES.items():
        names = {"profile": profile, "name": name, "quoted": shlex.quote(name)}
        sections.append(SESSION.format(start_url=START_URL, **names))
        place.keep_token(place.centre.issue_token(-HOUR_S, refreshable=True), name)
        place.keep_role_credentials(8 * HOUR_S, sessionName=name)
    place.write_config("".join(sections))
    with server(place, LANG="C.UTF-8") as client:
        calls = [client.call(profile=profile) for profile in SESSION_NAMES]
        answers = [client.result(call) for call in calls]
    found = [(answer["ssoSession"], answer["status"]) for answer in answers]
    assert found == [(name, "refreshed") for name in SESSION_NAMES.values()]
    assert place.centre.calls.count("CreateToken:refresh_token") == len(SESSION_NAMES)
    assert place.centre.pages == []


def test_ca_bundle_of_the_profile_is_used(place: Workplace) -> None:
    environment = place.environment()
    text = CONFIG.format(start_url=START_URL)
    bundle = f"[profile dev]\nca_bundle = {environment['AWS_CA_BUNDLE']}\n"
    place.write_config(text.replace("[profile dev]\n", bundle))
    place.keep_token(place.centre.issue_token(-HOUR_S, refreshable=True))
    with server(place, AWS_CA_BUNDLE=None, AWS_SSO_MCP_WAIT_SECONDS="40") as client:
        assert client.refresh(profile="dev")["status"] == "refreshed"
    assert place.centre.pages == []


def test_no_page_opens_while_aws_cannot_be_reached(place: Workplace) -> None:
    """A laptop that has just woken up: without a network, a page would be useless."""
    place.run_login()
    place.expire_token()
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1")
    with server(place, **nowhere) as client:
        assert client.refresh(profile="dev")["reason"] == "proxy"
    with server(place) as client:
        place.centre.fail(
            "CreateToken", "html"
        )  # a hotel's network that wants a click first
        assert client.refresh(profile="dev")["reason"] == "aws_error"
        assert client.refresh(profile="dev")["status"] == "refreshed"
    assert len(place.centre.pages) == 1
