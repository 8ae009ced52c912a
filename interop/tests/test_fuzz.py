"""Properties that hold for any input, tested with examples that hypothesis generates.

The examples are the same in each run. The same tests also run as a fuzzer, which searches for
examples that reach new code of the server, until one breaks a property, or for a minute:

    $(python3 interop/install.py --where tools)/bin/python interop/tests/test_fuzz.py \\
        test_config_is_read_as_botocore_reads_it [-max_total_time=60] [ARGUMENT OF ATHERIS ...]

Inputs that reached new code, and those that broke the property, are kept in the system's folder for
temporary files. The server's own functions are used only through kit/inside.py.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

import botocore.configloader
import botocore.exceptions
import botocore.session
import pytest
from dateutil.parser import isoparse  # type: ignore[import-untyped]
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

if __name__ == "__main__":
    import atheris  # type: ignore[import-untyped]

    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]
    with atheris.instrument_imports(include=["aws_sso_mcp"]):
        import aws_sso_mcp  # noqa: F401 - the first to import it
    # `read` does all its work here.
    atheris.instrument_func(vars(configparser.RawConfigParser)["_read"])
    atheris.instrument_func(shlex.shlex.read_token)

from kit import inside
from kit.desk import (
    CASES,
    CONFIG,
    DEVICE_PROMPT,
    NOT_ASSIGNED,
    PKCE_PROMPT,
    PKCE_URL,
    SESSION_EXPIRED,
    V1_ERROR,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECRET = "s3cr3t"  # must not be shown, except as part of a name
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@contextlib.contextmanager
def home_in(folder: Path) -> Iterator[None]:
    """Make `folder` this process's HOME, with a config, a token for `corp`, and no `aws`."""
    cache = folder / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": SECRET, "expiresAt": "2037-01-01T00:00:00Z"}
    (cache / inside.token_file_name("corp")).write_text(json.dumps(token))
    with mock.patch.dict(os.environ, {"HOME": str(folder), "PATH": ""}, clear=True):
        write_config(CONFIG.encode())
        yield


def write_config(config: bytes, credentials: bytes = b"") -> None:
    folder = Path(os.environ["HOME"]) / ".aws"
    (folder / "config").write_bytes(config)
    (folder / "credentials").write_bytes(credentials)


def often(examples: int) -> settings:
    """Return settings for a number of examples, the same in each run."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=slow,
    )


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with home_in(tmp_path_factory.mktemp("home")):
        yield


# --- JSON-RPC lines ---------------------------------------------------------------------

INITIALIZE = (
    b'{"id":"first","method":"initialize","params":{"protocolVersion":"2025-03-26"}}\n'
)
PING = b'{"id":"still there?","method":"ping"}\n'
FLAT = 100  # nesting that the JSON parser of every Python accepts


class Asked(NamedTuple):
    """What a stream asks for; ids and progress tokens are identified by their JSON."""

    may: Counter[str]  # how often an id may be answered
    must: Counter[str]  # how often at least
    tokens: set[str]


def check_stream(stream: bytes) -> None:
    """Assert that a server survives `stream`, answers what it should, and writes nothing else."""
    served = inside.serve(stream, PING)
    assert any(b'"still there?", "result": {}' in line for line in served.written), (
        "no ping"
    )
    assert served.uncaught == []
    said = served.complaints
    assert len(said) <= inside.MAX_COMPLAINTS
    assert all(re.fullmatch(r"aws-sso-mcp: [ -~]{1,99}", line) for line in said)
    assert not [
        line for line in said if "internal error" in line and "StubError" not in line
    ]
    check_answers(served.written, asked(stream + b"\n" + PING))


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
            assert isinstance(
                message.pop("result" if "result" in message else "error"), dict
            )
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
    """Return what a stream asks for, parsed independently of the server."""
    may = Counter[str]()
    must = Counter[str]()
    tokens = set[str]()
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
            # An id that is not Unicode text cannot be echoed safely, so it need not be.
            certain = (
                sure
                and "\\ud" not in key
                and (initialized or not isinstance(message, list))
            )
            must[key] += certain
            names[key] = repr(each["id"])
            meta = params.get("_meta")
            tokens.add(
                json.dumps(
                    meta.get("progressToken") if isinstance(meta, dict) else None
                )
            )
    # Whether a cancellation came in time is unknown here.
    must = Counter(
        {key: many for key, many in must.items() if names[key] not in cancelled}
    )
    return Asked(may, must, tokens)


any_text = st.text(st.characters(), max_size=20)  # with lone surrogates
ids = st.sampled_from([0, 1, "", "1", "a", -1, 10**30]) | st.integers() | any_text
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
anything = st.recursive(
    scalars,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(any_text, each, max_size=3)
    ),
)
names = st.sampled_from(["refresh_aws_sso_token", "get_aws_sso_status"])
arguments = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["", "dev", "static", "fail", "raise"]) | anything,
        "force": st.booleans() | anything,
        "other": anything,
    },
)
meta = st.fixed_dictionaries(
    {}, optional={"progressToken": ids | anything}
) | st.fixed_dictionaries(
    {name: st.just(value) | anything for name, value in MODERN.items()}
)
params = (
    st.fixed_dictionaries(
        {},
        optional={
            "name": names | anything,
            "arguments": arguments | anything,
            "protocolVersion": st.just("2025-03-26") | anything,
            "requestId": ids | anything,
            "_meta": meta | anything,
        },
    )
    | anything
)
METHODS = [
    "initialize",
    "ping",
    "tools/list",
    "server/discover",
    "notifications/cancelled",
]
methods = st.sampled_from([*METHODS, "tools/call", "tools/call", "tools/call"])
messages = st.fixed_dictionaries(
    {"method": methods | any_text},
    optional={"jsonrpc": st.just("2.0"), "id": ids | anything, "params": params},
)
calls = st.fixed_dictionaries(
    {
        "id": ids,
        "method": st.just("tools/call"),
        "params": st.fixed_dictionaries(
            {"name": names, "arguments": arguments}, optional={"_meta": meta}
        ),
    }
)
cancellations = st.fixed_dictionaries(
    {
        "method": st.just("notifications/cancelled"),
        "params": st.fixed_dictionaries({"requestId": ids}),
    }
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw a line: a message, a batch, other JSON, any encoding, cut, nested, or random bytes."""
    one = messages | calls | cancellations
    what = draw(one | one | st.lists(one, max_size=4) | anything)
    text = json.dumps(what, ensure_ascii=draw(st.booleans()))
    line = text.encode(
        draw(st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-8-sig"])), "surrogatepass"
    )
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return line[: draw(st.integers(0, len(line)))]
    if kind == 1:
        return draw(st.binary(max_size=40))
    if kind == 2:
        depth = draw(st.sampled_from([9, 900, 980, 1100, 30_000]))
        opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"":', b"}")]))
        deep = opening * depth + b"1" + closing * depth
        return line.replace(b'"dev"', deep).replace(b"null", deep)
    return line


@often(250)
@given(st.booleans(), st.lists(lines(), max_size=8))
@example(False, [b'{"id":"\\ud800","method":"ping"}'])
@example(
    True,
    [
        b'[{"id":1,"method":"ping"},{"id":1.0,"method":"ping"},{"id":"1","method":"ping"}]'
    ],
)
@example(
    True,
    [
        b'{"id":1,"method":"tools/call","params":{"name":'
        + b"[" * 900
        + b"]" * 900
        + b"}}"
    ],
)
@example(True, [b'{"id":9,"method":"ping","params":' + b"[" * 99_999])
@example(
    True,
    [b'{"id":' + b"9" * 4300 + b',"method":"ping"}', b'{"id":' + b"9" * 4301 + b"}"],
)
def test_server_survives_any_lines(initialized: bool, stream: list[bytes]) -> None:
    check_stream((INITIALIZE if initialized else b"") + b"\n".join(stream))


def test_deeply_nested_request_does_not_affect_others() -> None:
    # Just below the parser's limit, the code behind the parser must not fail either.
    written: list[bytes] = []
    handle_line = inside.line_handler(written)
    handle_line(INITIALIZE)
    ping = b'{"id":2,"method":"ping"}'
    for depth in [*range(850, 1000), 3000, 9000, 90_000]:
        written.clear()
        deep = b"[" * depth + b"]" * depth
        for message in (
            b'{"id":1,"method":"tools/call","params":{"name":%s}}',
            b'{"method":"notifications/cancelled","params":{"requestId":%s}}',
        ):
            written.clear()
            handle_line(b"[" + message % deep + b"," + ping + b"]")
            assert len(written) in (0, 1 + message.count(b'"id"'))


def test_calls_above_the_limit_are_refused_one_by_one() -> None:
    call = {"name": "refresh_aws_sso_token", "arguments": {"force": True}}
    requests = [
        {"id": each, "method": "tools/call", "params": call} for each in range(300)
    ]
    check_stream(INITIALIZE + json.dumps(requests).encode())


class Endless(io.RawIOBase):
    """A generated stream of bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        buffer[:size] = b"x" * size
        self.left -= size
        return size


@often(300)
@given(
    st.lists(
        st.sampled_from([b"\n", b" ", b"x" * 7, b"x" * 8, b"x" * 16, b"y"]), max_size=20
    )
)
def test_lines_are_handled_whole_or_not_at_all(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    heard = inside.lines_heard(stream, 16)
    lines = [line for line in stream.split(b"\n") if line.strip() or len(line) > 16]
    expected = [line if len(line) <= 16 else b"too long" for line in lines]
    # An overlong line of blanks needs no complaint.
    assert [each for each in heard if each != b"too long"] == [
        each for each in expected if each != b"too long"
    ]
    assert heard.count(b"too long") <= expected.count(b"too long")


def test_overlong_line_is_not_kept_in_memory() -> None:
    stream = io.BufferedReader(Endless(64 << 20))
    tracemalloc.start()
    try:
        written = inside.serve_endless(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * inside.MAX_LINE_BYTES
    assert written == []


# --- AWS configuration ------------------------------------------------------------------


def check_config(config: bytes, credentials: bytes) -> None:
    """Assert that these two files are read as botocore reads them, and that no text leaks."""
    write_config(config, credentials)
    try:
        full = botocore.session.Session(include_builtin_handlers=False).full_config
        theirs = full["profiles"], full["sso_sessions"]
    except botocore.exceptions.ConfigParseError:
        theirs = None
    refusal = ""
    ours = None
    try:
        ours = inside.read_config()
    except inside.Failure as failure:
        refusal = str(failure)
    assert (None if ours is None else ours[:2]) == theirs, refusal
    if ours is None:
        check_refusal(refusal, config if "/.aws/config" in refusal else credentials)
    else:
        check_profiles(ours)


REFUSED = (
    "x",
    "[a]\nx",
    "[a]\n[a]",
    "[a]\nx=1\nx=2",
    "[a]\nx=\n y",
    "\ufeff[a]",
    "\x80",
)


def check_refusal(message: str, content: bytes) -> None:
    """Assert that a message tells no more of a file than line numbers and a short name."""
    found = re.search(r"(?<=, line )\d+(?=:)", message)
    assert found is None or 1 <= int(found[0]) <= len(content.splitlines())
    known = set()
    for text in REFUSED:
        write_config(text.encode("latin-1" if text == "\x80" else "utf-8"))
        try:
            inside.read_config()
        except inside.Failure as failure:
            known.add(unnumbered(str(failure)))
    assert unnumbered(message) in known


def unnumbered(message: str) -> str:
    message = re.sub(r", line \d+:", ":", message)
    message = re.sub(
        r"it repeats ([\w.-]{1,32} |a key )in \[", "it repeats x in [", message
    )
    message = re.sub(r"\[[^\]\n]{0,70}\], which", "[a], which", message)
    return re.sub(r"line \d+", "line 1", message).replace("/credentials:", "/config:")


def check_profiles(config: inside.Config) -> None:
    """Assert that any config leads to an answer without secrets."""
    shown = [*config.profiles, *config.sso_sessions]
    for values in (*config.profiles.values(), *config.sso_sessions.values()):
        shown += [
            str(text)
            for key, text in values.items()
            if key.startswith(("sso_", "source_"))
        ]
    leaks = SECRET in "".join(shown)
    chosen, source = config.chosen()
    assert chosen in config.profiles or source == "default"
    for name in (None, "nobody", chosen, *list(config.profiles)[:5]):
        answer = inside.status(name)
        text = json.dumps(answer)
        assert answer["success"] or {"reason", "message"} <= set(answer)
        assert leaks or SECRET not in text
        assert json.loads(text) == answer
    for name in list(config.profiles)[:50]:
        try:
            login_profile, session, *where = config.sso(name)
        except inside.Failure:
            continue
        its_own = config.profiles[login_profile]
        values = its_own if session is None else config.sso_sessions[session]
        assert its_own.get("sso_session") == session
        assert [values["sso_start_url"], values["sso_region"]] == where


words = st.sampled_from(
    [
        "a",
        "b",
        "default",
        "corp",
        "a b",
        "'a b'",
        '"a b"',
        "a\\ b",
        "bob's",
        "é",
        "",
        SECRET,
    ]
) | st.text(st.characters(codec="utf-8"), max_size=5)
headers = st.one_of(
    st.builds("[profile {}]".format, words),
    st.builds("[sso-session {}]".format, words),
    st.builds("[{}]".format, words),
    st.sampled_from(
        ["[default]", "[DEFAULT]", "[profile]", " [profile a]", "[profile a", "[]"]
    ),
)
# fmt: off
keys = st.sampled_from([
    "sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name", "role_arn",
    "source_profile", "web_identity_token_file", "credential_process", "aws_access_key_id",
    "aws_secret_access_key", "s3",
])
# fmt: on
values = st.sampled_from(
    [
        "a",
        "corp",
        "b",
        "default",
        "",
        "https://x.awsapps.com/start",
        "us-east-1",
        SECRET,
    ]
) | st.text(st.characters(codec="utf-8"), max_size=8)
pairs = st.builds(
    "{}{}{}".format, keys | words, st.sampled_from([" = ", "=", ":", " "]), values
)
nested = st.builds("{} =\n  {}".format, keys, pairs | words)
breaks = st.sampled_from(
    ["\n", "\n", "\n", "\r\n", "\n\n", "\n ", "\r", "\x0c", "\u2028", ""]
)
sections = st.tuples(
    headers, st.lists(pairs | pairs | pairs | nested | words, max_size=5)
)
SSO = "[sso-session corp]\nsso_start_url=https://x.awsapps.com/start\nsso_region=us-east-1\n"


@st.composite
def configs(draw: st.DrawFn) -> bytes:
    """Draw a mostly well-formed file, so that its content is examined."""
    rare = draw(st.integers(0, 3)) == 0
    text = draw(st.sampled_from(["", SSO]))
    for header, body in draw(st.lists(sections, max_size=5)):
        for line in (header, *body):
            text += line + (draw(breaks) if rare else "\n")
    return text.encode("utf-16" if rare and draw(st.integers(0, 9)) == 0 else "utf-8")


@st.composite
def profiles(draw: st.DrawFn, header: str) -> bytes:
    """Draw a file that every tool can read."""
    some = st.sampled_from(
        ["a", "b", "c", "default", "'a b'", '"a b"', "a\\ b", "a b", "bob's"]
    )
    names = draw(st.lists(some, unique=True, min_size=1))
    text = SSO
    for name in names:
        body = draw(
            st.dictionaries(keys, values.filter(str.isprintable) | nested, max_size=6)
        )
        for key, value in body.items():
            body[key] = "\n s = 1" if "\n" in value else value.lstrip("[")
        text += header.format(name) + "".join(f"{key} = {body[key]}\n" for key in body)
    return text.encode()


known_configs = st.sampled_from([CONFIG, *(case[1] for case in CASES)]).map(str.encode)


@often(500)
@given(
    st.one_of(
        profiles("[profile {}]\n"), configs(), known_configs, st.binary(max_size=60)
    ),
    st.one_of(profiles("[{}]\n"), st.just(b""), configs()),
)
@example(
    b"[profile a]\nregion = x\nkeep = 1\n", b"[a]\nregion = y\n[b]\nsso_session = s\n"
)
@example(b"[profile a]\nsso_session =\n  a = b\n", b"")
@example(
    b"[profile a]\nsso_session = corp\nsso_start_url =\n  a = b\n",
    b"[a]\nsso_region =\n  x=y\n",
)
@example(
    b"[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=x\nsource_profile=a",
    b"",
)
@example(b"[profile a]\ns3 =\n  a = b\n  s3cr3t\x0c\n", b"")
@example(b"[profile a]\ns3 =\n  a = b\x0c  s3cr3t\n", b"")
def test_config_is_read_as_botocore_reads_it(config: bytes, credentials: bytes) -> None:
    check_config(config, credentials)


# --- CLI output, URLs, token files ------------------------------------------------------

# fmt: off
AWS_SUFFIXES = [  # of hosts that serve no pages of AWS's customers
    *(f"oidc.us-east-1.{domain}" for domain in (
        "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws",
        "api.amazonwebservices.com.cn", "api.amazonwebservices.eu",
    )),
    "device.sso.us-east-1.amazonaws.com", "portal.sso.us-east-1.amazonaws.com",
    "awsapps.com", "awsapps.cn", "x.portal.us-east-1.app.aws", "global.app.aws",
    "signin.aws", "signin.aws.amazon.com",
    "oidc-fips.us-east-1.amazonaws.com",
]
# fmt: on
LONG_WORD = re.compile(r"[A-Za-z0-9+/=_.~-]{40,}")


def check_output(chunks: Sequence[bytes]) -> None:
    """Assert that only complete URLs of a login's output count, however it is split (99 chunks)."""
    seen = inside.read_login(chunks)
    kept = b"".join(chunks)[: inside.MAX_OUTPUT_BYTES]
    text = kept.decode("utf-8", "replace").replace("\r", "")
    whole = set(text.split("\n")[:-1])
    for url, code in seen:
        assert url is None or (url in whole and url.startswith(("https://", "http://")))
        assert code is None or code in whole
        check_url(url or "")
    assert [inside.parse_prompt(text)] == (seen[-1:] or [(None, None)])
    for line in whole:
        check_url(line)
    reason, message = inside.failure_of(chunks)
    assert reason in inside.REASONS
    assert not LONG_WORD.search(message)
    assert "\n" not in message
    assert len(message) < 600


def check_url(url: str) -> None:
    """Assert that Python and browsers agree on each URL that the server accepts as AWS's."""
    if not inside.is_aws_page(url):
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
    host = re.sub(
        r"(?<=\.)[a-z]+-[a-z-]+-\d+(?=\.(?:amazonaws|api|app)\.)", "us-east-1", host
    )  # any region
    assert any(f".{host}".endswith(f".{suffix}") for suffix in AWS_SUFFIXES)
    assert urlsplit(url).scheme == "https"


def check_token(content: bytes) -> None:
    """Assert that any token file of `corp` is read as a token or as none."""
    cache = Path(os.environ["HOME"]) / ".aws" / "sso" / "cache"
    (cache / inside.token_file_name("corp")).write_bytes(content)
    token = inside.known_token("corp")
    assert token.state in {"valid", "expiring", "refreshable", "expired", "absent"}
    assert set(token.expiry) in (set(), {"expiresAt", "minutesLeft"})
    assert SECRET not in token.shown
    if token.found:
        values = json.loads(content)
        assert values["accessToken"]
        check_time(values["expiresAt"])


def check_time(text: str) -> None:
    """Assert that a time is read as dateutil reads it, in whole seconds, or refused."""
    seconds = inside.epoch(text)
    if seconds is not None:
        theirs = isoparse(re.sub("UTC$", "Z", text))
        assert seconds == theirs.replace(microsecond=0).timestamp()


prompts = st.sampled_from(
    [PKCE_PROMPT, DEVICE_PROMPT, PKCE_PROMPT.replace("\n", "\r\n"), PKCE_URL]
)
noise = st.text(
    st.sampled_from("\n\r :/?A1-\x85\u2028é") | st.characters(), max_size=20
)
errors = st.sampled_from([NOT_ASSIGNED, SESSION_EXPIRED, V1_ERROR]) | st.text(
    st.sampled_from("aZ0/+=-._~ \n")
)


@often(400)
@given(
    st.lists(prompts | noise | errors, max_size=5),
    st.lists(st.integers(0, 900), max_size=30),
)
@example([PKCE_PROMPT], list(range(60, 90)))
@example([DEVICE_PROMPT], list(range(60, 90)))
@example(["x\n" * 32_700, PKCE_PROMPT], [])
@example(["\n", "0aA/" * 16_384], [])
def test_only_complete_urls_count(parts: list[str], cuts: list[int]) -> None:
    output = "".join(parts).encode("utf-8", "surrogatepass")
    ends = [0, *sorted(cuts), len(output)]
    check_output([output[start:end] for start, end in zip(ends, ends[1:])])


schemes = st.sampled_from(
    ["https://"] * 6 + ["http://", "HTTPS://", "https:/", "javascript:", ""]
)
signs = st.text(
    st.sampled_from("\\@:%#?/. \t\n\x00\x7f[]é\u3002\uff0f'\"<>aé-_") | st.characters(),
    max_size=4,
)
hosts = st.sampled_from(
    [*AWS_SUFFIXES, "x.awsapps.com", "evil.example", "xaws", "127.0.0.1"]
)


@often(1500)
@given(
    st.tuples(
        schemes, signs, hosts, signs, hosts | signs, signs | st.just(":443/?a=b"), signs
    )
)
@example(("https://", "", "evil.example", "\\@", "x.awsapps.com", "/", ""))
@example(("https://", "x:y@", "x.awsapps.com", "", "", "", ""))
@example(("https://", "", "x.awsapps.com", "\n", "", "", ""))
@example(("https://", "", "evil.example", "/", "x.awsapps.com", "", ""))
def test_every_url_parser_agrees_that_it_is_an_aws_page(parts: tuple[str, ...]) -> None:
    check_url("".join(parts))


def test_urls_of_aws_pages_are_accepted() -> None:
    assert inside.is_aws_page(PKCE_URL)
    for suffix in AWS_SUFFIXES:
        host = suffix if "us-east-1" in suffix else f"x.{suffix}"
        assert inside.is_aws_page(f"https://{host}:443/a?b=c#d")
        assert not inside.is_aws_page(f"https://{host}.example/")
        assert not inside.is_aws_page(f"https://{host.replace('.', '-', 1)}/")


times = st.text(st.sampled_from("0123456789TZUC:-+. ٣"), max_size=30) | st.from_regex(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|UTC|[+-]\d\d:\d\d)", fullmatch=True
)
offsets = st.integers(-1439, 1439).map(timedelta(minutes=1).__mul__).map(timezone)


@often(500)
@given(
    st.datetimes(timezones=offsets | st.just(timezone.utc)),
    st.sampled_from(["", ".5", ".123456789"]),
)
def test_times_are_read_as_dateutil_reads_them(time: datetime, fraction: str) -> None:
    text = time.replace(microsecond=0).isoformat()
    text = text[:19] + fraction + text[19:]
    for spelling in (text, text.replace("+00:00", "Z"), text.replace("+00:00", "UTC")):
        assert inside.epoch(spelling) == time.replace(microsecond=0).timestamp()
        check_time(spelling)


@often(300)
@given(times)
def test_invalid_times_are_refused(text: str) -> None:
    check_time(text)


tokens = st.fixed_dictionaries(
    {},
    optional={
        "accessToken": st.just(SECRET) | anything,
        "expiresAt": times | st.just("9999-12-31T23:59:59-23:59") | anything,
        "registrationExpiresAt": times | st.just("2037-01-01T00:00:00Z") | anything,
        **dict.fromkeys(
            ("refreshToken", "clientId", "clientSecret"), st.just("x") | anything
        ),
    },
)


@often(200)
@given(tokens | anything, st.integers(-9, 0))
def test_valid_token_files_are_read(content: Any, end: int) -> None:
    text = json.dumps(content).encode()
    check_token(text[:end] if end < -5 else text)


@often(100)
@given(st.binary(max_size=40))
@example(b"[" * 60_000)
@example(b'{"accessToken":"x","expiresAt":' + b"9" * 5000 + b"}")
def test_invalid_token_files_count_as_absent(content: bytes) -> None:
    check_token(content)


# --- The fuzzer -------------------------------------------------------------------------

FUZZ_S = 5
FUZZED = (
    "any_lines",
    "read_as_botocore_reads_it",
    "only_complete_urls_count",
    "test_valid_token_files_are_read",
)


def test_fuzzer_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tests = [name for name in globals() if name.endswith(FUZZED)]
    assert len(tests) == len(FUZZED)
    running = {}
    for test in tests:
        options = [f"-max_total_time={FUZZ_S}", "-print_final_stats=1"]
        with (tmp_path / test).open("wb") as log:
            argv = [sys.executable, __file__, test, *options]
            running[test] = subprocess.Popen(
                argv, env=environment, stderr=log, stdout=log
            )
    for test, process in running.items():
        code = process.wait(60)
        said = (tmp_path / test).read_text(errors="replace")
        assert code == 0, said[-4000:]
        executed = re.search(r"number_of_executed_units: (\d+)", said)
        assert executed, said[-4000:]
        assert int(executed[1]) > 10


def main(test: str, arguments: Sequence[str]) -> None:
    """Fuzz a test until an example breaks it, or as long as atheris's arguments say."""
    folder = Path(tempfile.gettempdir()) / "aws-sso-mcp-fuzz" / test
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    ours = ["-max_len=4096", "-timeout=20", f"-artifact_prefix={folder}/"]
    given_here = [each for each in arguments if not each.startswith("-")]
    options = [each for each in arguments if each.startswith("-")]
    with tempfile.TemporaryDirectory() as home, home_in(Path(home)):
        argv = [sys.argv[0], *ours, *options, *(given_here or [str(corpus)])]
        atheris.Setup(argv, globals()[test].hypothesis.fuzz_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == [] or not hasattr(globals().get(sys.argv[1]), "hypothesis"):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
