"""The server when a call of the system fails: no memory, no descriptor, no process, no lock.

A library in the server's process (kit/shim.c) lets chosen calls of libc fail. The walk goes over
scenarios, functions, errors and calls; after each run the promises of kit/stage.py are checked.
`aws` and the browser are stand-ins, so that a run takes a fifth of a second.

Every run of pytest takes a sample of the calls. With AWS_SSO_MCP_ALL_FAULTS set it is up to 40
calls of each function, scenario and error.
"""

from __future__ import annotations

import functools
import os
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kit.components import need, real, version
from kit.desk import TOOL
from kit.processes import cli_processes
from kit.shim import KILL, LIBRARY, Fault, Shim
from kit.stage import ANSWER_LIMIT_S, Server, Stage, Violation
from kit.workplace import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.desk import Run

STATUS = "get_aws_sso_status"
IS_ALL = "AWS_SSO_MCP_ALL_FAULTS" in os.environ
SAMPLE = 3  # calls of one function, error and scenario that are tried
KILLS = 3  # calls of one function and scenario in which a server is killed
if IS_ALL:
    SAMPLE = 40
    KILLS = 40
FOREVER = 1_000_000  # calls


@pytest.fixture(autouse=True)
def library() -> None:
    need("shim")
    if not (real("shim") / LIBRARY).is_file():
        pytest.skip(version("shim"))


# --- What fails -------------------------------------------------------------------------

ERRORS = {
    "access": ("EACCES", "ENOENT"),
    "chmod": ("EPERM",),
    "close": ("EIO",),
    "dup": ("EMFILE",),
    "flock": ("ENOLCK", "EINTR"),
    "fork": ("EAGAIN", "ENOMEM"),
    "fstat": ("EIO",),
    "ftruncate": ("EIO",),
    "getcwd": ("ENOENT",),
    "kill": ("EPERM", "ESRCH"),
    "lseek": ("ESPIPE",),
    "lstat": ("ENOENT", "EACCES"),
    "malloc": ("ENOMEM",),
    "mkdir": ("EACCES", "ENOSPC"),
    "mmap": ("ENOMEM",),
    "open": ("EMFILE", "EACCES"),
    "opendir": ("EMFILE", "EACCES"),
    "pipe": ("EMFILE",),
    "poll": ("ENOMEM", "EINTR"),
    "pthread_create": ("EAGAIN",),
    "read_file": ("EIO", "EINTR"),
    "read_stdin": ("EAGAIN", "EINTR"),
    "readdir": ("EIO",),
    "readlink": ("ENOENT",),
    "rename": ("EACCES",),
    "sem_init": ("ENOMEM",),
    "stat": ("ENOENT", "EACCES"),
    "unlink": ("EACCES",),
    "waitpid": ("ECHILD", "EINTR"),
    "write_file": ("ENOSPC",),
    "write_stdout": ("EAGAIN", "EINTR"),
}

# What runs out and stays so for a while: from the call that is chosen on, all calls fail.
LASTING = {
    "flock": "ENOLCK",
    "fork": "EAGAIN",
    "mkdir": "ENOSPC",
    "open": "EMFILE",
    "pipe": "EMFILE",
    "pthread_create": "EAGAIN",
    "write_file": "ENOSPC",
}


# --- Scenarios --------------------------------------------------------------------------


def start(stage: Stage, fault: Fault | None) -> None:
    """Armed from the script's first line on: the server starts and tells its status."""
    server = stage.start(fault, arm_at=SERVER)
    if server.initialize() and server.call(STATUS) is not None:
        server.shim.disarm()
        call_again(stage, server, STATUS)
    server.end()


def status(stage: Stage, fault: Fault | None) -> None:
    stage.home.write_token(60)
    call_with_fault(stage, fault, STATUS)


def valid(stage: Stage, fault: Fault | None) -> None:
    """A refresh is asked for while the token is good."""
    stage.home.write_token(60)
    call_with_fault(stage, fault, TOOL)
    if stage.pages:
        stage.violations.add(Violation.NEEDLESS_PAGE)


def login(stage: Stage, fault: Fault | None) -> None:
    """There is no token; the user approves the page."""
    call_with_fault(stage, fault, TOOL)


def silent(stage: Stage, fault: Fault | None) -> None:
    """The token has expired, and can be refreshed without the user."""
    stage.home.write_token(-60)
    call_with_fault(stage, fault, TOOL)
    if stage.pages:
        stage.violations.add(Violation.NEEDLESS_PAGE)


def end_of_login(stage: Stage, fault: Fault | None) -> None:
    """The input ends while a page waits for the user."""
    stage.approves = False
    server = stage.start(fault)
    server.initialize()
    server.call()
    server.shim.arm()
    server.end()


def end_of_silent(stage: Stage, fault: Fault | None) -> None:
    """The input ends after AWS has exchanged the refresh token, before the CLI has saved it."""
    stage.home.write_token(-60)
    stage.refreshing = queue.Queue()
    server = stage.start(fault)
    server.initialize()
    server.send_call()
    run = stage.refreshing.get(timeout=ANSWER_LIMIT_S)
    server.shim.arm()
    saving = threading.Timer(0.3, save_unless_killed, (stage, run))
    saving.start()
    server.end()
    saving.join()


def save_unless_killed(stage: Stage, run: Run) -> None:
    commands = list(cli_processes(stage.home.path))
    if any("export-credentials" in command for command in commands):
        stage.save_token(run)
    else:
        stage.violations.add(Violation.TOKEN_LOST)


def call_with_fault(stage: Stage, fault: Fault | None, tool: str) -> None:
    """Start a server and call a tool: once with the fault, once after it has gone."""
    server = stage.start(fault)
    if server.initialize():
        server.shim.arm()
        answer = server.call(tool)
        server.shim.disarm()
        if answer is not None:
            call_again(stage, server, tool)
    server.end()


def call_again(stage: Stage, server: Server, tool: str) -> None:
    """Call until there is an outcome; the user opens the URL by hand if it comes to that."""
    answer = server.call(tool)
    for _ in range(5):
        if answer is None or answer.get("status") != "pending":
            break
        stage.approve()
        answer = server.call(tool)
    if answer is not None and not answer["success"]:
        stage.violations.add(Violation.NOT_AGAIN)


SCENARIOS: dict[str, Callable[[Stage, Fault | None], None]] = {
    "start": start,
    "status": status,
    "valid": valid,
    "login": login,
    "silent": silent,
    "end-of-login": end_of_login,
    "end-of-silent": end_of_silent,
}


# --- One run ----------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What one run has shown."""

    violations: set[Violation]
    calls: dict[str, int]
    """How often each function was called while the shim was armed."""
    errors: str
    """stderr."""


def run(scenario: str, fault: Fault | None) -> Outcome:
    stage = Stage()
    try:
        SCENARIOS[scenario](stage, fault)
        stage.check()
        calls = stage.servers[0].shim.calls()
        return Outcome(stage.violations, calls, stage.errors())
    finally:
        stage.close()


@functools.cache
def calls_without_a_fault(scenario: str) -> dict[str, int]:
    return run(scenario, None).calls


def faults(scenario: str, function: str) -> Iterator[Fault]:
    """Yield what is tried of a function in a scenario."""
    count = calls_without_a_fault(scenario).get(function, 0)
    for first in sampled(count, SAMPLE):
        for error in ERRORS[function]:
            yield Fault(function, error, first)
        if function in LASTING:
            yield Fault(function, LASTING[function], first, FOREVER)


def sampled(count: int, size: int) -> list[int]:
    """Return at most `size` of the numbers 1 to `count`, spread evenly, the first among them."""
    if count <= size:
        return list(range(1, count + 1))
    return [1 + index * count // size for index in range(size)]


# --- What is known ----------------------------------------------------------------------


class Known(NamedTuple):
    """A violation that some calls show, and that the server cannot prevent."""

    reason: str
    scenarios: tuple[str, ...]
    functions: tuple[str, ...]
    violations: tuple[Violation, ...]
    is_certain: bool = True
    """False: only some calls show it, and a sample may miss them."""


KNOWN = (
    Known(
        "Linux refuses to kill only what another user runs, or what has ended",
        ("end-of-login",),
        ("kill",),
        (Violation.PROCESS_LEFT,),
    ),
    # The server looks whether the login has ended, or kills it, whichever comes first.
    Known(
        "waitpid finds no child only where SIGCHLD is ignored; the server resets that",
        ("end-of-login",),
        ("waitpid",),
        (Violation.PROCESS_LEFT,),
        is_certain=False,
    ),
)


def known_violations(scenario: str, function: str) -> dict[Violation, Known]:
    found = {}
    for known in KNOWN:
        if scenario in known.scenarios and function in known.functions:
            for violation in known.violations:
                found[violation] = known
    return found


# --- Tests ------------------------------------------------------------------------------

FOUR_FOLDERS = """\
import os

def make(name):
    try:
        os.mkdir(name)
        print(name, "made", flush=True)
    except OSError as error:
        print(name, error.strerror, flush=True)

make("1")
input()  # here the test arms the shim
make("2")
if os.fork() == 0:
    make("of a child")
    os._exit(0)
os.wait()
make("3")
make("4")
print(os.environ.get("LD_PRELOAD"))
"""


def test_shim_fails_the_chosen_call_of_the_process_only(tmp_path: Path) -> None:
    shim = Shim(real("shim") / LIBRARY, tmp_path / "control")
    shim.prepare(Fault("mkdir", "ENOSPC", 2))
    process = subprocess.Popen(
        [sys.executable, "-c", FOUR_FOLDERS],
        env=shim.environment(),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    first = process.stdout.readline()
    shim.arm()
    rest, _ = process.communicate("\n")
    assert (first + rest).splitlines() == [
        "1 made",
        "2 made",
        "of a child made",
        "3 No space left on device",
        "4 made",
        "None",
    ]
    assert shim.failed() == 1
    assert shim.calls()["mkdir"] == 3
    assert set(shim.calls()) == set(ERRORS)
    shim.close()


@pytest.mark.parametrize("function", ERRORS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_promises_hold_when_a_call_fails(scenario: str, function: str) -> None:
    found: dict[Violation, list[str]] = {}
    count = 0
    for fault in faults(scenario, function):
        outcome = run(scenario, fault)
        count += 1
        for violation in outcome.violations:
            text = f"{fault}\n{outcome.errors}"
            found.setdefault(violation, []).append(text)
    known = known_violations(scenario, function)
    for violation, texts in found.items():
        print(f"{len(texts)} of {count} runs: {violation.value}", *texts, sep="\n- ")
        assert violation in known, f"{violation.value}: {texts}"
    for violation, row in known.items():
        is_fixed = row.is_certain and violation not in found
        assert not is_fixed, f"fixed, so remove it from KNOWN: {violation.value}, {row}"
    if found:
        reasons = sorted({known[violation].reason for violation in found})
        pytest.xfail("; ".join(reasons))


def test_every_scenario_without_a_fault_keeps_all_promises() -> None:
    broken = {}
    for scenario in SCENARIOS:
        outcome = run(scenario, None)
        if outcome.violations:
            broken[scenario] = outcome.violations
    assert broken == {}


# --- A server that is killed ------------------------------------------------------------

KILLED_AT = (
    "close",
    "flock",
    "fork",
    "mkdir",
    "open",
    "pthread_create",
    "waitpid",
    "write_file",
    "write_stdout",
)


def kill_one_of_two(scenario: str, fault: Fault) -> set[Violation]:
    """Kill a server in a call; then another one is asked for the same."""
    stage = Stage()
    if scenario == "silent":
        stage.home.write_token(-60)
    try:
        killed = stage.start(fault)
        killed.initialize()
        killed.shim.arm()
        call = killed.send_call()
        if killed.is_killed_before_answering(call):
            answer_of_another(stage)
        else:  # it did not come to that call of the function
            killed.shim.disarm()
            killed.end()
        stage.desk.stand_ins.hang_up()  # the login that was left
        stage.check()
        return stage.violations
    finally:
        stage.close()


def answer_of_another(stage: Stage) -> None:
    server = stage.start(None)
    server.initialize()
    deadline = time.monotonic() + 15
    answer = server.call()
    while answer is not None and answer.get("status") == "pending":
        if "loginUrl" in answer:
            stage.approve()
        elif time.monotonic() > deadline:
            stage.violations.add(Violation.DEAD_END)
            break
        answer = server.call()
    server.end()


@pytest.mark.parametrize("function", KILLED_AT)
@pytest.mark.parametrize("scenario", ["login", "silent"])
def test_another_server_goes_on_after_a_kill(scenario: str, function: str) -> None:
    found: dict[Violation, list[str]] = {}
    count = calls_without_a_fault(scenario).get(function, 0)
    for call in sampled(count, KILLS):
        fault = Fault(function, KILL, call)
        for violation in kill_one_of_two(scenario, fault):
            found.setdefault(violation, []).append(str(fault))
    assert found == {}


# --- Locks ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sso login", "configure export-credentials"])
def test_two_servers_without_locks_start_one_login_or_say_so(command: str) -> None:
    """Network file systems may have no locks."""
    stage = Stage()
    stage.approves = False
    if command != "sso login":
        stage.home.write_token(-60)
        stage.refreshing = queue.Queue()  # where a silent refresh stays
    fault = Fault("flock", "ENOLCK", 1, FOREVER)
    try:
        servers = [stage.start(fault), stage.start(fault)]
        for server in servers:
            assert server.initialize()
            server.shim.arm()
        calls = [(server, server.send_call()) for server in servers]
        answers = [server.result(call) for server, call in calls]
        started = stage.desk.stand_ins.count(*command.split())
        texts = [answer["message"] for answer in answers if answer is not None]
        assert len(texts) == 2
        note = "Other programs may also open a sign-in page"
        is_told = all(note in text for text in texts)
        assert started == 1 or is_told
    finally:
        stage.close()
