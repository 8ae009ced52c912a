"""A HOME with stand-ins that answer by themselves, and servers with the shim in them.

Whatever is done to a server here, some promises must hold. Those that were broken are collected
in `Stage.violations`, so that one run can show several.
"""

from __future__ import annotations

import enum
import json
import queue
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from kit.components import real
from kit.desk import IDENTITY, PKCE_PROMPT, SECRETS, TOOL, Desk, Run
from kit.processes import processes_left
from kit.shim import LIBRARY, Fault, Shim
from kit.workplace import SERVER

if TYPE_CHECKING:
    from pathlib import Path

# Both are for a machine that is busy with other tests. What holds, holds within a second.
ANSWER_LIMIT_S = 20  # for an answer; a call waits 2 s for the user at most
END_LIMIT_S = 10  # for a server's end after the end of its input

# A frame of a function of the server. What Python says when it cannot load its own library is
# nothing that the server can change.
OUR_TRACEBACK = re.compile(r'File ".*aws_sso_mcp\.py", line \d+, in (?!<module>)')


class Violation(enum.Enum):
    """A promise that was broken."""

    NO_ANSWER = "a request was never answered"
    NOT_AGAIN = "the same request fails after the fault has gone"
    BUG = "an answer calls it a bug"
    ENDED_AS_IF_ASKED = "the server ended with exit code 0 before the end of its input"
    ENDED_SILENTLY = "the server ended without a word on stderr"
    TRACEBACK = "there is a traceback on stderr"
    NOT_ENDED = "the end of input did not end the server"
    EXIT_CODE = "the end of input did not lead to exit code 0"
    PROCESS_LEFT = "a process was left"
    TOKEN_LOST = "the token file is damaged, or a refreshed token was lost"
    NEEDLESS_PAGE = "a page was opened that nobody needs"
    STDOUT = "there is something else than JSON-RPC on stdout"
    SECRET = "there is a secret in what was written"
    DEAD_END = "another server gets neither a URL nor a token within 15 s"


class Stage:
    """A HOME with stand-ins for `aws` and the browser, which need nobody to tell them."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.desk.setUp()
        self.home = self.desk.home
        self.desk.stand_ins.auto = self._play
        self.violations: set[Violation] = set()
        self.servers: list[Server] = []
        self.pages: list[str] = []
        """URLs that were opened."""
        self.approves = True
        """Whether the user approves each page that opens."""
        self.refreshing: queue.Queue[Run] | None = None
        """Where silent refreshes wait for a scenario; None: each succeeds by itself."""
        self._logins: list[Run] = []

    def start(self, fault: Fault | None, arm_at: Path | None = None) -> Server:
        """Start a server; its shim is armed later, or when it opens the script `arm_at`."""
        server = Server(self, fault, arm_at)
        self.servers.append(server)
        return server

    # --- The stand-ins

    def _play(self, run: Run) -> bool:
        """Answer a run of a stand-in."""
        if run.argv[0] == "page":
            self.pages.append(run.argv[1])
            run.do(exit=0)
            if self.approves:
                self.approve()
        elif run.argv[1:3] == ["sso", "login"]:
            self._logins.append(run)
            run.do(stdout=PKCE_PROMPT)
        elif run.argv[1:3] == ["sts", "get-caller-identity"]:
            run.do(stdout=json.dumps(IDENTITY), exit=0)
        elif run.argv[1:3] == ["configure", "export-credentials"]:
            if self.refreshing is not None:
                self.refreshing.put(run)
            else:
                self.save_token(run)
        else:
            run.do(exit=0)
        return True

    def save_token(self, run: Run) -> None:
        """End a silent refresh well."""
        self.home.write_token(60, age_s=0)
        run.do(exit=0)

    def approve(self) -> None:
        """Be the user: approve every login that waits."""
        while self._logins:
            self.desk.stand_ins.log_in(self._logins.pop())

    def logins_started(self) -> int:
        return self.desk.stand_ins.count("sso", "login")

    # --- The end

    def check(self) -> None:
        """Check what must hold once all servers have ended: processes, files, output."""
        if processes_left(self.home.path):
            self.violations.add(Violation.PROCESS_LEFT)
        self.desk.stand_ins.hang_up()
        for path in self.home.token_path().parent.glob("*.json"):
            if not is_whole_token(path):
                self.violations.add(Violation.TOKEN_LOST)
        for server in self.servers:
            server.check_written()

    def errors(self) -> str:
        """Return what the servers wrote on stderr."""
        texts = [b"".join(server.errors) for server in self.servers]
        return b"".join(texts).decode("utf-8", "replace")

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.desk.doCleanups()


def is_whole_token(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return "refreshToken" in content


class Server:
    """A server with the shim in it, and its client."""

    def __init__(self, stage: Stage, fault: Fault | None, arm_at: Path | None) -> None:
        self._violations = stage.violations
        path = stage.home.path / f"shim-{len(stage.servers)}"
        self.shim = Shim(real("shim") / LIBRARY, path)
        if fault is not None:
            self.shim.prepare(fault)
        self.lines: list[bytes] = []
        """What came on stdout."""
        self.errors: list[bytes] = []
        """What came on stderr."""
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._last_id = 0
        self._process = subprocess.Popen(
            [sys.executable, "-IS", str(SERVER)],
            env=stage.desk.stand_ins.environment(
                AWS_SSO_MCP_WAIT_SECONDS="2", **self.shim.environment(arm_at)
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._stdout_reader = threading.Thread(target=self._read_stdout, daemon=True)
        self._stderr_reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._stdout_reader.start()
        self._stderr_reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read_stdout(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line)
            try:
                message = json.loads(line)
                is_message = message["jsonrpc"] == "2.0"
            except (ValueError, TypeError, KeyError):
                is_message = False
            if not is_message:
                self._violations.add(Violation.STDOUT)
            elif "id" in message and "method" not in message:
                self._answers.put(message)
        self._answers.put(None)  # there will be no more

    def _read_stderr(self) -> None:
        assert self._process.stderr
        self.errors.extend(self._process.stderr)

    # --- Requests

    def send(self, method: str, **params: Any) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        self._write({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            pass  # the server has ended, which is noticed where its answer is awaited

    def answer(self, request_id: int) -> dict[str, Any] | None:
        """Return the answer to a request; None where none came, which is a violation."""
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while True:
            seconds = max(0, deadline - time.monotonic())
            try:
                message = self._answers.get(timeout=seconds)
            except queue.Empty:
                self._violations.add(Violation.NO_ANSWER)
                return None
            if message is None:
                self._check_unasked_end()
                return None
            if message["id"] == request_id:
                return message

    def ask(self, method: str, **params: Any) -> dict[str, Any] | None:
        return self.answer(self.send(method, **params))

    def initialize(self) -> bool:
        """Return whether the server could be connected to."""
        client = {"name": "t", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}}
        if self.ask("initialize", clientInfo=client, **hello) is None:
            return False
        self._write({"method": "notifications/initialized"})
        return self.ask("ping") is not None

    def send_call(self, tool: str = TOOL) -> int:
        """Call a tool for profile `dev`, and return the request's id."""
        return self.send("tools/call", name=tool, arguments={"profile": "dev"})

    def result(self, request_id: int) -> dict[str, Any] | None:
        """Return what a tool answered, or a JSON-RPC error as a failed answer."""
        message = self.answer(request_id)
        if message is None:
            return None
        answer: dict[str, Any] = {"success": False, "message": str(message)}
        if "result" in message:
            answer = message["result"]["structuredContent"]
        is_bug = answer.get("reason") == "internal_error"
        if is_bug or "A bug in" in answer["message"]:
            self._violations.add(Violation.BUG)
        return answer

    def call(self, tool: str = TOOL) -> dict[str, Any] | None:
        return self.result(self.send_call(tool))

    def is_killed_before_answering(self, request_id: int) -> bool:
        """Return whether the shim kills the server before it answers a request."""
        while True:
            message = self._answers.get(timeout=ANSWER_LIMIT_S)
            if message is None:
                return True
            if message["id"] == request_id:
                return False

    # --- The promises

    def _check_unasked_end(self) -> None:
        """Check how a server ended that nobody has asked to."""
        code = self._process.wait(END_LIMIT_S)
        if code == 0:
            self._violations.add(Violation.ENDED_AS_IF_ASKED)
        self._stderr_reader.join(END_LIMIT_S)
        if not self.errors:
            self._violations.add(Violation.ENDED_SILENTLY)

    def end(self) -> None:
        """Close the server's input, and check that it ends."""
        assert self._process.stdin
        has_ended = self._process.poll() is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(END_LIMIT_S)
            if code != 0 and not has_ended:
                self._violations.add(Violation.EXIT_CODE)
        except subprocess.TimeoutExpired:
            self._violations.add(Violation.NOT_ENDED)
            self._process.kill()
            self._process.wait()

    def check_written(self) -> None:
        """Check all that an ended server has written."""
        self._stdout_reader.join(END_LIMIT_S)
        self._stderr_reader.join(END_LIMIT_S)
        written = b"".join([*self.lines, *self.errors]).decode("utf-8", "replace")
        if OUR_TRACEBACK.search(written):
            self._violations.add(Violation.TRACEBACK)
        if any(secret in written for secret in SECRETS):
            self._violations.add(Violation.SECRET)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        for pipe in pipes:
            assert pipe
            pipe.close()
        self.shim.close()
