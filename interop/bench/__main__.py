#!/usr/bin/env python3
"""Measure the server, and compare it with a floor, peers, the AWS CLI, botocore and its goals.

    python3 interop/bench [NAME ...] [--quick] [--markdown FILE]

runs the measurements in `MEASURES` (all, or those named) and prints one Markdown table. Peers are
components of install.py; those that are not installed are left out. Other programs disturb the
times, so subjects take turns, times are medians, and a goal is a ratio or a difference within one
run. `--quick` only proves that the benchmark still works: its figures mean nothing. The exit code
does not depend on goals. `$AWS_SSO_MCP_FILE` names another `aws_sso_mcp.py` to measure.

From top to bottom: the table, processes, requests, homes, subjects, one function per measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import math
import os
import platform
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kit.components import installed, node, real

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parent
SERVER = Path(
    os.environ.get("AWS_SSO_MCP_FILE") or INTEROP.parent / "aws_sso_mcp.py"
).absolute()
PEERS = HERE / "peers"
NAN = math.nan  # not measurable here


# --- The table --------------------------------------------------------------------------


class Sample(NamedTuple):
    """One measurement, or the medians of many."""

    wall_ms: float = NAN
    cpu_ms: float = NAN
    rss_mb: float = NAN
    """Peak resident memory."""
    pss_mb: float = NAN
    """Proportional share of resident memory."""


def medians(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(median, zip(*samples)))


class Row(NamedTuple):
    """One row of the table; its fields are the columns."""

    measure: str
    subject: str
    wall: str = ""
    cpu: str = ""
    rss: str = ""
    pss: str = ""
    beside: str = ""
    goal: str = ""
    met: str = ""


COLUMNS = Row(
    "measure", "subject", "time", "CPU", "RSS", "PSS", "beside", "goal", "met"
)


def row(measure: str, subject: str, sample: Sample) -> Row:
    times = sample[:2]
    sizes = sample[2:]
    cells = [text(value, "ms" if value >= 1 else "us") for value in times]
    return Row(measure, subject, *cells, *(text(value, "MB") for value in sizes))


def text(value: float, unit: str) -> str:
    if math.isnan(value):
        return ""
    value *= 1000 if unit == "us" else 1
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def ratio(
    of: Row, value: float, base: float, to: str, at_most: float | None = None
) -> Row:
    """Return the row with its ratio to `to`, and whether that meets the goal."""
    of = of._replace(beside=f"{value / base:.2f} x {to}")
    if at_most is None or math.isnan(value / base):
        return of
    return of._replace(
        goal=f"<= {at_most} x", met="yes" if value <= at_most * base else "NO"
    )


def difference(of: Row, ms: float, to: str, at_most: float | None = None) -> Row:
    """Return the row with its difference from `to`, and whether that meets the goal."""
    of = of._replace(beside=f"{ms:+.0f} ms to {to}")
    if at_most is None:
        return of
    return of._replace(
        goal=f"<= +{at_most:.0f} ms", met="yes" if ms <= at_most else "NO"
    )


def markdown(rows: Sequence[Row]) -> str:
    columns = list(zip(COLUMNS, *rows))
    widths = [max(map(len, column)) for column in columns]
    rule = Row(*("-" * width for width in widths))
    lines = [COLUMNS, rule, *rows]
    return "\n".join(
        f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines
    )


# --- Processes --------------------------------------------------------------------------


class Process:
    """A server on pipes, and its resource use; `environment` is its whole environment."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Process:  # noqa: PYI034 (Self is of 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        """End it as a client would."""
        self._process.__exit__(None, None, None)

    def tell(self, lines: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(lines)
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the next result."""
        return json.loads(self.line())["result"]

    def line(self) -> bytes:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"{self._process.args!r} has ended"
        return line

    def answer_all(self, request: bytes, count: int) -> None:
        """Send a request `count` times without waiting, then read all answers."""
        assert self._process.stdout
        writer = threading.Thread(target=self.tell, args=(request * count,))
        writer.start()
        while count > 0:
            count -= os.read(self._process.stdout.fileno(), 1 << 16).count(b"\n")
        writer.join()

    def cpu_ms(self) -> float:
        """Return the CPU time of all its threads so far, from Linux's clock of the process.

        The clock's id is that of clock_getcpuclockid(3), which Python does not have.
        """
        try:
            return time.clock_gettime(~self._process.pid << 3 | 2) * 1000
        except OSError:
            return NAN

    def memory_mb(self, *keys: str) -> list[float]:
        """Return sizes from proc(5) with these `keys`, such as VmRSS."""
        told = ""
        with contextlib.suppress(OSError):
            for name in ("status", "smaps_rollup"):
                told += Path(f"/proc/{self._process.pid}/{name}").read_text()
        found = [re.search(rf"^{key}:\s+(\d+) kB", told, re.MULTILINE) for key in keys]
        return [int(match[1]) / 1024 if match else NAN for match in found]


# --- Requests ---------------------------------------------------------------------------


def request(method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


MCP = "io.modelcontextprotocol/"
INFO = {"name": "bench", "version": "1"}
ENVELOPE = {
    MCP + "protocolVersion": "2026-07-28",
    MCP + "clientCapabilities": {},
    MCP + "clientInfo": INFO,
}
INITIALIZE = request(
    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=INFO
)
INITIALIZED = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n'
PING = request("ping")
LIST = request("tools/list")
MODERN = (
    request("server/discover", _meta=ENVELOPE),
    request("tools/list", _meta=ENVELOPE),
)


def call(tool: str, **arguments: Any) -> bytes:
    return request("tools/call", name=tool, arguments=arguments, _meta=ENVELOPE)


# --- Homes ------------------------------------------------------------------------------

SESSION = """\
[sso-session {0}]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access

"""
PROFILE = """\
[profile {0}]
sso_session = {1}
"""
ROLE = """\
sso_account_id = 123456789012
sso_role_name = Developer
region = eu-central-1
output = json

"""


class Home:
    """A user's HOME with a config and tokens that are valid for an hour."""

    def __init__(self, folder: Path, config: str, sessions: Sequence[str] = ()) -> None:
        self.path = folder
        self.cache = folder / ".aws" / "sso" / "cache"
        self.cache.mkdir(parents=True)
        (folder / ".aws" / "config").write_text(config)
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        token = {"accessToken": "x" * 400, "expiresAt": end}
        for session in sessions:
            name = hashlib.sha1(session.encode()).hexdigest()
            (self.cache / f"{name}.json").write_text(json.dumps(token))

    def environment(self, **more: str) -> dict[str, str]:
        return {"HOME": str(self.path), "PATH": "/usr/bin:/bin", **more}


class Bench(NamedTuple):
    """What the measurements share."""

    folder: Path
    quick: bool

    def times(self, full: int) -> int:
        """Return the number of repetitions."""
        return max(1, full // 50) if self.quick else full

    def home(self, config: str, sessions: Sequence[str] = ()) -> Home:
        return Home(Path(tempfile.mkdtemp(dir=self.folder)), config, sessions)


# --- Subjects ---------------------------------------------------------------------------


class Subject(NamedTuple):
    """A server to measure, and the one to compare it with."""

    name: str
    argv: tuple[str, ...]
    beside: str = ""


def ours(python: str) -> tuple[str, ...]:
    return (python, "-IS", str(SERVER))


def floor(python: str) -> tuple[str, ...]:
    """Return how to start a server that answers with our results, stored in advance."""
    with Process(ours(python), {}) as server:
        server.tell(INITIALIZE + PING + LIST + MODERN[0])
        methods = ("initialize", "ping", "tools/list", "server/discover")
        results = {method: server.answer() for method in methods}
    return (python, "-IS", str(PEERS / "floor.py"), json.dumps(results))


@functools.lru_cache(None)
def pythons() -> dict[str, str]:
    """Return the Pythons to measure on by version: the oldest supported, 3.11, the newest."""
    listed = subprocess.run(
        [sys.executable, INTEROP.parent / ".ci" / "pythons.py"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = {}
    for python in sorted([os.path.realpath(sys.executable), *listed.stdout.split()]):
        told = subprocess.run(
            [python, "-IS", "-c", ask], stdout=subprocess.PIPE, check=True
        )
        found[told.stdout.decode().strip()] = python
    versions = sorted(found, key=lambda version: int(version.split(".")[1]))
    return {
        version: found[version] for version in versions if version in ("3.9", "3.11")
    } | {versions[-1]: found[versions[-1]]}


def newest() -> str:
    return list(pythons())[-1]


@functools.lru_cache(None)
def on_python(version: str) -> list[Subject]:
    python = pythons()[version]
    name = f"floor, Python {version}"
    return [
        Subject(name, floor(python)),
        Subject(f"ours, Python {version}", ours(python), beside=name),
    ]


@functools.lru_cache(None)
def packaged(bench: Bench, version: str) -> Subject:
    """Return ours as pipx and uvx install it: compiled, in its own venv."""
    folder = bench.folder / f"venv-{version}"
    subprocess.run(
        [pythons()[version], "-m", "venv", "--without-pip", folder], check=True
    )
    [packages] = folder.glob("lib/*/site-packages")
    shutil.copy(SERVER, packages)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "compileall", "-q", packages], check=True)
    script = "from aws_sso_mcp import main; raise SystemExit(main())"
    name = f"ours as a package, {version}"
    return Subject(
        name, (python, "-I", "-c", script), beside=f"floor, Python {version}"
    )


@functools.lru_cache(None)
def peers() -> list[Subject]:
    """Return the installed peers, each compared with ours on the same Python."""
    found = []
    for component, script in (("mcp-2", "python_sdk.py"), ("fastmcp", "fast_mcp.py")):
        if there(component):
            python = str(real(component) / "bin" / "python")
            version = subprocess.run(
                [python, "-V"], stdout=subprocess.PIPE, text=True, check=True
            ).stdout.split()[1]
            minor = version.rpartition(".")[0]
            beside = minor if minor in pythons() else newest()
            name = "Python SDK" if component == "mcp-2" else component
            argv = (python, str(PEERS / script))
            found.append(
                Subject(f"{name}, Python {minor}", argv, f"ours, Python {beside}")
            )
    if there("ts-server-2") and there("node-22"):
        program = real("node-22") / "node_modules" / node() / "bin" / "node"
        command = (str(program), str(PEERS / "ts_sdk.mjs"), str(real("ts-server-2")))
        found.append(Subject("TypeScript SDK", command, f"ours, Python {newest()}"))
    return found


def everyone(bench: Bench | None = None) -> list[Subject]:
    """Return all subjects; with `bench` also ours as a package."""
    found = []
    for version in pythons():
        found += [*on_python(version), *([packaged(bench, version)] if bench else [])]
    return [*found, *peers()]


def there(component: str) -> bool:
    """Return whether a component is installed; print a note if not."""
    if not installed(component):
        note(
            f"left out: {component}, for want of: python3 interop/install.py {component}"
        )
    return installed(component)


def note(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def taking_turns(
    subjects: Sequence[Subject], rounds: int, sample: Callable[[Subject], Sample]
) -> dict[str, Sample]:
    """Return the medians of each subject by name; the first round only fills caches."""
    taken: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
    for number in range(rounds + (rounds > 1)):
        for subject in random.sample(subjects, len(subjects)):
            each = sample(subject)
            if number or rounds == 1:
                taken[subject.name].append(each)
    return {name: medians(samples) for name, samples in taken.items()}


def beside_each_other(
    measure: str,
    subjects: Sequence[Subject],
    taken: dict[str, Sample],
    at_most: float,
    of: Callable[[Sample], float] = lambda sample: sample.wall_ms,
    *,
    package_at_most: float | None = None,
) -> Iterator[Row]:
    """Yield a row per subject; our goal is `at_most` times the floor.

    `package_at_most`: for a package, which Python does not compile at each start.
    """
    for subject in subjects:
        made = row(measure, subject.name, taken[subject.name])
        to = subject.beside
        if to:
            goal = at_most if to.startswith("floor") else None
            if goal is not None and "package" in subject.name:
                goal = package_at_most or at_most
            made = ratio(
                made, of(taken[subject.name]), of(taken[to]), to.split(",")[0], goal
            )
        yield made


# --- Measures ---------------------------------------------------------------------------


def started(bench: Bench, requests: Sequence[bytes]) -> Callable[[Subject], Sample]:
    """Return the function that measures a subject from its start to the last answer."""
    environment = bench.home("").environment()

    def sample(subject: Subject) -> Sample:
        began = time.perf_counter()
        with Process(subject.argv, environment) as server:
            for each in requests:
                server.tell(each)
                server.answer()
            wall = (time.perf_counter() - began) * 1000
            return Sample(wall, server.cpu_ms(), *server.memory_mb("VmHWM", "Pss"))

    return sample


def start(bench: Bench) -> Iterator[Row]:
    """Start to the answer of `initialize`, and to `server/discover` and `tools/list`."""
    subjects = everyone(bench)
    for measure, requests in (
        ("start: initialize", [INITIALIZE]),
        ("start: discover, list", MODERN),
    ):
        taken = taking_turns(subjects, bench.times(20), started(bench, requests))
        times = {
            name: sample._replace(rss_mb=NAN, pss_mb=NAN)
            for name, sample in taken.items()
        }
        yield from beside_each_other(measure, subjects, times, 3.2, package_at_most=1.5)


def memory(bench: Bench) -> Iterator[Row]:
    """Memory after `tools/list`."""
    subjects = everyone(bench)
    taken = taking_turns(subjects, bench.times(7), started(bench, MODERN))
    sizes = {name: Sample(NAN, NAN, *sample[2:]) for name, sample in taken.items()}
    yield from beside_each_other(
        "memory",
        subjects,
        sizes,
        3.2,
        lambda sample: sample.rss_mb,
        package_at_most=1.5,
    )


def instructions(bench: Bench) -> Iterator[Row]:
    """Instructions from the start to the answer of `initialize`, and to the end."""
    if shutil.which("valgrind") is None:
        note("left out: instructions, for want of valgrind")
        return
    counts = {}
    for subject in [*on_python(newest()), packaged(bench, newest())]:
        out = bench.folder / "callgrind"
        argv = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            *subject.argv,
        ]
        subprocess.run(
            argv,
            input=INITIALIZE,
            env=bench.home("").environment(),
            capture_output=True,
            check=True,
        )
        counted = re.search(
            r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE
        )
        assert counted
        counts[subject.name] = millions = int(counted[1]) / 1e6
        made = Row("instructions", subject.name, f"{millions:.1f} M")
        if subject.beside:
            made = ratio(made, millions, counts[subject.beside], "floor")
            made = made._replace(
                goal="<= 130 M", met="yes" if millions <= 130 else "NO"
            )
        yield made


def round_trips(bench: Bench) -> Iterator[Row]:
    """`ping` and `tools/list`, one at a time, of servers that keep running."""
    subjects = everyone()
    with contextlib.ExitStack() as stack:
        servers = initialized(bench, stack, subjects)
        for measure, line in (("ping", PING), ("tools/list", LIST)):

            def sample(subject: Subject, line: bytes = line) -> Sample:
                server = servers[subject.name]
                count = 200
                cpu = server.cpu_ms()
                walls = []
                for _ in range(count):
                    began = time.perf_counter()
                    server.tell(line)
                    server.line()
                    walls.append((time.perf_counter() - began) * 1000)
                return Sample(median(walls), (server.cpu_ms() - cpu) / count)

            taken = taking_turns(subjects, bench.times(50), sample)
            yield from beside_each_other(measure, subjects, taken, 1.2)


def pipelined(bench: Bench) -> Iterator[Row]:
    """`ping` and `tools/list`, 10,000 at once, peers 1,000; figures are per request."""
    subjects = everyone()
    count = bench.times(10_000)
    with contextlib.ExitStack() as stack:
        servers = initialized(bench, stack, subjects)
        for measure, line in (
            ("ping, pipelined", PING),
            ("tools/list, pipelined", LIST),
        ):

            def sample(subject: Subject, line: bytes = line) -> Sample:
                server = servers[subject.name]
                sent = (
                    count if "floor" in subject.name + subject.beside else count // 10
                )
                cpu = server.cpu_ms()
                began = time.perf_counter()
                server.answer_all(line, sent)
                wall = (time.perf_counter() - began) * 1000
                return Sample(wall / sent, (server.cpu_ms() - cpu) / sent)

            taken = taking_turns(subjects, bench.times(9), sample)
            yield from beside_each_other(measure, subjects, taken, 2)


def initialized(
    bench: Bench, stack: contextlib.ExitStack, subjects: Sequence[Subject]
) -> dict[str, Process]:
    """Return running servers that have been initialized, by name."""
    environment = bench.home("").environment()
    servers = {}
    for subject in subjects:
        servers[subject.name] = server = stack.enter_context(
            Process(subject.argv, environment)
        )
        server.tell(INITIALIZE)
        server.answer()
        server.tell(INITIALIZED)
    return servers


def requests(bench: Bench) -> Iterator[Row]:
    """Memory growth after 100,000 requests."""
    with contextlib.ExitStack() as stack:
        [server] = initialized(bench, stack, on_python(newest())[1:2]).values()
        for _ in range(10):
            server.answer_all(PING, bench.times(500))
            server.answer_all(LIST, bench.times(500))
        [before] = server.memory_mb("VmRSS")
        for _ in range(10):
            server.answer_all(PING, bench.times(5_000))
            server.answer_all(LIST, bench.times(5_000))
        [after] = server.memory_mb("VmRSS")
    made = Row("100,000 requests", f"ours, Python {newest()}", rss=text(after, "MB"))
    grown = f"{after - before:+.2f} MB to 10,000"
    yield made._replace(
        beside=grown, goal="<= +0.5 MB", met="yes" if after - before <= 0.5 else "NO"
    )


def profiles(bench: Bench) -> Iterator[Row]:
    """Status and choice of a profile as the config grows, compared with botocore's loading."""
    if not there("tools"):
        return
    for count in (10, 500, 5_000):
        sessions = [f"session-{number}" for number in range(min(count, 200))]
        config = "".join(SESSION.format(session) for session in sessions)
        for number in range(count):
            session = sessions[number % len(sessions)]
            config += PROFILE.format(f"profile-{number}", session) + ROLE
        home = bench.home(config, sessions).environment(PYTHONPATH=str(SERVER.parent))
        with contextlib.ExitStack() as stack:
            loaders = {}
            for name in ("botocore", "choice", "status"):
                argv = (
                    str(real("tools") / "bin" / "python"),
                    "-s",
                    str(PEERS / "config_load.py"),
                )
                loaders[name] = stack.enter_context(Process((*argv, name), home))

            def sample(
                subject: Subject, loaders: dict[str, Process] = loaders
            ) -> Sample:
                loaders[subject.name].tell(b"\n")
                return Sample(*json.loads(loaders[subject.name].line()))

            subjects = [Subject(name, ()) for name in loaders]
            taken = taking_turns(
                subjects, bench.times(25 if count < 5_000 else 11), sample
            )
        base = taken.pop("botocore")
        yield row(f"{count:,} profiles", "botocore's load", base)
        for name, times in taken.items():
            made = row(f"{count:,} profiles", f"ours, {name}", times)
            yield ratio(made, times.wall_ms, base.wall_ms, "botocore", 0.6)


def foreign_files(bench: Bench) -> Iterator[Row]:
    """Status with and without 10,000 foreign files in the token cache."""
    config = "".join(
        SESSION.format(name) + PROFILE.format(name, name) + ROLE for name in "abc"
    )
    servers = {}
    with contextlib.ExitStack() as stack:
        for count in (0, 10_000):
            home = bench.home(config, "abc")
            for number in range(count):
                name = hashlib.sha1(str(number).encode()).hexdigest()
                (home.cache / f"{name}.json").write_text('{"accessToken": "x"}')
            argv = ours(pythons()[newest()])
            name = f"ours, {count:,} foreign files"
            servers[name] = stack.enter_context(Process(argv, home.environment()))

        def sample(subject: Subject) -> Sample:
            return timed_call(servers[subject.name], "get_aws_sso_status")

        subjects = [Subject(name, ()) for name in servers]
        taken = taking_turns(subjects, bench.times(200), sample)
        (without, base), (filled, most) = taken.items()
        yield row("status", without, base)
        yield ratio(
            row("status", filled, most), most.wall_ms, base.wall_ms, "none", 1.1
        )


def timed_call(server: Process, tool: str, **arguments: Any) -> Sample:
    cpu = server.cpu_ms()
    began = time.perf_counter()
    server.tell(call(tool, **arguments))
    assert server.answer()["structuredContent"]["success"]
    return Sample((time.perf_counter() - began) * 1000, server.cpu_ms() - cpu)


# --- Measures with the real AWS CLI at an Identity Center


class Person:
    """A HOME, the AWS CLI, an Identity Center, and a browser that reports its start.

    Profile `role` has a role, so a login is verified by its caller identity. `none` belongs to a
    session without any role, so its login cannot be verified.
    """

    def __init__(self, bench: Bench, stack: contextlib.ExitStack) -> None:
        config = (
            SESSION.format("alone")
            + PROFILE.format("none", "alone")
            + SESSION.format("corp")
        )
        self.home = bench.home(config + PROFILE.format("role", "corp") + ROLE)
        centre = stack.enter_context(
            subprocess.Popen(
                [
                    real("tools") / "bin" / "python",
                    INTEROP / "kit" / "identity_center.py",
                ],
                stdout=subprocess.PIPE,
                text=True,
                # Its files are removed with the benchmark's folder.
                env={**os.environ, "TMPDIR": str(bench.folder)},
            )
        )
        stack.callback(centre.terminate)
        assert centre.stdout
        variables = {}
        while "AWS_CA_BUNDLE" not in variables:
            [_, variable] = shlex.split(centre.stdout.readline())
            name, _, value = variable.partition("=")
            variables[name] = value
        opened = self.home.path / "opened"
        os.mkfifo(opened)
        # Opened for writing too, so that `open` does not wait for the other side.
        self._opened = os.open(opened, os.O_RDWR)
        stack.callback(os.close, self._opened)
        self.browser = self.home.path / "browser"
        words = shlex.join(
            [os.path.realpath(sys.executable), str(INTEROP / "kit" / "person.py")]
        )
        self.browser.write_text(f'#!/bin/sh\necho >{opened}\nexec {words} "$1"\n')
        self.browser.chmod(0o755)
        self.environment = self.home.environment(
            **variables, AWS_SSO_MCP_LOGIN="browser", BROWSER=f"{self.browser} %s"
        )
        folder = real("aws-newest") / "bin"
        self.aws = str(folder / "aws")
        self.environment["PATH"] = f"{folder}:/usr/bin:/bin"

    def page_opened(self) -> float:
        os.read(self._opened, 1)
        return time.perf_counter()

    def plain_login(self, profile: str = "none") -> tuple[Sample, Sample]:
        """Run `aws sso login`; measure until its page was opened, and until it ended."""
        argv = [self.aws, "sso", "login", "--no-browser", f"--profile={profile}"]
        began = time.perf_counter()
        with subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
            cwd=self.home.path,
        ) as login:
            assert login.stdout
            url = next(
                line.strip()
                for line in login.stdout
                if re.match(r"https://\S+\?", line)
            )
            with subprocess.Popen([self.browser, url], env=self.environment):
                opened = self.page_opened()
                assert login.wait() == 0
                ended = time.perf_counter()
        return Sample((opened - began) * 1000), Sample((ended - began) * 1000)

    def our_login(self) -> tuple[Sample, Sample]:
        """Do the same through a server that was not called before."""
        with self.server() as server:
            cpu = server.cpu_ms()
            began = time.perf_counter()
            server.tell(call("refresh_aws_sso_token", profile="none", force=True))
            opened = self.page_opened()
            answer = server.answer()["structuredContent"]
            ended = time.perf_counter()
            cpu = server.cpu_ms() - cpu
        assert answer["status"] == "logged_in", answer
        return Sample((opened - began) * 1000), Sample((ended - began) * 1000, cpu)

    @contextlib.contextmanager
    def server(self) -> Iterator[Process]:
        with Process(ours(pythons()[newest()]), self.environment) as server:
            server.tell(MODERN[0])
            server.answer()
            yield server

    def plain_identity(self) -> Sample:
        """Run `aws sts get-caller-identity`, which must fetch role credentials."""
        self.forget_role_credentials()
        argv = [self.aws, "sts", "get-caller-identity", "--profile=role"]
        began = time.perf_counter()
        subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            env=self.environment,
            cwd=self.home.path,
            check=True,
        )
        return Sample((time.perf_counter() - began) * 1000)

    def forget_role_credentials(self) -> None:
        shutil.rmtree(self.home.path / ".aws" / "cli" / "cache", ignore_errors=True)


def login(bench: Bench) -> Iterator[Row]:
    """`refresh` with a page, in a new server, compared with plain `aws sso login`."""
    if not (there("tools") and there("aws-newest")):
        return
    pairs = []
    with contextlib.ExitStack() as stack:
        person = Person(bench, stack)
        person.plain_login()  # registers a client, which later logins reuse
        kinds = [person.plain_login, person.our_login]
        for _ in range(bench.times(25)):
            done = {kind: kind() for kind in random.sample(kinds, 2)}
            pairs.append([done[kind] for kind in kinds])
    for column, measure in enumerate(("login: page opened", "login: answer, no proof")):
        plain_samples = []
        our_samples = []
        differences = []
        for plain_login, our_login in pairs:
            plain_samples.append(plain_login[column])
            our_samples.append(our_login[column])
            differences.append(our_login[column].wall_ms - plain_login[column].wall_ms)
        plain = medians(plain_samples)
        our = medians(our_samples)
        later = median(differences)
        yield row(measure, "aws sso login", plain)
        yield difference(row(measure, "ours, first call", our), later, "aws", 60)


def valid(bench: Bench) -> Iterator[Row]:
    """`refresh` with a valid token, which only verifies it, and `status`."""
    if not (there("tools") and there("aws-newest")):
        return
    with contextlib.ExitStack() as stack:
        person = Person(bench, stack)
        person.plain_login("role")

        profile = {"profile": "role"}

        def sample(subject: Subject) -> Sample:
            if subject.name == "aws sts":
                return person.plain_identity()
            person.forget_role_credentials()
            with person.server() as server:
                if "later" in subject.name:
                    timed_call(server, *subject.argv, **profile)
                    person.forget_role_credentials()
                return timed_call(server, *subject.argv, **profile)

        tools = {"valid": "refresh_aws_sso_token", "status": "get_aws_sso_status"}
        for measure, tool in tools.items():
            calls = [
                Subject(f"ours, {which} call", (tool,)) for which in ("first", "later")
            ]
            plain = [Subject("aws sts", ())] if measure == "valid" else []
            taken = taking_turns([*plain, *calls], bench.times(20), sample)
            for name, times in taken.items():
                made = row(measure, name, times)
                if plain and name != "aws sts":
                    made = difference(
                        made, times.wall_ms - taken["aws sts"].wall_ms, "aws"
                    )
                yield made


MEASURES = {
    "start": start,
    "memory": memory,
    "instructions": instructions,
    "round-trips": round_trips,
    "pipelined": pipelined,
    "requests": requests,
    "login": login,
    "valid": valid,
    "profiles": profiles,
    "foreign-files": foreign_files,
}


def machine() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    system = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}"
    )
    return f"{system}; Python {', '.join(pythons())}"


def main() -> int:
    """Run the measurements and print the table."""
    described = [f"{name}: {function.__doc__}" for name, function in MEASURES.items()]
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="\n".join(described),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="measures to take (all)"
    )
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument(
        "--markdown", metavar="FILE", type=Path, help="where else to write it"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(MEASURES))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}, only: {', '.join(MEASURES)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), options.quick)
        for name in options.names or MEASURES:
            began = time.monotonic()
            rows += MEASURES[name](bench)
            note(f"{name}: {time.monotonic() - began:.0f} s")
    table = f"{machine()}\n\n{markdown(rows)}\n"
    print(table, end="")
    if options.markdown:
        options.markdown.write_text(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
