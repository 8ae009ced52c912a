"""What must hold for any foreign bytes, and a fuzzer that looks for bytes for which it does not.

    X {rpc|config|output} [ARGUMENT OF ATHERIS ...]

runs until an input breaks a property, or for a minute with `-max_total_time=60`. Inputs that
reached something new are kept in the system's folder for temporary files, and so is what broke a
property. test_fuzz.py asks the same of what hypothesis makes up.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
import re
import shlex
import socket
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

import botocore.configloader
import botocore.exceptions
import botocore.session
from dateutil.parser import isoparse  # type: ignore[import-untyped]

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]
if __name__ == "__main__":
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["aws_sso_mcp"]):
        import aws_sso_mcp
    # What `read` does is all in here.
    atheris.instrument_func(vars(configparser.RawConfigParser)["_read"])
    atheris.instrument_func(shlex.shlex.read_token)
else:
    import aws_sso_mcp

from aws_sso_mcp import Call, Failure
from kit.desk import (
    CASES,
    CONFIG,
    DEVICE_PROMPT,
    NOT_ASSIGNED,
    PKCE_PROMPT,
    SESSION_EXPIRED,
    V1_ERROR,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEADLINE_S = 20  # for what takes milliseconds
SPLIT = b"\n%%\n"  # stands between the parts of one input of the fuzzer
SECRET = "s3cr3t"  # never shown, unless it is part of a name


@contextlib.contextmanager
def home(folder: Path, config: str = CONFIG) -> Iterator[Path]:
    """Let this process see `folder` as a HOME with `config`, a token for `corp`, and no `aws`."""
    cache = folder / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    write(folder, config.encode())
    token = {"accessToken": SECRET, "expiresAt": "2037-01-01T00:00:00Z"}
    (cache / aws_sso_mcp.cache_name("corp")).write_text(json.dumps(token))
    with mock.patch.dict(os.environ, {"HOME": str(folder), "PATH": ""}, clear=True):
        yield folder


def write(folder: Path, config: bytes, credentials: bytes = b"") -> None:
    (folder / ".aws" / "config").write_bytes(config)
    (folder / ".aws" / "credentials").write_bytes(credentials)


# --- JSON-RPC lines ---------------------------------------------------------------------

INITIALIZE = b'{"id":"first","method":"initialize","params":{"protocolVersion":"2025-03-26"}}\n'
PING = b'{"id":"still there?","method":"ping"}\n'
FLAT = 100  # brackets in a line that any Python's parser takes


class Asked(NamedTuple):
    """What a stream asks for; ids and progress tokens are told by their JSON."""

    may: Counter[str]  # how often an id may be answered
    must: Counter[str]  # how often at least
    tokens: set[str]


class StubError(Exception):
    """A bug of a tool."""


def check_stream(stream: bytes) -> None:
    """Assert that a server gets over `stream`, answers what it should, and writes nothing else.

    `refresh_aws_sso_token` is a stub that waits with `force`, and else succeeds or fails as the
    name of the profile says; the other tool is the real one.
    """
    written: list[bytes] = []
    threads: list[threading.Thread] = []
    uncaught: list[Any] = []
    over = threading.Event()
    in_thread = aws_sso_mcp.in_thread

    def stub(call: Call, profile: str | None = None, force: bool = False) -> dict[str, Any]:
        call.report(f"asked for {profile} \ud800")
        with aws_sso_mcp.CHANGED:
            aws_sso_mcp.CHANGED.wait_for(lambda: call.cancelled or over.is_set() or not force, 9)
        if call.cancelled:
            raise aws_sso_mcp.Cancelled
        if profile == "fail":
            raise Failure("not_sso", "\ud800", unusable="\udfff")
        if profile == "raise":
            raise StubError
        return {"success": True, "message": f"{profile}\ud800\n\u2028"}

    def remember(*arguments: Any) -> threading.Thread:
        threads.append(in_thread(*arguments))
        return threads[-1]

    tool = aws_sso_mcp.TOOLS["refresh_aws_sso_token"]._replace(function=stub)
    with (
        mock.patch.dict(aws_sso_mcp.TOOLS, refresh_aws_sso_token=tool),
        mock.patch.object(aws_sso_mcp, "in_thread", remember),
        mock.patch.object(threading, "excepthook", uncaught.append),
        mock.patch.object(sys, "stderr", io.StringIO()) as errors,
    ):
        server = aws_sso_mcp.Server(written.append)
        aws_sso_mcp.serve(io.BytesIO(stream), server)
        server.handle_line(PING)
        assert any(b'"still there?", "result": {}' in line for line in list(written)), "no ping"
        with aws_sso_mcp.CHANGED:
            over.set()
            aws_sso_mcp.CHANGED.notify_all()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    assert uncaught == []
    assert server._running == []  # noqa: SLF001 - nothing is retained
    said = errors.getvalue().splitlines()
    assert len(said) <= aws_sso_mcp.MAX_COMPLAINTS
    assert all(re.fullmatch(r"aws-sso-mcp: [ -~]{1,99}", line) for line in said)
    assert not [line for line in said if "internal error" in line and "StubError" not in line]
    check_answers(written, asked(stream + b"\n" + PING))


def check_answers(written: Sequence[bytes], asked: Asked) -> None:
    answered: Counter[str] = Counter()
    for line in written:
        message = strict_json(line)
        assert message.pop("jsonrpc") == "2.0"
        if message.pop("method", None) == "notifications/progress":
            params = message.pop("params")
            assert set(params) == {"progressToken", "progress", "message"}
            assert json.dumps(params["progressToken"]) in asked.tokens
        else:
            answered[json.dumps(message.pop("id"))] += 1
            assert isinstance(message.pop("result" if "result" in message else "error"), dict)
        assert message == {}
    assert answered <= asked.may, (answered - asked.may, "answered, but not asked")
    assert asked.must <= answered, (asked.must - answered, "asked, but not answered")


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def strict_json(line: bytes) -> dict[str, Any]:
    """Return the object on a line that every client can read: ASCII, no NaN, no lone surrogate."""
    assert line.isascii()
    assert line.endswith(b"\n")
    assert not re.search(rb"[\0-\x1f\x7f]", line[:-1])
    message: dict[str, Any] = json.loads(line, parse_constant=refuse)
    json.dumps(message, ensure_ascii=False).encode("utf-8")
    return message


def asked(stream: bytes) -> Asked:
    """Return what a stream asks for, read in another way than the server does."""
    may, must, tokens = Counter[str](), Counter[str](), set[str]()
    names: dict[str, str] = {}
    cancelled = set()
    initialized = stream.startswith(INITIALIZE)
    limit = sys.getrecursionlimit()
    for line in stream.split(b"\n"):
        try:
            sys.setrecursionlimit(limit + 99)
            message = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        finally:
            sys.setrecursionlimit(limit)
        sure = line.count(b"[") + line.count(b"{") < FLAT and len(line) < 1 << 20
        for each in message if isinstance(message, list) else [message]:
            if not isinstance(each, dict) or not isinstance(each.get("method"), str):
                continue
            params = each.get("params")
            params = params if isinstance(params, dict) else {}
            if "id" not in each and each["method"] == "notifications/cancelled":
                wish = params.get("requestId")
                cancelled.update([repr(wish)] if type(wish) in (str, int) else [])
            if type(each.get("id")) not in (str, int):
                continue
            key = json.dumps(each["id"])
            may[key] += 1
            # An id that is no Unicode text cannot be echoed safely, so nobody needs to.
            certain = sure and "\\ud" not in key and (initialized or not isinstance(message, list))
            must[key] += certain
            names[key] = repr(each["id"])
            meta = params.get("_meta")
            tokens.add(json.dumps(meta.get("progressToken") if isinstance(meta, dict) else None))
    # Whether a cancellation came in time is not told here.
    must = Counter({key: many for key, many in must.items() if names[key] not in cancelled})
    return Asked(may, must, tokens)


def fuzz_rpc(data: bytes) -> None:
    check_stream(INITIALIZE + data if data[:1] != b"\n" else data)


# --- AWS configuration ------------------------------------------------------------------


def check_config(folder: Path, config: bytes, credentials: bytes) -> None:
    """Assert that these two files are read as botocore does, and that no text leaks.

    `folder` is the HOME of now.
    """
    write(folder, config, credentials)
    try:
        full = botocore.session.Session(include_builtin_handlers=False).full_config
        theirs = full["profiles"], full["sso_sessions"]
    except botocore.exceptions.ConfigParseError:
        theirs = None
    refusal, ours = "", None
    try:
        ours = aws_sso_mcp.read_aws_config()
    except Failure as failure:
        refusal = str(failure)
    assert (None if ours is None else ours[1:]) == theirs, refusal
    if ours is None:
        check_refusal(folder, refusal, config if "/.aws/config" in refusal else credentials)
    else:
        check_profiles(ours)


REFUSED = ("x", "[a]\nx", "[a]\n[a]", "[a]\nx=1\nx=2", "[a]\nx=\n y", "\ufeff[a]", "\x80")


def check_refusal(folder: Path, message: str, content: bytes) -> None:
    """Assert that a message does not depend on what stands in a file, but for a line number."""
    found = re.search(r"(?<=, line )\d+(?=:)", message)
    assert found is None or 1 <= int(found[0]) <= len(content.splitlines())
    known = set()
    for text in REFUSED:
        write(folder, text.encode("latin-1" if text == "\x80" else "utf-8"))
        try:
            aws_sso_mcp.read_aws_config()
        except Failure as failure:
            known.add(unnumbered(str(failure)))
    assert unnumbered(message) in known


def unnumbered(message: str) -> str:
    return re.sub(r", line \d+:", ":", message).replace("/credentials:", "/config:")


def check_profiles(config: Any) -> None:
    """Assert that whatever the config says, it makes an answer, and none with a secret."""
    shown = [*config.profiles, *config.sso_sessions]
    for values in (*config.profiles.values(), *config.sso_sessions.values()):
        shown += [str(text) for key, text in values.items() if key.startswith(("sso_", "source_"))]
    leaks = SECRET in "".join(shown)
    choice = aws_sso_mcp.choose_profile(config, None)
    assert choice.profile in config.profiles or choice.source == "default"
    call = Call(lambda _: None)
    for name in (None, "nobody", choice.profile, *list(config.profiles)[:5]):
        answer = aws_sso_mcp.get_aws_sso_status(call, name)
        text = json.dumps(answer)
        assert answer["success"] or {"reason", "message"} <= set(answer)
        assert leaks or SECRET not in text
        assert json.loads(text) == answer
    for name in list(config.profiles)[:50]:
        try:
            profile = aws_sso_mcp.sso_profile(config, name)
        except Failure:
            continue
        session = profile.session
        source = config.profiles[profile.login_profile]
        values = source if session.name is None else config.sso_sessions[session.name]
        assert source.get("sso_session") == session.name
        assert (values["sso_start_url"], values["sso_region"]) == session[1:]


# --- CLI output, URLs, token files ------------------------------------------------------

# fmt: off
AWS_SUFFIXES = [  # of hosts that serve no pages of AWS's customers
    *(f"oidc.us-east-1.{domain}" for domain in (
        "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws",
        "api.amazonwebservices.com.cn", "api.amazonwebservices.eu",
    )),
    "device.sso.us-east-1.amazonaws.com", "portal.sso.us-east-1.amazonaws.com",
    "awsapps.com", "awsapps.cn", "app.aws", "signin.aws", "signin.aws.amazon.com",
    "oidc-fips.us-east-1.amazonaws.com",
]
# fmt: on
LONG_WORD = re.compile(r"[A-Za-z0-9+/=_.~-]{40,}")


class Reader(aws_sso_mcp.AwsRun):
    """A run whose output is read as that of a login; `seen` is what it took it for."""

    def __init__(self) -> None:
        super().__init__("key", ["sso", "login"], 1)
        self.seen: list[tuple[str | None, str | None]] = []

    def _update(self) -> None:
        self.seen.append(aws_sso_mcp.parse_login_output(self.output["stdout"]))

    def read(self, stream: str, chunks: Sequence[bytes]) -> None:
        """Read chunks with the very boundaries that are given."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for chunk in filter(None, chunks):
            theirs.send(chunk)
        theirs.close()
        self._read(stream, ours)  # type: ignore[arg-type] # of a pipe it takes fileno and close


def check_output(chunks: Sequence[bytes]) -> None:
    """Assert that of a login's output only whole URLs count, wherever it is torn; 99 chunks."""
    run = Reader()
    run.read("stdout", chunks)
    kept = b"".join(chunks)[: aws_sso_mcp.MAX_OUTPUT_BYTES]
    text = kept.decode("utf-8", "replace").replace("\r", "")
    whole = set(text.split("\n")[:-1])
    for url, code in run.seen:
        assert url is None or (url in whole and url.startswith(("https://", "http://")))
        assert code is None or code in whole
        check_url(url or "")
    assert [aws_sso_mcp.parse_login_output(text)] == (run.seen[-1:] or [(None, None)])
    for line in whole:
        check_url(line)
    run.read("stderr", chunks)
    failure = aws_sso_mcp.cli_failure(run)
    assert failure.reason in {row[0] for row in aws_sso_mcp.FAILURES} | {"aws_cli_failed"}
    assert not LONG_WORD.search(str(failure))
    assert "\n" not in str(failure)
    assert len(str(failure)) < 600


def check_url(url: str) -> None:
    """Assert that a URL taken for AWS's is so by Python's reading and by that of browsers."""
    if not aws_sso_mcp.is_aws_page(url):
        return
    assert url.startswith("https://")
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set('\\"<>`{|}^ ')
    authority = re.split(r"[/?#]", url[len("https://") :])[0]
    assert "@" not in authority
    assert "%" not in authority
    host = authority.partition(":")[0].lower()
    assert host == urlsplit(url).hostname
    host = re.sub(r"(?<=\.)[a-z0-9-]+(?=\.(?:amazonaws|api)\.)", "us-east-1", host)  # any region
    assert any(f".{host}".endswith(f".{suffix}") for suffix in AWS_SUFFIXES)
    assert urlsplit(url).scheme == "https"


def check_token(content: bytes) -> None:
    """Assert that whatever stands in the token file of `corp`, it is a token or none."""
    session = aws_sso_mcp.SsoSession("corp", "https://x.awsapps.com/start", "us-east-1")
    aws_sso_mcp.token_path(session).write_bytes(content)
    with mock.patch("time.sleep"):
        token = aws_sso_mcp.read_token(session)
    states = {"valid", "expiring", "refreshable", "expired", "absent"}
    assert aws_sso_mcp.token_state(token) in states
    assert set(aws_sso_mcp.expiry(token)) in (set(), {"expiresAt", "minutesLeft"})
    assert SECRET not in repr(token)
    if token is not None:
        values = json.loads(content)
        assert values["accessToken"]
        check_time(values["expiresAt"])


def check_time(text: str) -> None:
    """Assert that a time is read as dateutil does, whole seconds, or not at all."""
    seconds = aws_sso_mcp.epoch(text)
    if seconds is not None:
        theirs = isoparse(re.sub("UTC$", "Z", text))
        assert seconds == theirs.replace(microsecond=0).timestamp()


def fuzz_output(data: bytes) -> None:
    parts = data.split(SPLIT)
    check_output(parts[:50])
    check_url(data.decode("latin-1"))
    check_token(data)
    check_time(data.decode("latin-1"))


# --- The fuzzer -------------------------------------------------------------------------

TOKEN = '{"accessToken":"s3cr3t","expiresAt":"2037-01-01T00:00:00.5UTC","refreshToken":"r"}'
CALL = (
    '{"id":1,"method":"tools/call","params":{"name":"refresh_aws_sso_token","arguments":'
    '{"profile":"fail","force":true},"_meta":{"progressToken":"p"}}}\n'
    '{"method":"notifications/cancelled","params":{"requestId":1}}\n'
)
MODERN = (
    '[{"id":-2,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":'
    '"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}]'
)
STATUS = '{"id":"\\ud800","method":"tools/call","params":{"name":"get_aws_sso_status"}}'
SEEDS = {
    "rpc": [CALL, MODERN, STATUS, "\n" + INITIALIZE.decode()],
    "config": [CONFIG, *[case[1] for case in CASES], f"{CONFIG}\n%%\n[a]\nrole_arn=x\n"],
    "output": [
        *(PKCE_PROMPT, DEVICE_PROMPT, NOT_ASSIGNED, SESSION_EXPIRED, V1_ERROR, TOKEN),
        "https://x.awsapps.com/start",
        "2037-01-01T00:00:00+01:00",
    ],
}


def words(seeds: Sequence[str]) -> str:
    """Return a dictionary for libFuzzer: what stands between blanks and signs in the seeds."""
    found = dict.fromkeys(re.findall(r"[\w:/.-]{2,40}", " ".join(seeds), re.ASCII))
    return "\n".join(["# words", *(f'"{word}"' for word in found), '"\\x0a%%\\x0a"']) + "\n"


def fuzz_config(data: bytes) -> None:
    config, _, credentials = data.partition(SPLIT)
    check_config(Path(os.environ["HOME"]), config, credentials)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "rpc": fuzz_rpc,
    "config": fuzz_config,
    "output": fuzz_output,
}


def main(target: str, arguments: Sequence[str]) -> None:
    """Fuzz a target until an input breaks a property or atheris's arguments end it."""
    folder = Path(tempfile.gettempdir()) / "aws-sso-mcp-fuzz" / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed-{number}").write_bytes(seed.encode())
    (folder / "words").write_text(words(SEEDS[target]))
    ours = ["-max_len=4096", "-timeout=20", f"-artifact_prefix={folder}/", f"-dict={folder}/words"]
    given = [each for each in arguments if not each.startswith("-")]
    options = [each for each in arguments if each.startswith("-")]
    with home(folder):
        atheris.Setup([sys.argv[0], *ours, *options, *(given or [str(corpus)])], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == [] or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
