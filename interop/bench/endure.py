#!/usr/bin/env python3
"""Measure what takes too long for a test: very many calls, many servers at once, many kills.

    bin=$(python3 interop/install.py --where tools)/bin
    $bin/python interop/bench/endure.py [soak] [load] [kills] [--scale 1.0]

soak: one server answers 20,000 calls, 200,000 pings and 500 logins. Memory, threads and open files
    must not grow.
load: 30 servers are asked at the same moment, once without a token and once with one that can be
    refreshed. There must be one login, and one refresh.
kills: a server is killed at 100 moments of a login and of a silent refresh, then another one is
    asked. It must get a token or a URL within 15 s; no token is lost and no process is left.

`aws` and the browser are stand-ins (kit/stage.py). `--scale 0.01` only proves that this script
still works. The exit code is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "interop")]
from kit.processes import cli_processes
from kit.stage import Server, Stage, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = "get_aws_sso_status"
CALLS = 20_000
PINGS = 200_000
LOGINS = 500
SERVERS = 30
KILLS = 100
DEAD_END_S = 15
SAVING_TAKES_S = 0.2  # between the exchange of a refresh token and the file
LAST_KILL_S = 0.8  # after a call: by then a login has shown its page
PAGE_KIB = 4


def scaled(count: int, scale: float) -> int:
    return max(2, round(count * scale))


# --- Soak -------------------------------------------------------------------------------


class Footprint(NamedTuple):
    """What a process uses."""

    memory_kib: int
    threads: int
    files: int


def footprint(server: Server) -> Footprint:
    proc = Path("/proc") / str(server.pid)
    pages = int((proc / "statm").read_text().split()[1])
    threads = len(list((proc / "task").iterdir()))
    return Footprint(pages * PAGE_KIB, threads, len(list((proc / "fd").iterdir())))


def soak(scale: float) -> Counter[str]:
    stage = Stage()
    try:
        server = stage.start(None)
        server.initialize()
        measured = [("start", footprint(server))]
        stage.home.write_token(60)
        repeat(server, lambda: server.call(STATUS), scaled(CALLS // 20, scale))
        measured.append(("5 % of the calls", footprint(server)))
        repeat(server, lambda: server.call(STATUS), scaled(CALLS, scale))
        measured.append(("calls", footprint(server)))
        repeat(server, lambda: server.ask("ping"), scaled(PINGS, scale))
        measured.append(("pings", footprint(server)))
        repeat(server, lambda: log_in(stage, server), scaled(LOGINS // 10, scale))
        measured.append(("10 % of the logins", footprint(server)))
        repeat(server, lambda: log_in(stage, server), scaled(LOGINS, scale))
        measured.append(("logins", footprint(server)))
        server.end()
        stage.check()
        for name, found in measured:
            print(f"soak, after {name}: {found}")
        return Counter(violation.value for violation in stage.violations)
    finally:
        stage.close()


def repeat(server: Server, request: Callable[[], object], count: int) -> None:
    """Make a request so often, and forget what came, as this process has memory too."""
    for _ in range(count):
        request()
        server.lines.clear()


def log_in(stage: Stage, server: Server) -> None:
    stage.home.token_path().unlink(missing_ok=True)
    answer = server.call()
    if answer is None or answer.get("status") != "logged_in":
        stage.violations.add(Violation.NOT_AGAIN)


# --- Load -------------------------------------------------------------------------------


def load(scale: float) -> Counter[str]:
    del scale  # one second is short enough
    broken: Counter[str] = Counter()
    for name in ("without a token", "with a refresh token"):
        stage = Stage()
        try:
            broken.update(ask_many_servers(stage, name))
        finally:
            stage.close()
    return broken


def ask_many_servers(stage: Stage, name: str) -> list[str]:
    if name == "with a refresh token":
        stage.home.write_token(-60)
    servers = [stage.start(None) for _ in range(SERVERS)]
    for server in servers:
        server.initialize()
    started = time.monotonic()
    calls = [(server, server.send_call()) for server in servers]
    statuses: Counter[str] = Counter()
    for server, call in calls:
        answer = server.result(call)
        if answer is not None and answer["status"] == "pending":
            answer = server.call()
        statuses[str(answer and answer["status"])] += 1
    seconds = time.monotonic() - started
    logins = stage.logins_started()
    refreshes = stage.desk.stand_ins.count("configure", "export-credentials")
    print(
        f"load, {SERVERS} servers {name}: {logins} logins, {refreshes} refreshes,"
        f" {len(stage.pages)} pages, {seconds:.1f} s, answers {dict(statuses)}"
    )
    for server in servers:
        server.end()
    stage.check()
    broken = [violation.value for violation in stage.violations]
    if logins + refreshes != 1:
        broken.append("more than one login or refresh")
    return broken


# --- Kills ------------------------------------------------------------------------------


def kills(scale: float) -> Counter[str]:
    broken: Counter[str] = Counter()
    count = scaled(KILLS, scale)
    for scenario in ("login", "silent refresh"):
        answers: Counter[str] = Counter()
        for number in range(count):
            stage = Stage()
            try:
                seconds = LAST_KILL_S * number / count
                answers[kill_and_ask_another(stage, scenario, seconds)] += 1
                for violation in stage.violations:
                    broken[f"{scenario}: {violation.value}"] += 1
            finally:
                stage.close()
        print(f"kills, {count} in a {scenario}: the other server answers {answers}")
    return broken


def kill_and_ask_another(stage: Stage, scenario: str, seconds: float) -> str:
    """Kill a server so long after a call; return the status that another one answers."""
    if scenario == "silent refresh":
        stage.home.write_token(-60)
        stage.refreshing = queue.Queue()
    is_over = threading.Event()
    saver = threading.Thread(target=save_refreshed_tokens, args=(stage, is_over))
    saver.start()
    killed = stage.start(None)
    killed.initialize()
    killed.send_call()
    time.sleep(seconds)
    killed.close()
    status = answer_of_another(stage)
    is_over.set()
    saver.join()
    stage.desk.stand_ins.hang_up()
    stage.check()
    return status


def save_refreshed_tokens(stage: Stage, is_over: threading.Event) -> None:
    """Be the AWS CLI: save each token a moment after AWS has exchanged it."""
    while stage.refreshing is not None and not is_over.is_set():
        try:
            run = stage.refreshing.get(timeout=0.1)
        except queue.Empty:
            continue
        time.sleep(SAVING_TAKES_S)
        commands = list(cli_processes(stage.home.path))
        if any("export-credentials" in command for command in commands):
            stage.save_token(run)
        else:
            stage.violations.add(Violation.TOKEN_LOST)


def answer_of_another(stage: Stage) -> str:
    server = stage.start(None)
    server.initialize()
    deadline = time.monotonic() + DEAD_END_S
    answer = server.call()
    while answer is not None and answer["status"] == "pending":
        if "loginUrl" in answer:
            stage.approve()
        elif time.monotonic() > deadline:
            stage.violations.add(Violation.DEAD_END)
            break
        answer = server.call()
    server.end()
    return str(answer and answer["status"])


# --- All --------------------------------------------------------------------------------

MEASURES = {"soak": soak, "load": load, "kills": kills}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []])
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    code = 0
    for name in options.measures or MEASURES:
        started = time.monotonic()
        broken = MEASURES[name](options.scale)
        print(f"{name}: {time.monotonic() - started:.0f} s, broken: {dict(broken)}")
        if broken:
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
