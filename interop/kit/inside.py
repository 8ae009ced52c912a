"""The only use of the server's own functions in interop; all else talks to a started server.

Property tests need millions of runs, so they call the server's functions directly. When those
change, only this file has to change.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Optional
from unittest import mock

import aws_sso_mcp
from aws_sso_mcp import Call, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Failure"]

DEADLINE_S = 20  # for work that takes milliseconds
CHUNK = 65536  # bytes that one read of a pipe returns
VERSION = aws_sso_mcp.__version__
TOOLS: dict[str, dict[str, Any]] = {
    name: tool.definition for name, tool in aws_sso_mcp.TOOLS.items()
}
MAX_LINE_BYTES = aws_sso_mcp.MAX_LINE_BYTES
MAX_OUTPUT_BYTES = aws_sso_mcp.MAX_OUTPUT_BYTES
MAX_COMPLAINTS = aws_sso_mcp.MAX_LOG_LINES


# --- Tools ------------------------------------------------------------------------------


def refresh(
    profile: str, *, limit_s: float = aws_sso_mcp.COMMAND_LIMIT_S
) -> dict[str, Any]:
    """Call the tool in this process; AWS CLI commands without a user have the limit `limit_s`."""
    with mock.patch.object(aws_sso_mcp.run_aws, "__defaults__", (limit_s,)):
        answer: dict[str, Any] = aws_sso_mcp.refresh_aws_sso_token(
            Call(lambda _: None), profile
        )
    return answer


def status(profile: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = aws_sso_mcp.get_aws_sso_status(
        Call(lambda _: None), profile
    )
    return answer


# --- The wire ---------------------------------------------------------------------------


class StubError(Exception):
    """Raised by the stub, as a bug of a tool would be."""


class Served(NamedTuple):
    """What a server did while it read a stream."""

    written: list[bytes]
    complaints: list[str]
    """Lines on stderr."""
    uncaught: list[Any]
    """Exceptions of threads that nothing caught."""


def serve(stream: bytes, last: bytes) -> Served:
    """Serve a stream, then one more line while calls may still run; wait for all calls to end.

    `refresh_aws_sso_token` is a stub. With `force` it waits; else it succeeds or fails as the
    profile's name says. The other tool is the real one.
    """
    written: list[bytes] = []
    threads: list[threading.Thread] = []
    uncaught: list[Any] = []
    over = threading.Event()

    def stub(
        call: Call, profile: str | None = None, force: bool = False
    ) -> dict[str, Any]:
        call.report_progress(aws_sso_mcp.Progress(f"asked for {profile} \ud800"))
        with aws_sso_mcp.SHARED_STATE:
            aws_sso_mcp.SHARED_STATE.wait_for(
                lambda: call.is_cancelled or over.is_set() or not force, 9
            )
        if call.is_cancelled:
            raise Failure("cancelled", "")
        if profile == "fail":
            raise Failure("not_sso", "\ud800", unusable_profile="\udfff")
        if profile == "raise":
            raise StubError
        return {"success": True, "message": f"{profile}\ud800\n\u2028"}

    def start_thread(function: Callable[..., object], *arguments: Any) -> None:
        """Do what the server's function does, with a thread that can be waited for."""
        threads.append(threading.Thread(target=function, args=arguments, daemon=True))
        threads[-1].start()

    tool = aws_sso_mcp.TOOLS["refresh_aws_sso_token"]._replace(function=stub)
    with (
        mock.patch.dict(aws_sso_mcp.TOOLS, refresh_aws_sso_token=tool),
        mock.patch.object(aws_sso_mcp, "start_thread", start_thread),
        mock.patch.object(threading, "excepthook", uncaught.append),
        mock.patch.object(sys, "stderr", io.StringIO()) as errors,
    ):
        server = aws_sso_mcp.McpServer(written.append)
        aws_sso_mcp.serve(partial(io.BytesIO(stream).read, CHUNK), server)
        server.handle_line(last)
        with aws_sso_mcp.SHARED_STATE:
            over.set()
            aws_sso_mcp.SHARED_STATE.notify_all()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert server._running == []  # noqa: SLF001 - nothing is retained
    return Served(written, errors.getvalue().splitlines(), uncaught)


def line_handler(written: list[bytes]) -> Callable[[bytes], None]:
    """Return the function that handles a line, for a server that writes into a list."""
    return aws_sso_mcp.McpServer(written.append).handle_line


def serve_endless(stream: BinaryIO) -> list[bytes]:
    """Serve a stream and return the lines that were written."""
    written: list[bytes] = []
    aws_sso_mcp.serve(
        partial(stream.read, CHUNK), aws_sso_mcp.McpServer(written.append)
    )
    return written


def lines_heard(stream: bytes, limit: int) -> list[bytes]:
    """Return the lines that a server handles of a stream, if a line may have `limit` bytes."""
    heard: list[bytes] = []
    server = mock.Mock(handle_line=heard.append)
    with mock.patch.object(aws_sso_mcp, "MAX_LINE_BYTES", limit):
        aws_sso_mcp.serve(partial(io.BytesIO(stream).read, CHUNK), server)
    return heard


# --- AWS configuration and token cache --------------------------------------------------


class Config(NamedTuple):
    """The config of this HOME as the server reads it."""

    profiles: dict[str, dict[str, Any]]
    sso_sessions: dict[str, dict[str, Any]]
    read: Any

    def chosen(self) -> tuple[str, str]:
        """Return the profile that a call without `profile` uses, and its source."""
        choice = aws_sso_mcp.choose_profile(self.read, None)
        return choice.profile, choice.source

    def sso(self, profile: str) -> tuple[str, str | None, str, str]:
        """Return the login that a profile needs: profile, SSO session, start URL, region."""
        found = aws_sso_mcp.find_sso_profile(self.read, profile)
        return (found.login_profile, *found.session[:3])


def read_config() -> Config:
    """Read the config of this HOME; raise Failure if AWS tools cannot read it."""
    read = aws_sso_mcp.read_aws_config()
    return Config(read.profiles, read.sso_sessions, read)


def token_file_name(session: str) -> str:
    return aws_sso_mcp.cache_file_name(session)


class KnownToken(NamedTuple):
    """What the server reads in a token file."""

    found: bool
    state: str
    expiry: dict[str, Any]
    shown: str


def known_token(session: str) -> KnownToken:
    """Read the token of an sso-session of this HOME."""
    sso = aws_sso_mcp.SsoSession(session, "https://x.awsapps.com/start", "us-east-1")
    with mock.patch("time.sleep"):
        token = aws_sso_mcp.read_token(sso)
    expiry = aws_sso_mcp.expiry_keys(token)
    return KnownToken(
        token is not None, aws_sso_mcp.token_state(token), expiry, repr(token)
    )


def epoch(text: Any) -> float | None:
    return aws_sso_mcp.parse_time(text)


# --- What AWS's tools say ---------------------------------------------------------------

Prompt = tuple[Optional[str], Optional[str]]  # URL and user code
REASONS = {known.reason for known in aws_sso_mcp.FAILURES} | {
    "session_expired",
    "aws_cli_failed",
}


def is_aws_page(url: str) -> bool:
    return bool(aws_sso_mcp.is_aws_page(url))


def parse_prompt(text: str) -> Prompt:
    return aws_sso_mcp.parse_login_output(text)


def read_login(chunks: Sequence[bytes]) -> list[Prompt]:
    """Return what is recognized in the output of a login after each chunk."""
    run = Reader()
    run.read("stdout", chunks)
    return run.seen


def failure_of(chunks: Sequence[bytes]) -> tuple[str, str]:
    """Return reason and message of a failed login with this stderr."""
    run = Reader()
    run.read("stderr", chunks)
    failure = aws_sso_mcp.cli_failure(run)
    return failure.reason, str(failure)


def hook_answer(event: dict[str, Any]) -> Any:
    """Return what the hook prints for an event of a host, None for nothing."""
    return aws_sso_mcp.hook_answer(json.dumps(event).encode())


def find_trigger(output: str) -> str | None:
    """Return what makes the hook look at the token: a word for the kind, or None."""
    return aws_sso_mcp.find_trigger(output)


def profile_of_server(server: str) -> str | None:
    """Return the profile of an MCP server, None if unknown, or why there is no answer."""
    try:
        config = aws_sso_mcp.read_aws_config()
        return aws_sso_mcp.profile_of_server(config, server, lambda: False).profile
    except aws_sso_mcp.Failure as failure:
        if failure.reason == "server_without_profile":
            return None
        return failure.reason


class Reader(aws_sso_mcp.Process):
    """A process whose output is parsed as that of a login; `seen`: the results so far."""

    def __init__(self) -> None:
        self.argv = ["aws", "sso", "login"]
        self.exit_code = 255
        self.output = {"stdout": "", "stderr": ""}
        self.seen: list[Prompt] = []
        self._news = mock.Mock(
            set=lambda: self.seen.append(parse_prompt(self.output["stdout"]))
        )

    def read(self, stream: str, chunks: Sequence[bytes]) -> None:
        """Read chunks with exactly these boundaries."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for chunk in filter(None, chunks):
            theirs.send(chunk)
        theirs.close()
        self._popen = mock.Mock()
        self._read(stream, ours, threading.Event())


# --- Programs that other Pythons run ----------------------------------------------------

# Prints what the server sees of its client's environment.
CLIENT_ENVIRONMENT = """\
import json
import aws_sso_mcp

print(json.dumps(aws_sso_mcp.client_environment()))
"""

# `ours()` returns the profiles and sso-sessions of the AWS configuration, None if it is refused.
READ_CONFIG = """\
from aws_sso_mcp import Failure, read_aws_config

def ours():
    try:
        config = read_aws_config()
    except Failure as failure:
        assert failure.reason == "config_unparsable", failure
        return None
    return [config.profiles, config.sso_sessions]
"""


def profile_taken(checkout: str) -> str:
    """Return a program that prints the profile that a call without `profile` uses."""
    here = json.dumps(checkout)
    taken = "aws_sso_mcp.choose_profile(aws_sso_mcp.read_aws_config(), None).profile"
    return f"import sys; sys.path.insert(0, {here}); import aws_sso_mcp; print({taken})"
