"""The properties of fuzz.py against what hypothesis makes up, the same each time."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import aws_sso_mcp
from kit import fuzz
from kit.desk import DEVICE_PROMPT, PKCE_PROMPT, PKCE_URL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FUZZ_S = 5
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def often(examples: int) -> settings:
    """Return settings: so many examples, the same each time."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=slow,
    )


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fuzz.home(tmp_path_factory.mktemp("home")) as home:
        yield home


# --- JSON-RPC lines ---------------------------------------------------------------------

any_text = st.text(st.characters(), max_size=20)  # with lone surrogates
ids = st.sampled_from([0, 1, "", "1", "a", -1, 10**30]) | st.integers() | any_text
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
anything = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(any_text, each, max_size=3)
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
) | st.fixed_dictionaries({name: st.just(value) | anything for name, value in MODERN.items()})
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
METHODS = ["initialize", "ping", "tools/list", "server/discover", "notifications/cancelled"]
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
    """Draw a line: a message, a batch, other JSON, in any encoding, torn, nested, or just bytes."""
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
    True, [b'[{"id":1,"method":"ping"},{"id":1.0,"method":"ping"},{"id":"1","method":"ping"}]']
)
@example(
    True, [b'{"id":1,"method":"tools/call","params":{"name":' + b"[" * 900 + b"]" * 900 + b"}}"]
)
@example(True, [b'{"id":9,"method":"ping","params":' + b"[" * 99_999])
@example(True, [b'{"id":' + b"9" * 4300 + b',"method":"ping"}', b'{"id":' + b"9" * 4301 + b"}"])
def test_server_gets_over_any_lines(initialized: bool, stream: list[bytes]) -> None:
    fuzz.check_stream((fuzz.INITIALIZE if initialized else b"") + b"\n".join(stream))


def test_a_deep_request_takes_no_other_with_it() -> None:
    # Just below where the parser gives up, what comes after it must not give up either.
    written: list[bytes] = []
    server = aws_sso_mcp.Server(written.append)
    server.handle_line(fuzz.INITIALIZE)
    ping = b'{"id":2,"method":"ping"}'
    for depth in [*range(850, 1000), 3000, 9000, 90_000]:
        written.clear()
        deep = b"[" * depth + b"]" * depth
        for message in (
            b'{"id":1,"method":"tools/call","params":{"name":%s}}',
            b'{"method":"notifications/cancelled","params":{"requestId":%s}}',
        ):
            written.clear()
            server.handle_line(b"[" + message % deep + b"," + ping + b"]")
            assert len(written) in (0, 1 + message.count(b'"id"'))


def test_more_calls_at_once_than_allowed_are_refused_one_by_one() -> None:
    call = {"name": "refresh_aws_sso_token", "arguments": {"force": True}}
    requests = [{"id": each, "method": "tools/call", "params": call} for each in range(300)]
    fuzz.check_stream(fuzz.INITIALIZE + json.dumps(requests).encode())


class Endless(io.RawIOBase):
    """A stream of bytes that nobody wrote."""

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
@given(st.lists(st.sampled_from([b"\n", b" ", b"x" * 7, b"x" * 8, b"x" * 16, b"y"]), max_size=20))
def test_lines_are_whole_or_not_heard_of(parts: list[bytes]) -> None:
    stream, heard = b"".join(parts), list[bytes]()
    server = mock.Mock(handle_line=heard.append)
    with mock.patch.object(aws_sso_mcp, "MAX_LINE_BYTES", 16):
        aws_sso_mcp.serve(io.BytesIO(stream), server)
    lines = [line for line in io.BytesIO(stream) if line.strip() or len(line) >= 16]
    fits = [len(line) < 16 or (len(line) == 16 and line.endswith(b"\n")) for line in lines]
    expected = [line if fit else b"too long" for line, fit in zip(lines, fits)]
    # Of a line of blanks too long nothing needs to be said.
    assert [each for each in heard if each != b"too long"] == [
        each for each in expected if each != b"too long"
    ]
    assert heard.count(b"too long") <= expected.count(b"too long")


def test_a_line_too_long_is_not_held() -> None:
    stream = io.BufferedReader(Endless(64 << 20))
    written: list[bytes] = []
    server = aws_sso_mcp.Server(written.append)
    tracemalloc.start()
    try:
        aws_sso_mcp.serve(stream, server)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * aws_sso_mcp.MAX_LINE_BYTES
    assert written == []


# --- AWS configuration ------------------------------------------------------------------

words = st.sampled_from(
    ["a", "b", "default", "corp", "a b", "'a b'", '"a b"', "a\\ b", "bob's", "é", "", fuzz.SECRET]
) | st.text(st.characters(codec="utf-8"), max_size=5)
headers = st.one_of(
    st.builds("[profile {}]".format, words),
    st.builds("[sso-session {}]".format, words),
    st.builds("[{}]".format, words),
    st.sampled_from(["[default]", "[DEFAULT]", "[profile]", " [profile a]", "[profile a", "[]"]),
)
# fmt: off
keys = st.sampled_from([
    "sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name", "role_arn",
    "source_profile", "web_identity_token_file", "credential_process", "aws_access_key_id",
    "aws_secret_access_key", "s3",
])
# fmt: on
values = st.sampled_from(
    ["a", "corp", "b", "default", "", "https://x.awsapps.com/start", "us-east-1", fuzz.SECRET]
) | st.text(st.characters(codec="utf-8"), max_size=8)
pairs = st.builds("{}{}{}".format, keys | words, st.sampled_from([" = ", "=", ":", " "]), values)
nested = st.builds("{} =\n  {}".format, keys, pairs | words)
breaks = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\n ", "\r", "\x0c", "\u2028", ""])
sections = st.tuples(headers, st.lists(pairs | pairs | pairs | nested | words, max_size=5))
SSO = "[sso-session corp]\nsso_start_url=https://x.awsapps.com/start\nsso_region=us-east-1\n"


@st.composite
def configs(draw: st.DrawFn) -> bytes:
    """Draw a file that is mostly well-formed, so that what is in it is looked at."""
    rare = draw(st.integers(0, 3)) == 0
    text = draw(st.sampled_from(["", SSO]))
    for header, body in draw(st.lists(sections, max_size=5)):
        for line in (header, *body):
            text += line + (draw(breaks) if rare else "\n")
    return text.encode("utf-16" if rare and draw(st.integers(0, 9)) == 0 else "utf-8")


@st.composite
def profiles(draw: st.DrawFn, header: str) -> bytes:
    """Draw a file that each tool can read."""
    some = st.sampled_from(["a", "b", "c", "default", "'a b'", '"a b"', "a\\ b", "a b", "bob's"])
    names = draw(st.lists(some, unique=True, min_size=1))
    text = SSO
    for name in names:
        body = draw(st.dictionaries(keys, values.filter(str.isprintable) | nested, max_size=6))
        for key, value in body.items():
            body[key] = "\n s = 1" if "\n" in value else value.lstrip("[")
        text += header.format(name) + "".join(f"{key} = {body[key]}\n" for key in body)
    return text.encode()


@often(500)
@given(
    st.one_of(profiles("[profile {}]\n"), configs(), st.binary(max_size=60)),
    st.one_of(profiles("[{}]\n"), st.just(b""), configs()),
)
@example(b"[profile a]\nregion = x\nkeep = 1\n", b"[a]\nregion = y\n[b]\nsso_session = s\n")
@example(b"[profile a]\nsso_session =\n  a = b\n", b"")
@example(
    b"[profile a]\nsso_session = corp\nsso_start_url =\n  a = b\n", b"[a]\nsso_region =\n  x=y\n"
)
@example(
    b"[profile a]\nrole_arn=x\nsource_profile=b\n[profile b]\nrole_arn=x\nsource_profile=a", b""
)
@example(b"[profile a]\ns3 =\n  a = b\n  s3cr3t\x0c\n", b"")
@example(b"[profile a]\ns3 =\n  a = b\x0c  s3cr3t\n", b"")
def test_config_is_read_as_botocore_does(home: Path, config: bytes, credentials: bytes) -> None:
    fuzz.check_config(home, config, credentials)


# --- CLI output, URLs, token files ------------------------------------------------------

prompts = st.sampled_from([PKCE_PROMPT, DEVICE_PROMPT, PKCE_PROMPT.replace("\n", "\r\n"), PKCE_URL])
noise = st.text(st.sampled_from("\n\r :/?A1-\x85\u2028é") | st.characters(), max_size=20)
errors = st.sampled_from(fuzz.SEEDS["output"]) | st.text(st.sampled_from("aZ0/+=-._~ \n"))


@often(400)
@given(st.lists(prompts | noise | errors, max_size=5), st.lists(st.integers(0, 900), max_size=30))
@example([PKCE_PROMPT], list(range(60, 90)))
@example([DEVICE_PROMPT], list(range(60, 90)))
@example(["x\n" * 32_700, PKCE_PROMPT], [])
@example(["\n", "0aA/" * 16_384], [])
def test_only_whole_urls_count(parts: list[str], cuts: list[int]) -> None:
    output = "".join(parts).encode("utf-8", "surrogatepass")
    ends = [0, *sorted(cuts), len(output)]
    fuzz.check_output([output[start:end] for start, end in zip(ends, ends[1:])])


schemes = st.sampled_from(["https://"] * 6 + ["http://", "HTTPS://", "https:/", "javascript:", ""])
signs = st.text(
    st.sampled_from("\\@:%#?/. \t\n\x00\x7f[]é\u3002\uff0f'\"<>aé-_") | st.characters(), max_size=4
)
hosts = st.sampled_from([*fuzz.AWS_SUFFIXES, "x.awsapps.com", "evil.example", "xaws", "127.0.0.1"])


@often(1500)
@given(st.tuples(schemes, signs, hosts, signs, hosts | signs, signs | st.just(":443/?a=b"), signs))
@example(("https://", "", "evil.example", "\\@", "x.awsapps.com", "/", ""))
@example(("https://", "x:y@", "x.awsapps.com", "", "", "", ""))
@example(("https://", "", "x.awsapps.com", "\n", "", "", ""))
@example(("https://", "", "evil.example", "/", "x.awsapps.com", "", ""))
def test_a_page_of_aws_is_one_for_every_reader(parts: tuple[str, ...]) -> None:
    fuzz.check_url("".join(parts))


def test_pages_of_aws() -> None:
    assert aws_sso_mcp.is_aws_page(PKCE_URL)
    for suffix in fuzz.AWS_SUFFIXES:
        host = suffix if "us-east-1" in suffix else f"x.{suffix}"
        assert aws_sso_mcp.is_aws_page(f"https://{host}:443/a?b=c#d")
        assert not aws_sso_mcp.is_aws_page(f"https://{host}.example/")
        assert not aws_sso_mcp.is_aws_page(f"https://evil-{suffix}/")


times = st.text(st.sampled_from("0123456789TZUC:-+. ٣"), max_size=30) | st.from_regex(
    re.compile(aws_sso_mcp.ISO_TIME), fullmatch=True
)
offsets = st.integers(-1439, 1439).map(timedelta(minutes=1).__mul__).map(timezone)


@often(500)
@given(
    st.datetimes(timezones=offsets | st.just(timezone.utc)),
    st.sampled_from(["", ".5", ".123456789"]),
)
def test_times_are_read_as_dateutil_does(time: datetime, fraction: str) -> None:
    text = time.replace(microsecond=0).isoformat()
    text = text[:19] + fraction + text[19:]
    for spelling in (text, text.replace("+00:00", "Z"), text.replace("+00:00", "UTC")):
        assert aws_sso_mcp.epoch(spelling) == time.replace(microsecond=0).timestamp()
        fuzz.check_time(spelling)


@often(300)
@given(times)
def test_what_is_no_time_is_none(text: str) -> None:
    fuzz.check_time(text)


tokens = st.fixed_dictionaries(
    {},
    optional={
        "accessToken": st.just(fuzz.SECRET) | anything,
        "expiresAt": times | st.just("9999-12-31T23:59:59-23:59") | anything,
        "registrationExpiresAt": times | st.just("2037-01-01T00:00:00Z") | anything,
        **dict.fromkeys(("refreshToken", "clientId", "clientSecret"), st.just("x") | anything),
    },
)


@often(200)
@given(tokens | anything, st.integers(-9, 0))
def test_token_files(content: Any, end: int) -> None:
    text = json.dumps(content).encode()
    fuzz.check_token(text[:end] if end < -5 else text)


@often(100)
@given(st.binary(max_size=40))
@example(b"[" * 60_000)
@example(b'{"accessToken":"x","expiresAt":' + b"9" * 5000 + b"}")
def test_no_token_files(content: bytes) -> None:
    fuzz.check_token(content)


# --- The fuzzer -------------------------------------------------------------------------


def test_fuzzer_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    running = {}
    for target in fuzz.TARGETS:
        options = [f"-max_total_time={FUZZ_S}", "-print_final_stats=1"]
        argv = [sys.executable, fuzz.__file__, target, *options]
        with (tmp_path / target).open("wb") as log:
            running[target] = subprocess.Popen(argv, env=environment, stderr=log, stdout=log)
    for target, process in running.items():
        code = process.wait(60)
        said = (tmp_path / target).read_text(errors="replace")
        assert code == 0, said[-4000:]
        executed = re.search(r"number_of_executed_units: (\d+)", said)
        assert executed, said[-4000:]
        assert int(executed[1]) > len(fuzz.SEEDS[target])
