#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""AWS SSO MCP: when an assistant meets an expired AWS SSO token, one tool call renews it.

A Model Context Protocol server over stdio. Needs Python 3.9+ and the AWS CLI v2, nothing else.

    claude mcp add -s user aws-sso -- python3 -IS /path/to/aws_sso_mcp.py

In a terminal: `aws_sso_mcp.py status`, `aws_sso_mcp.py refresh [PROFILE]`, `--help`.

What it can do to a machine is in one section, "The outside world". Everything below that section
is text in, text out: a test fails when it opens a file, starts a process or reads a variable.

reads    ~/.aws/config, ~/.aws/credentials, and in ~/.aws/sso/cache the token files of the
         configured sessions (their expiry: no token is ever kept, shown or sent); to find the
         profile of an MCP server that is named, the config files of MCP clients; on Linux which
         display and which SSH session its client has (/proc/PPID/environ)
runs     aws sso login, aws configure export-credentials (its output thrown away),
         aws sts get-caller-identity; this Python, to open a page with `webbrowser`
writes   ~/.aws/sso/aws-sso-mcp/: per session a lock, so that all programs share one login, and
         the AWS config for a silent renewal; AWS's own CLI writes its token file
network  none: AWS's own CLI does every exchange of tokens

Sections, top to bottom, each using only those above it: Errors and settings, The outside world,
AWS configuration, Token cache, MCP clients, Choosing a profile, Failures, Renewal, Tools (a new
tool goes here), MCP, Command line.
"""

from __future__ import annotations

# Only what answering `initialize` and `tools/list` needs; the rest is imported where it is used.
import contextlib
import errno
import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections import namedtuple
from functools import lru_cache, partial

if sys.version_info < (3, 9):  # noqa: UP036 - says so, instead of failing somewhere below
    sys.exit("aws_sso_mcp.py needs Python 3.9 or newer; this is " + sys.version.split()[0])

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence
    from typing import Any, NoReturn, TextIO

    Json = dict[str, Any]
    Methods = dict[str, Callable[["Request"], Json | None]]

__version__ = "0.1.0"

MAX_FILE_BYTES = 16 << 20  # of an AWS config file: 5,000 profiles take 1 MB
MAX_CLIENT_FILE_BYTES = 1 << 20  # of a client's config file
MAX_OUTPUT_BYTES = 64 << 10  # kept of what a command prints (a login: 1 kB), read of a token file
MAX_LINE_BYTES = 4 << 20  # of a message on stdin
MAX_NAME_CHARACTERS = 512  # of a profile name
MAX_CALLS = 256  # running at once
MAX_SHOWN = 10  # profiles, sessions, problems, candidates in one answer
MAX_CANDIDATES = 5  # whose names look like one that is none
MAX_COMPARED = 64  # characters of two names
MAX_STATUS_BYTES = 3800  # of an answer of get_aws_sso_status
MAX_LAUNCHERS = 4  # between the client and this process: `sh -c`, `npx`, `uvx`

ENOUGH_S = 15 * 60  # a token that can be renewed is renewed by AWS's SDKs when less is left
ENOUGH_FIXED_S = 5 * 60  # of a token that cannot be renewed
COMMAND_LIMIT_S = 30  # for a command that needs no person
LOGIN_LIMIT_S = 11 * 60  # AWS itself ends a login after 10 minutes
UNHEARD_S = 10 * 60  # how long the end of a renewal waits for a call that hears of it
ABANDONED_S = 30  # until work ends that nobody waits for after a cancelled call
STALE_S = 30  # a login that is older is begun anew by `force`
PAGE_LIMIT_S = 30  # for the process that opens a page
REPORT_EVERY_S = 10  # progress while waiting for a person
LOOK_EVERY_S = 0.25  # after a process that runs, a lock that another holds, a token that may come
TRIAL_S = 0.02  # longer than anybody has a lock to see whether it is taken
SAME_END_S = 60  # between the ends of two tokens that a session's end cut off
GRACE_S = 0.5  # for a login to end by itself once there is a token, for output after an end
LAST_WORD_MS = 50  # for a client that has closed our stdin to read what stdout still holds

# No child gets a variable that begins so: each loads foreign code into the AWS CLI, a shim or a
# browser's opener.
INJECTING = (
    "LD_", "DYLD_", "PYTHON", "PERL", "RUBY", "NODE_", "BASH", "SHELLOPTS=", "ENV=", "PS4=",
    "ZDOTDIR=", "GCONV_PATH=", "OPENSSL_", "JAVA_TOOL_OPTIONS=", "_JAVA_OPTIONS=", "GIO_",
    "GTK_MODULES=", "GTK3_MODULES=", "GTK_PATH=", "GTK_EXE_PREFIX=", "GTK_IM_MODULE_FILE=",
    "GDK_PIXBUF_MODULE", "QT_PLUGIN_PATH=", "QT_QPA_PLATFORM_PLUGIN_PATH=", "QML",
    "SSLKEYLOGFILE=",  # this one has TLS keys written down
)  # fmt: skip
# Of AWS_* only those that say where things are: keys, AWS_PROFILE, endpoints, retry and output
# settings would shadow, redirect or break what is asked of the CLI.
AWS_PATHS = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE")
AWS_PLACES = (*AWS_PATHS, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED",
              "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")  # fmt: skip
REMOTE = ("SSH_CONNECTION", "SSH_TTY", "CODESPACES", "REMOTE_CONTAINERS")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
DESKTOP = ("XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "WSL_INTEROP")
LAUNCHERS = ("sh", "bash", "dash", "zsh", "fish", "env", "npx", "npm", "uvx", "uv", "pipx")
OUTPUT = ("stdout", "stderr")
MACOS_ADMINS = 80  # the group that shares /opt/homebrew
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for a pipe that lies where a file was
OURS = NO_WAIT | getattr(os, "O_NOFOLLOW", 0)  # a file of ours, so no link
WINDOWS_FLAGS = 0x8000200 if os.name == "nt" else 0  # no console window, a process group
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv") if os.name == "posix" else ()


# --- Errors and settings ----------------------------------------------------------------


class Failure(Exception):
    """What a person or a model must know: `reason` is a stable word, the text ends in a next step.

    `unusable` is a profile in whose place the answer shall offer others.
    """

    def __init__(self, reason: str, message: str, unusable: str | None = None) -> None:
        super().__init__(message)
        self.reason, self.unusable = reason, unusable


class Cancelled(Exception):
    """The client no longer wants the answer: send none."""


class ProtocolError(Exception):
    """A request that gets a JSON-RPC error instead of a result."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({"data": data} if data else {})}


def unreadable(path: str, error: OSError) -> Failure:
    message = f"{path} cannot be read: {error.strerror}. Fix that, then call again."
    return Failure("config_unreadable", message)


def bug(error: Exception) -> Failure:
    """Return the Failure that names the kind and place of a bug; its text could hold a secret."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = [f"line {each.lineno}" for each in frames if each.filename == bug.__code__.co_filename]
    what = f"{where[-1]}: {type(error).__name__}"
    return Failure("internal_error", f"A bug in aws_sso_mcp.py, {what}. Report it, then go on.")


SETTINGS = {  # those that take not just any value: what they take
    "AWS_SSO_MCP_WAIT_SECONDS": (r"\d{1,4}(\.\d+)?", "a number of seconds"),
    "AWS_SSO_MCP_LOGIN": ("browser|device", "`browser` or `device`"),
}


def setting(name: str) -> str | None:
    """Return an environment variable; None when unset, empty, or a `${...}` left unexpanded."""
    value, (pattern, _) = os.environ.get(name, ""), SETTINGS.get(name, ("(?s).+", ""))
    return value if re.fullmatch(pattern, value) and not value.startswith("${") else None


def setting_problems() -> list[str]:
    """Return what to say of settings whose value cannot be meant, so that they count as unset."""
    given = {name: os.environ.get(name, "") for name in SETTINGS if not setting(name)}
    return [
        f"{name}={harmless(value)!r} is ignored: it takes {SETTINGS[name][1]}."
        for name, value in given.items()
        if value and not value.startswith("${")
    ]


def wait_seconds() -> float:
    """Return how long one tool call may wait for a person: below the 60 s that clients allow."""
    return min(float(setting("AWS_SSO_MCP_WAIT_SECONDS") or 50), 3600)


def home() -> str:
    """Return the person's home folder. Raises Failure `no_home`."""
    path = os.path.expanduser("~")
    if not os.path.isabs(path):
        message = "No home folder is known. Set HOME (on Windows USERPROFILE) in this server's "
        raise Failure("no_home", message + "entry of the client's configuration, then reconnect.")
    return path


def working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed, as worktrees are
        return os.devnull


def filled_in(path: str) -> str:
    """Return a path as a person writes it, `$NAME` and `~` filled in."""
    return os.path.expanduser(os.path.expandvars(path))


def full_path(path: str) -> str:
    """Return the absolute path of one that a person writes; "" for ""."""
    return os.path.join(working_folder(), filled_in(path)) if path else ""


def host_name() -> str:
    if os.name == "posix":
        return os.uname().nodename
    import platform  # which takes 10 ms

    return platform.node() or "?"


def is_elevated() -> bool:
    """Tell whether we run for another person than the system says: setuid, sudo, doas, pkexec."""
    ids = (os.getuid(), os.getgid()), (os.geteuid(), os.getegid())
    return ids[0] != ids[1] or any(map(os.environ.get, ("SUDO_UID", "DOAS_USER", "PKEXEC_UID")))


def path_folders() -> list[str]:
    return os.environ.get("PATH", "").replace('"', "").split(os.pathsep)  # quoted on Windows


def in_thread(action: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a limit of the system, or of its container
        message = "No more threads can be started here. Wait for other calls, then call again."
        raise Failure("no_thread", message) from None
    return thread


# Patterns are compiled where they are first used: a start takes none.
NAME = rf"[^\0-\x1f\x7f\ud800-\udfff]{{0,{MAX_NAME_CHARACTERS}}}"  # of a profile or a server


def inner(content: Any, *keys: str) -> Json:
    """Return the object below these keys of parsed JSON, {} where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def harmless(name: str, known: Container[str] = ()) -> str:
    """Return a name as an answer shows it: in full if it is known, else what can say nothing.

    It may stand in a project's file, with words in it for the model that reads the answer.
    """
    return name if name in known else re.sub(r"[^A-Za-z0-9._/@+:-]+", "?", name)[:64]


def listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def nearest_names(name: str, names: Iterable[str], like: float = 0) -> list[str]:
    """Return names to choose from: first those that look like `name`, whole or by a word."""
    from difflib import SequenceMatcher

    wanted = name.casefold()[:MAX_COMPARED]

    def likeness(other: str) -> float:
        text = other.casefold()[:MAX_COMPARED]
        parts = [text, *re.split(r"[\W_]+", text)]
        begins = any(part and wanted.startswith(part) for part in parts)
        return max(SequenceMatcher(None, wanted, part).ratio() for part in parts) + begins / 3

    near = sorted(((likeness(other), other) for other in names), key=lambda pair: -pair[0])
    return [other for alike, other in near[:MAX_CANDIDATES] if alike >= like]


# --- The outside world: files, other processes, locks, signals, stdin and stdout ---------

_starting = threading.Lock()  # guards _processes; held while one starts, so that none escapes
_processes: list[Process] = []


def read_file(path: str, limit: int) -> bytes | None:
    """Return what a file holds, None when there is none. Raises OSError, for a pipe as well."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        raise OSError(errno.EINVAL, f"it is no file of at most {limit >> 10} KiB")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_WAIT)) as file:
        return file.read(limit)


def write_file(path: str, text: str) -> None:
    """Write a file, in a folder that is there, for this person only. Raises OSError."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags | OURS, 0o600)) as file:
        file.write(text)


def changed_at(path: str) -> float:
    """Return when a file was last written (epoch seconds), 0 when there is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.stat(path).st_mtime
    return 0


def matching_files(pattern: str) -> list[str]:
    import glob

    return sorted(glob.glob(pattern))


class FileLock:
    """An OS lock on a file of ours; whoever inherits `fd` keeps it too (not on Windows)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock, or see that we have it; False: another process does. Raises OSError."""
        if not self._is_there():  # the folder may have been removed meanwhile
            self.release()
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | OURS, 0o600)
            if not (lock_fd(self.fd) and self._is_there()):
                self.release()
        return self.fd is not None

    def _is_there(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self.fd is not None and os.path.samestat(os.fstat(self.fd), os.stat(self.path))
        return False

    def is_taken(self) -> bool:
        """Tell whether any process has the lock, by sharing it for a moment."""
        try:
            self.fd = os.open(self.path, os.O_RDWR | OURS)
            return not lock_fd(self.fd, shared=True)
        except OSError:  # there was no login yet, on this machine
            return False
        finally:
            self.release()

    def release(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def lock_fd(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file; False when another process has the lock. Raises OSError.

    `flock` belongs to the open file and what inherits it; Windows locks a byte for one process,
    so one that nobody reads. Tried twice, as somebody may only be looking (`is_taken`).
    """
    for pause_s in (TRIAL_S, 0):
        with contextlib.suppress(BlockingIOError, PermissionError):  # the latter on Windows
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            else:
                import msvcrt

                os.lseek(fd, MAX_FILE_BYTES, os.SEEK_SET)
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            return True
        time.sleep(pause_s)
    return False


def client_environment() -> dict[str, str]:
    """Return what the client's environment tells of a screen, or of a person who is elsewhere.

    Many clients pass on little of it (all SDKs, Codex). It is that of our parent, and above while
    that is a launcher: only on Linux, only of the same person, and where /proc shows what we see.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, LookupError, AttributeError):  # gone, no Linux
        pid, name, me = f"{os.getppid()}", LAUNCHERS[0], f"{os.getuid()}"
        is_ours = os.readlink("/proc/self") == f"{os.getpid()}" and not is_elevated()
        for _ in range(MAX_LAUNCHERS + 1 if is_ours else 0):
            status = os.fsdecode(read_file(f"/proc/{pid}/status", MAX_OUTPUT_BYTES) or b"")
            fields = dict(line.split(":", 1) for line in status.splitlines())
            if name not in LAUNCHERS or {*fields["Uid"].split()} != {me}:
                break
            environ = os.fsdecode(read_file(f"/proc/{pid}/environ", MAX_FILE_BYTES) or b"")
            pairs = (each.partition("=") for each in environ.split("\0"))
            found = {**{name: value for name, _, value in pairs}, **found}
            pid, name = fields["PPid"].strip(), fields["Name"].split()[0]
        if me == "0":  # no source of what root runs: $BROWSER, a D-Bus address with `unixexec:`
            found = {name: found.get(name, "") for name in (*REMOTE, "DISPLAY", "WAYLAND_DISPLAY")}
    return {name: found[name] for name in (*REMOTE, *SCREENS, *DESKTOP) if found.get(name)}


def programs(names: Sequence[str], places: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield where a program is, and why it is not run: in the folders of PATH, then in places."""
    on_path = [os.path.join(folder, name) for folder in path_folders() for name in names]
    for path in on_path + [filled_in(place) for place in places]:
        if os.path.lexists(path) and not os.path.isdir(path):
            yield path, path_problem(path)


def path_problem(path: str, *, named: bool = False) -> str | None:
    """Return why a program, or what is in a folder, is not run: all that leads there counts.

    One that the person named is run unless everybody could replace it. In a sticky folder nobody
    replaces what is not theirs, but may add to it. Windows keeps no modes.
    """
    if os.path.normpath(path) != os.path.abspath(path):  # `/x` on Windows: of the current drive
        return "is no absolute path"
    if not os.access(path, os.X_OK) or (named and os.path.isdir(path)):
        return "is no program"
    (owners, groups), target = trusted_ids(), os.path.realpath(path)
    last = target if os.path.isdir(target) else os.path.dirname(target)
    folders = filter(os.path.isdir, (os.curdir, setting("CLAUDE_PROJECT_DIR") or os.curdir))
    try:  # [1:3] of a status: which file it is
        projects = {os.stat(each)[1:3] for each in folders}
        projects -= {each[1:3] for _, each in way_to(home())}  # who works there is in no project
        for place, status in (*way_to(path), *way_to(target)):
            is_foreign = os.path.basename(place) == "node_modules" or status[1:3] in projects
            mode = status.st_mode
            is_kept = stat.S_ISDIR(mode) and mode & stat.S_ISVTX and place != last
            mode = 0 if is_kept or stat.S_ISLNK(mode) or os.name != "posix" else mode
            problems = (
                ("may be changed by everybody, until `chmod o-w`", mode & stat.S_IWOTH),
                ("came with a project", is_foreign),
                ("belongs to another user", status.st_uid not in owners),
                ("may be changed by a group", mode & stat.S_IWGRP and status.st_gid not in groups),
            )
            for problem, is_there in problems[: 1 if named else None]:
                if is_there:
                    return f"{problem} ({place})"
    except OSError as error:  # somebody is at it
        return f"cannot be looked at: {error}"
    return None


def trusted_ids() -> tuple[set[int], set[int]]:
    """Return the users and the groups that may change a program which we run."""
    owners, groups = {0}, {0}
    with contextlib.suppress(ImportError, OSError, KeyError):  # Windows; no /usr; without a name
        import grp
        import pwd

        # Root, which a user namespace may show as 65534; for it, whose home it works in.
        places = ("/", "/usr", home())[: 3 if os.geteuid() == 0 and not is_elevated() else 2]
        owners |= {os.geteuid(), *(os.stat(place).st_uid for place in places)}
        me = pwd.getpwuid(os.geteuid())
        own = grp.getgrgid(me.pw_gid)
        if own.gr_name == me.pw_name and {*own.gr_mem} <= {me.pw_name}:  # a group of one
            groups.add(own.gr_gid)
        if sys.platform == "darwin":
            groups.add(MACOS_ADMINS)
            owners.update(pwd.getpwnam(each).pw_uid for each in grp.getgrgid(MACOS_ADMINS).gr_mem)
    return owners, groups


def way_to(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every folder and link that leads to what is at `path`, and that. Raises OSError."""
    drive, way = os.path.splitdrive(path.replace("/", os.sep))
    place, rest = drive + os.sep, way.split(os.sep)[::-1]
    while rest:
        here = os.path.normpath(os.path.join(place, rest.pop()))
        yield here, os.lstat(here)
        if os.path.islink(here):
            os.stat(here)  # which raises for a circle of links
            drive, way = os.path.splitdrive(os.readlink(here))
            rest += way.split(os.sep)[::-1]
            here = drive + os.sep if way.startswith(os.sep) else place
        place = here


def child_environment() -> dict[str, str]:
    """Return the environment for `aws` and the browser: ours, less what could mislead them."""
    environment = {
        name: full_path(value) if name in AWS_PATHS else value  # the child runs in another folder
        for name, value in {**client_environment(), **os.environ}.items()
        if name in AWS_PLACES or not f"{name}=".startswith((*INJECTING, "AWS_"))
    }
    safe = (each for each in path_folders() if os.path.isdir(each) and not path_problem(each))
    environment["PATH"] = os.pathsep.join(safe) or "/usr/bin:/bin"  # empty: the current folder
    return {**environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}


class Process:
    """A program that runs: no stdin, a group, folder and environment of its own.

    `output` grows as it prints on `streams`. Threads read it, but nobody waits for the end of file:
    what the program starts may keep the pipes open. Of our files it inherits `fds` alone.
    """

    def __init__(self, argv: list[str], streams: Any = OUTPUT, fds: Any = (), **more: str) -> None:
        """Start it: the only Popen. `more`: variables of its environment. Raises Failure."""
        import subprocess

        self.argv, self.output = argv, dict.fromkeys(OUTPUT, "")
        self.code: int | None = None  # None: it runs, or was killed
        self._streams, self._news, folder = streams, threading.Event(), home()
        try:
            with _starting:
                self._popen = subprocess.Popen(  # noqa: S603 - a list of arguments, and no shell
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if "stdout" in streams else subprocess.DEVNULL,
                    stderr=subprocess.PIPE if "stderr" in streams else subprocess.DEVNULL,
                    env={**child_environment(), **more},
                    cwd=folder,
                    start_new_session=True,
                    creationflags=WINDOWS_FLAGS,
                    pass_fds=fds,
                )
                _processes[:] = [each for each in _processes if each.is_running()] + [self]
            self._readers = [in_thread(self._read, each) for each in OUTPUT]
        except Failure:  # no thread
            self.kill()
            raise
        except (OSError, ValueError) as error:
            message = f"{argv[0]} could not be started: {error}. Fix that, then call again."
            raise Failure("aws_cli_failed", message) from None

    def _read(self, stream: str) -> None:
        """Keep the beginning of what it prints, let the rest go by, see it end."""
        content, pipe = b"", getattr(self._popen, stream)
        for chunk in iter(lambda: os.read(pipe.fileno(), 65536) if pipe else b"", b""):
            content = (content + chunk)[:MAX_OUTPUT_BYTES]
            self.output[stream] = content.decode("utf-8", "replace").replace("\r", "")
            self._news.set()
        if pipe:
            pipe.close()
        self._popen.wait()  # most programs close their pipes by ending
        self._news.set()

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, seconds: float) -> bool:
        """Wait for output or the end, at most `seconds`; tell whether it still runs."""
        self._news.wait(seconds)
        self._news.clear()
        return self.is_running()

    def end(self) -> None:
        """Kill it if it still runs; else take its exit code and its last output."""
        self.code = self._popen.poll()
        self.kill()
        for reader in self._readers:
            reader.join(GRACE_S)

    def kill(self) -> None:
        """Kill it and all that it started; but of one without streams, that is the browser."""
        import subprocess

        with contextlib.suppress(OSError, LookupError, subprocess.SubprocessError):
            if self._streams and self.is_running() and os.name == "posix":
                os.killpg(self._popen.pid, signal.SIGKILL)
            elif self._streams and self.is_running():
                program = os.path.join(os.environ["SYSTEMROOT"], "System32", "taskkill.exe")
                argv = [program, "/T", "/F", "/PID", str(self._popen.pid)]
                subprocess.run(argv, creationflags=WINDOWS_FLAGS, timeout=5, check=False,  # noqa: S603
                               stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
        with contextlib.suppress(OSError):
            self._popen.kill()


class Wire:
    """The client's pipes, moved away from fds 0 and 1 so that nothing else can touch them."""

    def __init__(self) -> None:
        try:
            self.stdin, self.stdout = os.dup(0), os.dup(1)
        except OSError:
            end(2)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null if sys.stderr is None else 2, 1)

    def read(self) -> bytes:
        """Return what the client sends, as it comes; nothing at the end of file."""
        return os.read(self.stdin, 65536)

    def write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self.stdout, line) :]
        except OSError:  # the client is gone
            end(0)


def handle_signals(wire: Wire | None = None) -> None:
    """Let each signal that asks for the end bring it, and a client that is gone.

    Python runs a handler between byte codes of the main thread only, and that may begin to wait
    just then: so a thread hears of it too, from the handler in C.
    """
    signals, written = os.pipe()
    if os.name == "posix":
        os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # the latter two: not everywhere
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: end(128 + number))
    in_thread(watch, signals, wire if os.name == "posix" else None)


def watch(signals: int, wire: Wire | None) -> None:
    """End the process for a signal, or when the client has closed our stdin and reads no more."""
    if wire:
        import select

        poll = select.poll()
        poll.register(signals, select.POLLIN)
        poll.register(wire.stdin, getattr(select, "POLLRDHUP", 0))  # POLLHUP is told in any case
        if signals not in dict(poll.poll()):
            poll.unregister(wire.stdin)
            poll.register(wire.stdout, select.POLLOUT)
            ready = poll.poll(LAST_WORD_MS)
            while signals not in dict(ready):
                time.sleep(LAST_WORD_MS / 1000) if ready else end(0)
                ready = poll.poll(LAST_WORD_MS)
    end(128 + os.read(signals, 1)[0])


def end(code: int) -> NoReturn:
    """Leave at once: no child stays, no thread is waited for, nothing is said."""
    _starting.acquire(timeout=1)  # for good: none starts any more
    for process in _processes:
        process.kill()
    os._exit(code)


# --- AWS configuration: ~/.aws/config and ~/.aws/credentials, as botocore reads them ----

# By name: {key: text or dict}; by lower-case name, what to write instead of a wrong header.
AwsConfig = namedtuple("AwsConfig", "path profiles sso_sessions misspelled")

# One login: an sso-session, or (name None) a start URL that stands in a profile itself.
SsoSession = namedtuple("SsoSession", "name start_url region scopes", defaults=[""])

# A profile that a login serves; `login_profile`, mostly itself, holds the SSO settings.
# Account and role are None where the profile only logs in; `witness` is one that has them.
SsoProfile = namedtuple("SsoProfile", "name login_profile session account_id role_name witness")


def aws_folder(*parts: str) -> str:
    """Return `~/.aws` or something below it: caches are there whatever AWS_CONFIG_FILE says."""
    return os.path.join(home(), ".aws", *parts)


def read_aws_config() -> AwsConfig:
    """Return what both files say, as botocore.session merges them. Raises Failure."""
    path, text = config_text("AWS_CONFIG_FILE", "config")
    config = AwsConfig(path, {}, {}, {})
    places = dict(zip(KINDS, (config.profiles, config.sso_sessions)))
    for header, values in parse_ini(path, text).items():
        kind, name = kind_and_name(header)
        if name is not None:
            places[kind][name] = values
        elif len(header) < MAX_NAME_CHARACTERS and not values.keys().isdisjoint(TELLING_KEYS):
            config.misspelled.update(respelled(header, values))
    credentials = parse_ini(*config_text("AWS_SHARED_CREDENTIALS_FILE", "credentials"))
    for name, values in credentials.items():
        config.profiles[name] = {**config.profiles.get(name, {}), **values}
    return config


def config_text(variable: str, name: str) -> tuple[str, str]:
    """Return path and text (in the locale's encoding) of the file at `variable`, or in `~/.aws`."""
    import io

    value = os.environ.get(variable)
    path = aws_folder(name) if value is None else full_path(value)
    try:
        content = b"" if path == os.devnull else read_file(path, MAX_FILE_BYTES)
        return path, io.TextIOWrapper(io.BytesIO(content or b"")).read()
    except UnicodeDecodeError:
        raise unparsable(path, None, "it is not text in this machine's encoding") from None
    except OSError as error:
        raise unreadable(path, error) from None


def kind_and_name(header: str) -> tuple[str, str | None]:
    """Return what `default`, `profile "a b"` or `sso-session a` says; no name for what is none."""
    import shlex

    header = "profile default" if header == "default" else header
    kind = next((each for each in KINDS if header.startswith(each)), "")
    is_plain = re.fullmatch(r"[!#-&(-\[\]-~ ]+", header)  # where shlex only splits, slowly
    try:
        _, name = header.split() if is_plain else shlex.split(header)
    except ValueError:
        return kind, None
    return kind, name if kind else None


def respelled(header: str, values: Json) -> dict[str, str]:
    """Return {name in lower case: what to write} of a header that no AWS tool reads."""
    kind, name = re.findall(r"(?is)^\s*(?:(profile|sso[-_]session)\s+)?(.+)", header)[0]
    is_session = "sso_start_url" in values and "sso_account_id" not in values
    kind = KINDS[kind[0] in "sS" if kind else is_session]
    name = name.strip(" \t\"'")
    right = name if re.fullmatch(r"[\w.@+:/-]+", name) else f'"{name}"'
    return {name.casefold(): f" No AWS tool reads the section [{header}]: write [{kind} {right}]."}


def parse_ini(path: str, text: str) -> dict[str, Json]:
    """Return {section: {key: value}} as botocore.configloader.raw_config_parse does."""
    import configparser

    parser = configparser.RawConfigParser()
    text = re.sub(r"[^\S\n]{100,}", " ", text)  # as its time is quadratic to blanks in a row
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or getattr(error, "errors", [[None]])[0][0]
        twice = type(error).__name__.startswith("Duplicate")
        what = "a key or a section stands twice" if twice else "no [section] and no `key = value`"
        if text.startswith(("\ufeff", "\xef\xbb\xbf")):
            what = "it begins with a byte order mark. Save it as UTF-8 without one"
        raise unparsable(path, line, what) from None
    sections: dict[str, Json] = {name: dict(parser[name]) for name in parser.sections()}
    for values in sections.values():
        nested = {key: value for key, value in values.items() if value.startswith("\n")}
        values.update({key: parse_nested(path, text, nested[key]) for key in nested})
    return sections


def parse_nested(path: str, text: str, value: str) -> dict[str, str]:
    """Return the indented `key = value` lines under a key, such as those of `s3 =`."""
    pairs = {}
    for line in filter(None, map(str.strip, value.splitlines())):
        key, equals, part = line.partition("=")
        if not equals:
            number = text.count("\n", 0, text.find(line)) + 1
            raise unparsable(path, number, "an indented line lacks its `=`")
        pairs[key.strip()] = part.strip()
    return pairs


def unparsable(path: str, line: int | None, what: str) -> Failure:
    """Return the Failure that names file and line, but not what it says: it may be a secret."""
    where = f"{path}, line {line}" if line else str(path)
    message = f"No AWS tool can read {where}: {what}. Fix it, then call again."
    return Failure("config_unparsable", message)


def text_of(values: Json, key: str) -> str | None:
    """Return a value that is text; None when it is missing, empty or something else."""
    value = values.get(key)
    return value if isinstance(value, str) and value else None


# A profile in a command: what only AWS's tools have, an option that others have too, a variable.
NAMED = r"""(?xi) (?: (?P<own> (?<![\w-]) (?:
          (?: --aws-?profile | --profile-name | -profilename | profile_name ) (?: \s*[=:]\s* | \s+ )
        | (?: (?:aws-\w+|granted)(?:\.exe)?\s+ex(?:ec|port) | assume | awsume ) \s+
            (?:--?(?:[\w-]+=|no-|ecs-|lazy|j(?:son)?(?=\s))\S*\s+)*
        | (?:[a-z]+\.)? from[a-z]+\(\{ [^{}]{0,80}? \bprofile:\s* ) )
    | (?P<option> (?<![\w-]) --profile (?: = | \s+ ) )
    | (?: (?<!\w) | (?<=\s-e) ) AWS_(?:DEFAULT_)?PROFILE ["']?\]?
        (?: \s*=\s*(?=["']) | \s+=\s+ | = | :\s* )
    | \bset(?:x|env)?\s+ (?:-\w+\s+)* AWS_(?:DEFAULT_)?PROFILE \s+
  ) (?: "(?P<a>[^"]*)" | '(?P<b>[^']*)' | (?P<c>[^\s;&|(){}<>"',]*(?:["']\$)?) )"""
PROGRAM = r"""(?xi) (?<![^\s"'(]) (?!-) (?:  # that tells whether an option after it counts
      (?: [^\s"'=:]*[/\\.-] )? (aws)[^\s=:"'.@]*(?:@[^\s"']*|\.exe)?(?![^\s"'])
    | (?: [^\s"'=:]*[/\\] )? (echo|printf|bazel|cargo|dbt|docker(?:-compose)?|eas|gradlew?|kubectl
      |minikube|mvnw?|nix|oci|podman|rustup|skaffold)(?![^\s."']) )"""
MAX_CHARACTERS = 16 << 10  # looked at of a command, and at the end of its output


def profile_of_command(line: str) -> str | None:
    """Return the profile that a command names, `$` if it is yet to be worked out.

    An option of AWS's own tools beats a variable, which beats a `--profile` of another program;
    of those that have nothing to do with AWS, and of what is only printed, none counts.
    """
    ranks: dict[int, set[str]] = {}
    for found in re.finditer(NAMED, line[:MAX_CHARACTERS]):
        value = found["a"] or found["b"] or found["c"] or ""
        before = line[max(0, found.start() - 300) : found.start()]
        programs = re.findall(PROGRAM, re.split(r"[;&|(){}\n]| -- ", before)[-1])
        is_aws, other = programs[-1] if programs else ("", "")
        rank = 0 if found["own"] or (found["option"] and is_aws) else 2 if found["option"] else 1
        is_lost = other in ("echo", "printf") or (other and found["option"])
        is_missing = rank != 1 and (not value or value.startswith("-"))
        if not is_lost and not is_missing:
            ranks.setdefault(rank, set()).add(value if is_worked_out(value) else "$")
    best = ranks[min(ranks)] if ranks else {None}
    return best.pop() if len(best) == 1 else "$"


def is_worked_out(name: str) -> bool:
    return bool(name.strip() and re.fullmatch(NAME, name) and not re.search(r"[$`%]", name))


def sso_profile(config: AwsConfig, name: str) -> SsoProfile:
    """Return what a login for profile `name`, or for its source, takes. Raises Failure."""
    chain: list[str] = []
    source: str | None = name
    while source is not None:
        if source in chain:
            message = f"The source_profile of {listed(chain)} leads in a circle. Fix the config."
            raise Failure("profile_loop", message)
        if source not in config.profiles:
            of = f", the source_profile of {chain[-1]!r}," if chain else ""
            what = f"There is no profile {harmless(source)!r}{of} in {config.path}."
            what += config.misspelled.get(source.casefold(), "")
            raise Failure("profile_not_found", what, unusable=source)
        chain.append(source)
        source = source_of(config, chain)
    values = config.profiles[chain[-1]]
    session = sso_session(config, chain[-1], values)
    role = text_of(values, "sso_account_id"), text_of(values, "sso_role_name")
    return SsoProfile(name, chain[-1], session, *(role if all(role) else (None, None)), None)


def source_of(config: AwsConfig, chain: Sequence[str]) -> str | None:
    """Return the source of a chain's last profile, as botocore has it: behind its static keys."""
    name, values = chain[-1], config.profiles[chain[-1]]
    is_static = "aws_access_key_id" in values or "aws_secret_access_key" in values
    if "role_arn" in values and "web_identity_token_file" not in values:
        source = text_of(values, "source_profile")
        return None if is_static and (source == name or len(chain) > 1) else source
    if is_static or not SSO_KEYS.isdisjoint(values):
        return None
    source = profile_of_command(text_of(values, "credential_process") or "")
    return source if source in config.profiles and source != name else None


def sso_session(config: AwsConfig, profile: str, values: Json) -> SsoSession:
    """Return the SSO session that `profile` logs in to. Raises Failure when there is none."""
    name, where = values.get("sso_session"), f"Profile {profile!r}"
    if SSO_KEYS.isdisjoint(values):
        kind = next(what for key, what in NOT_SSO.items() if key in values or not key)
        what = f"No SSO login can fix profile {profile!r}: it {kind}"
        raise Failure("not_sso", what, unusable=profile)
    if name is not None:
        name = name if isinstance(name, str) else ""
        where = f"[sso-session {name}], which profile {profile!r} names,"
        if name not in config.sso_sessions:
            near = nearest_names(name.partition(" #")[0], config.sso_sessions, LIKE)
            step = f" If {near[0]!r} is meant, write that." if near else " Add it."
            step = config.misspelled.get(name.casefold(), step)
            message = f"{where} is missing in {config.path}.{step}"
            raise Failure("sso_session_not_found", message)
        values = config.sso_sessions[name]
    for key, (shape, example) in SHAPES.items():
        value = text_of(values, key)
        if value is None:
            message = f"{where} lacks {key}. Add it, or run in a terminal: aws configure sso"
            raise Failure("sso_incomplete", message)
        if not re.fullmatch(shape, value):
            found = re.search(shape, value[:MAX_NAME_CHARACTERS])
            right = f"{found[0]} (no quotes, no comment)" if found else f"{example}, for example"
            message = f"{where} has a wrong {key} in {config.path}: {value[:80]}. "
            raise Failure("sso_invalid", message + f"Write there: {key} = {right}.")
    scopes = text_of(values, "sso_registration_scopes") if name else None
    return SsoSession(name, values["sso_start_url"], values["sso_region"], scopes or "")


KINDS = ("profile", "sso-session")
LIKE = 0.65  # how much alike two names are when one may be meant by the other
SSO_KEYS = {"sso_session", "sso_start_url"}
SHAPES = {  # of a value, and an example
    "sso_region": (r"(?i)\b[a-z]{2,9}(?:-[a-z]{2,9}){1,3}-\d{1,2}\b", "us-east-1"),
    "sso_start_url": (r"https://[^\s\"'<>]+", "https://d-1234567890.awsapps.com/start"),
}
NOT_SSO = {  # the key that marks the kind: what the profile is, and what fixes it instead
    "aws_access_key_id": "holds static keys. Those come from IAM.",
    "role_arn": "assumes a role without an SSO source. Renew what its credentials come from.",
    "login_session": "belongs to `aws login`. Run that in a terminal.",
    "credential_process": "gets its keys from another program. Use the login of that program.",
    "": "has no SSO settings.",
}
TELLING_KEYS = {*SSO_KEYS, *NOT_SSO}  # of a profile or a session


# --- Token cache: ~/.aws/sso/cache ------------------------------------------------------

# What a token file tells: expiry in epoch seconds, whether a refresh token can renew it, when the
# file was written, and which token it is (a hash that means nothing elsewhere). Never the token.
Token = namedtuple("Token", "expires_at refreshable written_at which")

ISO_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|UTC|([+-]\d\d:\d\d))"


def cache_name(key: str) -> str:
    import hashlib

    return hashlib.sha1(key.encode("utf-8", "replace"), usedforsecurity=False).hexdigest() + ".json"


def token_path(session: SsoSession) -> str:
    """Return the file of a session's token: SHA-1 of its name, or of its exact start URL."""
    return aws_folder("sso", "cache", cache_name(session.name or session.start_url))


def role_path(profile: SsoProfile) -> str:
    """Return the AWS CLI's file of a role's credentials; botocore.credentials names it so."""
    session = profile.session
    key = {"accountId": profile.account_id, "roleName": profile.role_name}
    key.update({"sessionName": session.name} if session.name else {"startUrl": session.start_url})
    name = cache_name(json.dumps(key, sort_keys=True, separators=(",", ":")))
    return aws_folder("cli", "cache", name)


def damaged_file(profile: SsoProfile) -> str | None:
    """Return the file because of which the AWS CLI fails, saying `'<40 hex digits>'` at most."""
    session, scopes = profile.session, re.findall(r"[^\s,]+", profile.session.scopes)
    about = {"tool": "botocore", "startUrl": session.start_url, "region": session.region}
    about.update({"scopes": scopes or None, "session_name": session.name})
    registration = aws_folder("sso", "cache", cache_name(json.dumps(about, sort_keys=True)))
    files = (registration, "expiresAt"), (role_path(profile), "Credentials", "Expiration")
    for path, *place, key in files:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = read_file(path, MAX_OUTPUT_BYTES)
            if content is None or text_of(inner(json.loads(content), *place), key):
                continue
        return path
    return None


def read_token(session: SsoSession) -> Token | None:
    """Return the session's token; None when there is none or its file is no token."""
    path = token_path(session)
    for pause_s in (0.05, 0.05, 0):  # the AWS CLI writes in place: half a file is read again
        try:
            content = read_file(path, MAX_OUTPUT_BYTES)
            return None if content is None else parse_token(json.loads(content), changed_at(path))
        except OSError:
            return None
        except (ValueError, RecursionError):
            time.sleep(pause_s)
    return None


def parse_token(content: Any, written_at: float) -> Token | None:
    """Return the Token of a parsed token file; client registrations and the like are none."""
    if not isinstance(content, dict) or not text_of(content, "accessToken"):
        return None
    expires_at = epoch(content.get("expiresAt"))
    parts = all(text_of(content, key) for key in ("refreshToken", "clientId", "clientSecret"))
    refreshable = parts and (epoch(content.get("registrationExpiresAt")) or 0) > time.time()
    which = hash((content["accessToken"], content["expiresAt"])) if expires_at else 0
    return None if expires_at is None else Token(expires_at, refreshable, written_at, which)


def epoch(text: Any) -> float | None:
    """Return epoch seconds of any spelling of `expiresAt` that AWS's tools write, else None."""
    from datetime import datetime

    match = re.fullmatch(ISO_TIME, text) if isinstance(text, str) else None
    try:
        return match and datetime.fromisoformat(match[1] + (match[2] or "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def check_token_file(session: SsoSession) -> None:
    """Raise Failure `config_unreadable` when a token is there that nobody here can read."""
    try:
        read_file(token_path(session), MAX_OUTPUT_BYTES)
    except OSError as error:
        raise unreadable(token_path(session), error) from None


def is_other(token: Token | None, other: Token | None) -> bool:
    return (token and token.which) != (other and other.which)


def token_state(token: Token | None) -> str:
    """Return `valid`, `expiring` (soon, for good), `refreshable` (now), `expired` or `absent`."""
    if token is None:
        return "absent"
    left = token.expires_at - time.time()
    if left > (ENOUGH_S if token.refreshable else ENOUGH_FIXED_S):
        return "valid"
    return "refreshable" if token.refreshable else "expiring" if left > 0 else "expired"


def expiry(token: Token | None) -> Json:
    """Return `expiresAt` (UTC) and `minutesLeft` of a token that has not expired, else {}."""
    if token is None or token.expires_at <= time.time():
        return {}
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires_at))
    return {"expiresAt": expires_at, "minutesLeft": int(token.expires_at - time.time()) // 60}


# --- MCP clients: the profile that another server, or a command, is configured with -----

# Clients' files: `.` is the project's folder, `@` that and the home, CONFIG the system's for
# settings, `$X` the folder in a variable. In each, servers are looked for below all SERVER_KEYS.
CLIENT_FILES = (*"""
    ~/.claude.json $CLAUDE_CONFIG_DIR/.claude.json @/.mcp.json /etc/claude-code/managed-mcp.json
    /Library/Application*Support/ClaudeCode/managed-mcp.json
    $ProgramFiles/ClaudeCode/managed-mcp.json CONFIG/Claude/claude_desktop_config.json
    ~/.claude/plugins/cache/*/*/*/.mcp.json ~/.claude/plugins/cache/*/*/*/.claude-plugin/plugin.json
    $CLAUDE_CONFIG_DIR/plugins/cache/*/*/*/.mcp.json ./.roo/mcp.json ./.vs/mcp.json
    $CLAUDE_CONFIG_DIR/plugins/cache/*/*/*/.claude-plugin/plugin.json ./.vscode/mcp.json
    @/.codex/config.toml $CODEX_HOME/config.toml @/.cursor/mcp.json @/.junie/mcp/mcp.json
    ~/.copilot/mcp-config.json $COPILOT_HOME/mcp-config.json ./.github/mcp.json ./opencode.json*
    ~/.config/github-copilot/*/mcp.json $LOCALAPPDATA/github-copilot/*/mcp.json ~/.lmstudio/mcp.json
    @/.gemini/settings.json @/.gemini/extensions/*/gemini-extension.json @/.kiro/settings/mcp.json
    @/.kiro/agents/*.json ~/.kiro/powers/*/*/mcp.json @/.amazonq/*.json @/.amazonq/*agents/*.json
    ~/.aws/amazonq/*.json ~/.aws/amazonq/*agents/*.json ~/.cline/mcp.json ./.vscode/settings.json
    ~/.cline/data/settings/cline_mcp_settings.json ~/.codeium/windsurf/mcp_config.json
    ~/.codeium/mcp_config.json ~/.config/opencode/opencode.json* ~/.config/zed/settings.json
    $APPDATA/Zed/settings.json ./.zed/settings.json
""".split(), *(  # noqa: SIM905 - and those of each kind of VS Code, here or on a remote host
    f"{user}/{file}"
    for user in ("CONFIG/*Cod*/User", "CONFIG/Cursor/User", "~/.*-server*/data/User")
    for file in ("mcp.json", "settings.json", "profiles/*/mcp.json",
                 "globalStorage/*/settings/*mcp_settings.json")  # Cline, Roo Code
))  # fmt: skip
SERVER_KEYS = [key.split("/") for key in (
    "mcpServers", "servers", "mcp_servers", "context_servers", "powers/mcpServers", "mcp/servers",
    "mcp",
)]  # fmt: skip
SETTINGS_FOLDERS = {"darwin": "~/Library/Application Support", "win32": "$APPDATA"}
MAX_DOTS = 100  # in a line of TOML: tomllib's time is quadratic in the parts of a key
VARIABLE = r"(?:\$\{(?:env:)?|\{env:)(\w+)(?::-([^{}]*))?\}|\$(?!env\b)(\w+)"
# JSON with comments and trailing commas: strings stay, what else matches goes.
COMMENT = r'(?s)("[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)'
LAST_COMMA = r'(?s)("[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z))|,(?=\s*[}\]])'


def profile_of_server(server: str) -> str | None:
    """Return the profile that MCP server `server` is configured with, None when its entry has none.

    `server` may be what a client shows of a name: the longest configured one counts that stands
    in it as whole words. Raises Failure when no entry is found, or several that differ.
    """
    known = list(configured_servers())
    names = {name for _, name, _ in known}
    fits = {server} & names or {name for name in names if is_named(name, server)}
    if not fits:
        harmless = [name for name in names if re.fullmatch(r"[\w.@:/-]{1,64}", name)]
        near = nearest_names(server, harmless[:1000])
        message = f"No MCP client here is configured with a server {server!r}"
        message += f"; the nearest servers are: {listed(near)}." if near else "."
        message += " (YAML is not read, nor TOML before Python 3.11.) Call again with `profile`."
        raise Failure("server_not_found", message)
    found = [each for each in known if each[1] in fits and len(each[1]) == len(max(fits, key=len))]
    in_use = [row for row in found if row[2].get("enabled", True) and not row[2].get("disabled")]
    profiles = [(file, profile_of_entry(entry)) for file, _, entry in in_use or found]
    if len({profile for _, profile in profiles}) > 1:
        each = ", ".join(f"{profile or 'none'} in {file}" for file, profile in profiles[:MAX_SHOWN])
        message = f"MCP server {server!r} is configured with different profiles: {each}. "
        raise Failure("server_ambiguous", message + "Call again with the right one as `profile`.")
    return profiles[0][1]


def is_named(name: str, wanted: str) -> bool:
    """Tell whether a server's name stands in `wanted`; VS Code keeps only 13 characters of it."""
    texts = (f" {name} ", f" mcp_{name[:13]} ", f" {wanted} ")
    name, cut, wanted = (re.sub(r"[\W_]+", " ", text).casefold() for text in texts)
    return name != " " and (name in wanted or wanted.startswith(cut))


def configured_servers() -> Iterator[tuple[str, str, Json]]:
    """Yield file, name and entry of each MCP server in the clients' config files."""
    project = os.environ.get("CLAUDE_PROJECT_DIR") or working_folder()
    for pattern in CLIENT_FILES:
        for path in client_paths(pattern, project):
            file = path.replace(os.path.join(project, ""), "./", 1)
            file, content = file.replace(os.path.expanduser("~"), "~", 1), read_client_config(path)
            for place in *SERVER_KEYS, ["projects", project, "mcpServers"]:
                for name, entry in inner(content, *place).items():
                    if name not in ("servers", "inputs"):  # of VS Code's `mcp`
                        yield file, name, inner(entry)


def client_paths(pattern: str, project: str) -> list[str]:
    """Return the files on this system that a pattern of CLIENT_FILES stands for, at most 100."""
    root, _, rest = pattern.partition("/")
    settings = os.path.expandvars(SETTINGS_FOLDERS.get(sys.platform, "~/.config"))
    places = {"~": ["~"], ".": [project], "@": ["~", project], "CONFIG": [settings]}
    places[""] = [] if sys.platform == "win32" else ["/"]
    folders = [each for each in places.get(root, [setting(root[1:])]) if each]
    escaped = [re.sub(r"([*?[])", r"[\1]", os.path.expanduser(each)) for each in folders]
    return [path for each in escaped for path in matching_files(os.path.join(each, rest))][:100]


def read_client_config(path: str) -> Json:
    """Return what a file of JSON, JSON with comments or TOML holds; {} if it can't be read."""
    try:
        text = (read_file(path, MAX_CLIENT_FILE_BYTES) or b"").decode("utf-8-sig")
        return parsed_config(text, path.endswith(".toml"))
    except (OSError, ValueError, RecursionError):
        return {}


def parsed_config(text: str, is_toml: bool) -> Json:
    """Return the object that a client's config file holds; raises ValueError, RecursionError."""
    if is_toml and sys.version_info >= (3, 11):
        import tomllib

        is_sane = all(line.count(".") <= MAX_DOTS for line in text.split("\n"))
        return tomllib.loads(text) if is_sane else {}
    try:
        return inner(json.loads(text))
    except ValueError:
        text = re.sub(COMMENT, lambda found: found[1] or " ", text)
        return inner(json.loads(re.sub(LAST_COMMA, lambda found: found[1] or "", text)))


def profile_of_entry(entry: Json) -> str | None:
    """Return the profile of a server's entry, from the place that its server looks in first."""
    zed = inner(entry, "command")  # the older form
    entry = {**entry, **zed, "command": zed.get("path")} if zed else entry
    env = inner(entry, "env") or inner(entry, "environment")
    command, arguments = entry.get("command"), entry.get("args")
    parts = command if isinstance(command, list) else [command]
    parts = [*parts, *(arguments if isinstance(arguments, list) else [])]
    words = [filled(part) for part in parts]
    for number, before in enumerate(words[:-1], 1):  # a value may have blanks; all else is a line
        if re.fullmatch(r"(?i)-e|--env|--metadata|-.*profile(?:-?name)?", before):
            words[number] = re.sub(r"(?s)^(AWS_\w+=)?(.*)", r'\1"\2"', words[number], count=1)
    named = profile_of_command(" ".join(words))
    proxied = filled(env.get("AWS_MCP_PROXY_PROFILES")).split()
    names = [filled(env.get("AWS_API_MCP_PROFILE_NAME")), *proxied[:1], named or ""]
    if named is None:
        names += [filled(env.get("AWS_PROFILE")), filled(env.get("AWS_DEFAULT_PROFILE"))]
    return next(filter(is_worked_out, names), None)


def filled(value: Any) -> str:
    """Return a client's text with its variables filled in, `$` for one that is not known.

    Only variables of profiles are: a project's file could ask for a secret.
    """

    def fill(found: re.Match[str]) -> str:
        name = found[1] or found[3]
        return ("PROFILE" in name.upper() and os.environ.get(name)) or found[2] or "$"

    return re.sub(VARIABLE, fill, value) if isinstance(value, str) else ""


# --- Choosing a profile -----------------------------------------------------------------

# A profile, its `profileSource`, why in words, and the other profiles that it might have been.
Choice = namedtuple("Choice", "profile source why others")


def choose_profile(config: AwsConfig, parameter: str | None, server: str | None = None) -> Choice:
    """Return the profile to use, from the first place that names one. Raises Failure."""
    if parameter:
        return requested(config, parameter)
    but = ""
    if server:
        profile = profile_of_server(server)
        if profile:
            return Choice(profile, "server", f"configured for MCP server {harmless(server)!r}", [])
        but = f" (MCP server {harmless(server)!r} is configured with none)"
    for variable in ("AWS_SSO_MCP_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        value = setting(variable)
        if value:
            return Choice(value, "environment", f"from ${variable}{but}", [])
    choice = unnamed(config)
    return choice._replace(why=choice.why + but)


def requested(config: AwsConfig, name: str) -> Choice:
    """Return the profile of that name, else the first of the SSO session or start URL `name`."""
    sessions = {} if name in config.profiles else profiles_by_session(config)
    for session, profiles in sessions.items():
        if name.rstrip("/#") in (session.name, session.start_url.rstrip("/#")):
            why = f"the first one of SSO session {name!r}, as no profile is called so"
            return Choice(profiles[0].name, "parameter", why, [])
    return Choice(name, "parameter", "as requested", [])


def unnamed(config: AwsConfig) -> Choice:
    """Return the SSO profile whose token, then role credentials, were cached last; or the only."""
    sessions = profiles_by_session(config)
    written = {each: token.written_at for each in sessions if (token := read_token(each))}
    used = sorted(written, key=lambda session: -written[session])
    first = [sessions[session][0].name for session in used or sessions][:MAX_SHOWN]
    if used:
        profile = max(sessions[used[0]], key=lambda each: changed_at(role_path(each)))
        return Choice(profile.name, "most_recent", "the SSO profile used last", first[1:])
    if len(sessions) == 1:
        return Choice(first[0], "only", "the first one of the only SSO session", [])
    return Choice("default", "default", "as no profile was named", first)


def profiles_by_session(config: AwsConfig) -> dict[SsoSession, list[SsoProfile]]:
    """Return the SSO profiles of each SSO session, leaving out those that are misconfigured."""
    sessions: dict[SsoSession, list[SsoProfile]] = {}
    for name in config.profiles:
        with contextlib.suppress(Failure):
            profile = sso_profile(config, name)
            if profile.login_profile == name:
                sessions.setdefault(profile.session, []).append(profile)
    return sessions


# --- Failures: what AWS's tools say, what it means, what would fix it -------------------

# fmt: off
EXPIRED = "AWS rejects the SSO token. Call refresh_aws_sso_token, if need be with force: true."
FAILURES = (  # reason; what the AWS CLI says (the first row that fits counts); meaning, what to do
    ("role_not_assigned", "ForbiddenException.{0,60} No access"
     r"|ResourceNotFoundException\) when calling the GetRoleCredentials",
     "The login is fine, but the role of the profile is not assigned to this person. Choose "
     "another profile, or ask an administrator to assign it; no login can."),
    ("denied", r"AccessDeniedException\) when calling the CreateToken|Failed to retrieve an auth",
     "The sign-in page was answered with no. If that was a mistake, call refresh_aws_sso_token."),
    ("wrong_state", "State parameter does not match", "The browser answered for another login."
     " Close old sign-in pages, then call refresh_aws_sso_token."),
    ("login_expired", "retrieve an SSO token has expired|InvalidGrantException"
     r"|ExpiredTokenException\) when calling the CreateToken", "Nobody approved in time."
     " When the person is ready, call refresh_aws_sso_token: a new page opens."),
    ("wrong_start_url", r"InvalidRequestException\) when calling the (?:Register|StartD|CreateTok)"
     "|resolve start URL|sso_start_url must use the https scheme",
     "AWS does not know this start URL in this region. Check sso_start_url and sso_region."),
    ("client_registration", r"(?:InvalidClient|UnauthorizedClient)Exception\)",
     "AWS has forgotten the AWS CLI's client registration. Let the person delete the files in "
     "~/.aws/sso/cache with a clientSecret but no accessToken; then call refresh_aws_sso_token."),
    ("access_denied", r"\((?:AccessDenied|UnauthorizedOperation)|is not authorized to perform: ",
     "The credentials work, but may not do this. Use another role; no login helps."),
    ("static_keys", r"\((?:InvalidClientTokenId|UnrecognizedClientException|ExpiredToken)",
     "AWS refuses the keys. Check AWS_* variables, ~/.aws/credentials, region and clock."),
    ("proxy", "Failed to connect to proxy URL",
     "The proxy (HTTPS_PROXY) fails or drops connections. Check it and the VPN; no login helps."),
    ("certificate", "SSL validation failed for",
     "Something intercepts TLS. Set AWS_CA_BUNDLE to the company's certificates; no login helps."),
    ("network", "Could not connect to the endpoint URL|timeout on endpoint URL|An HTTP Client "
     "|Connection was closed before|reading from response stream",
     "AWS could not be reached. Check the network, the VPN and sso_region; a login does not help."),
    ("callback_port", r"Unable to initialize the OAuth 2\.0",
     "The AWS CLI could not listen on 127.0.0.1. Set AWS_SSO_MCP_LOGIN=device for this server."),
    ("aws_cli_v1", r"valid choices are:\s+get-role-credentials(?![^:]{0,300}\blogin\b)",
     "This `aws` is version 1, which has no SSO login. Install the AWS CLI v2, first on PATH."),
    ("config_changed", r"Unable to parse config file|config profile \(.{0,512}\) could not be found"
     "|sso-session does not exist|sso_session configuration does not|required SSO configuration",
     "The AWS config does not hold this profile, or not all of it. Check the name and the file."),
    ("cache_not_writable", r"\[Errno (?:1|5|13|17|20|21|28|30|40|69|116|122)\]",
     "The AWS CLI could not write ~/.aws/sso/cache. Check its owner, its mode and the disk."),
    ("aws_error", r"max retries|InternalServer|Unavailable|SlowDown|TooManyRequests|Throttl"
     r"|\(5\d\d\)|\(429\)|(?m:(?:^|: )'[A-Za-z]+'$)|<html|Unable to parse response",
     "AWS, or a captive portal or VPN page in between, answered with an error. Try again later."),
)
# fmt: on
# The grammar of "the SSO token is no good", in any tool's words. It is said of an SSO token, ...
SSO = r"(?<![\w./\\-])(?:sso(?:\w*provider)?|identity center|access portal)(?![\w./\\-]|:\S)"
THING = r"(?:session|token|log-?in|cache|credentials?)\b(?! section| config| duration)"
BAD = (
    r"\b(?:(?<!not )(?<!n't )expired|invalid|missing|revoked|required|needed|no longer"
    r"|not (?:found|valid|present|active|exist)|(?:not|n't) be \w+(?:ed|nd)|refresh \w* ?failed"
    r"|failed to \w+)\b"
)
STATEMENTS = (
    rf"{SSO}(?=.{{0,60}}?\b{THING})(?:(?!\b(?:if|when|before|until|is valid)\b).){{0,90}}?{BAD}",
    r"\b(?:no|expired|invalid|missing|unable to \w+|failed to \w+|cannot \w+|could not \w+"
    rf"|error \w+ing)(?: [\w']+){{0,3}}? {SSO} (?:access |session )?{THING}",  # "no SSO token"
    r"\b(?:not|need to|must|please) (?:be )?(?:log|sign|re-?auth)[\w -]{0,30}\baws sso\b",
    r"\b(?:\w*(?:invalid|expired)sso(?:token|session)|sso(?:token|session)(?:invalid|expired))"
    r"\w*(?:: |\))",  # the name of an exception
    r"\b(?:unable|failed) to \w+ .{0,40}?\btoken\b.{0,120}?sso[/\\]cache",  # ... its file
    r"\bsession token not found or invalid|\btoken has expired and refresh failed",  # no "SSO"
    r"\(unauthorizedexception\) when calling the (?:getrolecredentials|listaccount)",
    r"(?:^ ?|sdkclientexception: )token is expired|\bcached credentials not found under",
    r"\baws credentials expired or invalid|\bexpired or invalid aws credentials",
    r"(?<!failed to )\b(?:run\w*|execute|try|us(?:e|ing)|with|fix)\b.{0,30}?\baws2? sso login",
)
# ... in lines that tell of no other cause, which no login fixes (the last: of a test);
OTHER_CAUSE = (
    r"custom[- ]process|pending (?:device )?authorization|\bno access\b|permission denied|x509"
    r"|request send failed|no such host|connection refused|timed out|required parameters"
    r"|not configured|not (?:found|defined) in\b|\b(?:saml|okta|azure|keycloak|argocd)|, want "
)
# where no quote is open and no condition is made before it;
SUPPOSED = r"""(?x) (?<![\w.)\]}/%!]) [fr]? (?: "[^"]* | '[^']* | `[^`']* )$ | [\s:]<[^<>]*$
    | [#+][ ]?(?:The[ ])?$ | \b(?:if|when(?![ ]\w+ing)|whether|unless|once|after|got|want|expect\w*
    | assert\w*|handle\w*)\b [^.:]*$"""
# and not in a line that shows what somebody wrote: a diff or trace, a table, source, a comment or
# heading (no `##[error]` of GitHub, `#8 1.2` of Docker), what grep finds, a test's report.
SHOWN = (
    r"[-+<|]|\s*[-+][^\s\d]|\s*(?:>|/[/*]|\*\S|\d+ ?\||\d+  |\d+\) )|[0-9a-f]{7,40} "
    r"|[^\t]+\t(?:pass|fail|OPEN|CLOSED|MERGED)\t"
    r"|\s*#(?!#?\[|\d+ \d)|\d+:(?!\s|\d\d)|(?:\w:)?[^\s:]+\.(?:md|rst|txt)[:-]"
    r"|(?:\w:)?[^\s:]+(?:\.\w{1,5}|(?:[:-]\d+){1,2})[:-](?! \S|\d|in )"
    r"|\s*(?:●|✓|FAIL|PASS|E\s+[-+]|(?:Expected|Actual|Received) ?:)"
)
NOISE = r"""(?x) \r | \x1b?\[[\d;]{1,9}m | \x1b\[[\d;:]*[A-Za-z] | \\{1,3}(?=["'])  # colours, and
    | \\{0,3} ["']? (?<![A-Za-z]) [a-z_@]{0,9}  # the key of a message in a log or JSON
      (?:[Mm]essage|msg|[Ee]rr(?:or)?|text|details?|summary|stderr|source)
      \\{0,3} ["']? (?: :[ ]? | = ) (?:Some\()? \\{0,3} ["']"""


def failure_of(reason: str) -> Failure:
    """Return the Failure of a row of FAILURES."""
    return Failure(reason, next(row[2] for row in FAILURES if row[0] == reason))


def cli_failure(run: Process) -> Failure:
    """Return the Failure that tells what a command's stderr means, and the last line of it."""
    errors = run.output["stderr"]
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or [""]
    said = re.sub("^aws: .ERROR.: ?", "", lines[-1])
    said = re.sub(r"[A-Za-z0-9+/=_.~%-]{40,}", "[...]", said)[:200]  # secrets are long words
    quote = f" (The AWS CLI said: {said})" if said else ""
    if expiry_in(errors):
        return Failure("session_expired", EXPIRED + quote)
    for reason, pattern, meaning in FAILURES:
        if re.search(pattern, errors):
            return Failure(reason, meaning + quote)
    command = " ".join(each for each in run.argv[1:] if not each.startswith("--no-"))
    what = f"`aws {command}` failed (exit code {run.code}). Run it in a terminal to see more."
    return Failure("aws_cli_failed", what + quote)


def expiry_in(text: str) -> str | None:
    """Return the statement in a command's output that an SSO login answers; None without one."""
    text = text[-MAX_CHARACTERS:]
    lines = spoken_lines(text)
    patterns = STATEMENTS[:-1] if re.search(r"(?m)^#{2,} \S", text) else STATEMENTS  # Markdown's
    for number, line in enumerate(lines):
        statement = re.sub(r"[\s│|]+", " ", " ".join((line, *lines[number + 1 : number + 2])))
        found = [re.search(pattern, statement, re.IGNORECASE) for pattern in patterns]
        starts = [match.start() for match in found if match]
        around = "\n".join(lines[number : number + 5]).partition("\n\n")[0].replace("\n", " ")
        before = statement[: min(starts)][-200:] if starts else "'"
        is_said = not re.search(SUPPOSED, before, re.IGNORECASE)
        if is_said and not re.search(OTHER_CAUSE, around, re.IGNORECASE):
            return statement
    return None


def spoken_lines(text: str) -> list[str]:
    """Return the lines of an output, those empty that only show what somebody wrote."""
    if re.search(r"(?m)^(?:DESCRIPTION|SYNOPSIS)$", text):  # a manual
        return []
    lines = re.sub(NOISE, "", text).splitlines()
    kept, fenced, hunk, block, indented = [], False, False, False, False
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""]):
        fence = line.strip().startswith("```")
        fenced ^= fence
        hunk = line.startswith("@@ ") or (hunk and line[:1] in "+- ")
        deep = line.startswith("    ")
        block = deep and (block or not (before.strip() or indented))  # of code in Markdown
        indented = deep if line.strip() else indented
        underlined = re.match(r"[\s|]*[\^~]|-{4,}$|={4,}$", after) and not before.startswith("----")
        shown = fence or fenced or hunk or block or underlined or re.match(SHOWN, line)
        is_quoted = re.search(r"panicked at tests/|^\s*Expected:?$", before)
        kept.append("" if shown or is_quoted else line)
    return kept


# --- Renewal: one per SSO session, on this whole machine ---------------------------------

AWS_NAMES = ("aws",) if os.name == "posix" else ("aws.exe", "aws.cmd")
AWS_CLI_PLACES = (  # beyond PATH, which clients started from a desktop hardly fill
    "/usr/local/bin/aws", "/opt/homebrew/bin/aws", "/usr/bin/aws", "/snap/bin/aws",
    "~/.local/bin/aws", "/home/linuxbrew/.linuxbrew/bin/aws", "~/.local/share/mise/shims/aws",
    "~/.nix-profile/bin/aws", "/run/current-system/sw/bin/aws", "~/.asdf/shims/aws",
) if os.name == "posix" else (
    "%ProgramFiles%\\Amazon\\AWSCLIV2\\aws.exe", "C:\\Program Files\\Amazon\\AWSCLIV2\\aws.exe",
)  # fmt: skip
INSTALL_GUIDE = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
INSTALL = f"Install AWS CLI v2 ({INSTALL_GUIDE}), or name its program in $AWS_SSO_MCP_AWS_CLI."
V1 = "is version 1, which has no `aws sso login`"
EXIT_V1 = 2  # of a choice that it does not have, such as `login`; a v2: 252
NO_CHOICE, NO_OPTION = "(?m)^aws: .*nvalid choice", "(?m)^Unknown options: .*--no-cli-auto"
NO_DEVICE_CODE = "Unknown options: --use-device-code"  # before 2.22, where it is the only way

PAGE = r"(?m)^https?://[^\s?]+\?\S+$"  # a verification URI without the code has no query
USER_CODE = r"(?m)^[A-Z0-9]{4}-[A-Z0-9]{4}$"
SAFE_URL = r"https://([A-Za-z0-9.-]+)(?::\d{1,5})?(?:[/?#][!#-;=?-Z_a-z~%\[\]]*)?"
# Hosts of AWS's own pages, in all partitions of botocore 1.44.8 (November 2026), and its portals;
# below amazonaws.com, api.aws and on.aws lie pages of its customers too.
AWS_HOSTS = (
    r"(?i)(?:oidc|(?:device|portal)\.sso)(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.(?:com(?:\.cn)?|eu)"
    r"|api\.aws|api\.amazonwebservices\.(?:com\.cn|eu)|(?:c2s|csp\.hci|api\.aws(?:\.hci)?)\.ic\.gov"
    r"|sc2s\.sgov\.gov|api\.aws\.scloud|(?:api\.cloud-aws|cloud)\.adc-e\.uk)"
    r"|(?:[a-z0-9-]+\.)+(?:awsapps\.(?:com|cn)|app\.aws|signin\.aws(?:\.amazon\.com)?"
    r"|portal\.amazonaws\.(?:com(?:\.cn)?|eu)|app\.amazonwebservices\.com\.cn)"
)
PUBLISHED = {"url": SAFE_URL, "code": USER_CODE, "host": r"[\w.-]{1,255}", "outcome": "denied"}
# Ends of a silent renewal that say nothing of the refresh token, which is worth another try.
UNTRIED = ("timeout", "network", "proxy", "certificate", "aws_error", "abandoned")
# Settings of a profile that tell how AWS is reached.
REACHING = ("ca_bundle", "use_fips_endpoint", "use_dualstack_endpoint")
PAGE_OPENER = "import sys, webbrowser; webbrowser.open(sys.argv[1])"

# Guards what calls and flights share: the table of flights, who waits, who is cancelled, news and
# outcomes; whoever changes any of it notifies all. Held for moments: never while a file is read or
# written, a process starts or a message is sent.
CHANGED = threading.Condition()

_flights: dict[Any, Flight] = {}  # by key
_v1: set[tuple[str, float]] = set()  # path and time of each `aws` that has shown itself a v1

# What a person can be told of a flight. `urgent`: only they can open the page at `url`, so an
# answer must show it now, or the client if it may (`offered`).
News = namedtuple("News", "text url code urgent offered", defaults=(None, None, False, False))


class Call:
    """One request for a tool, as the tool sees it."""

    def __init__(self, report: Callable[[str], object], offer: Any = lambda *_: False) -> None:
        self.report = report  # (message) tells of progress
        self.offer = offer  # (url, message) has the client show a page; whether the call goes on
        self.cancelled = False  # the client no longer wants an answer
        self.hurried = False  # it wants the one that there is now
        self.known: News | None = None  # what the flight had to tell when the call joined it

    def end(self, *, cancelled: bool) -> None:
        """End whatever the call waits for, from any thread."""
        with CHANGED:
            self.cancelled, self.hurried = cancelled, True
            CHANGED.notify_all()


class Flight:
    """A piece of work, and the calls that wait for its outcome: single flight, by `key`.

    `work(flight)` runs in a thread of its own. One that `lasts` stays in the table until a call has
    heard its outcome, and calls may leave it in a hurry. CHANGED guards the fields.
    """

    def __init__(self, key: Any, work: Any, *, lasts: bool = False) -> None:
        self.key, self.work, self.lasts = key, work, lasts
        self.news = News("Running the AWS CLI ...")
        self.outcome: Any = None  # what `work` returned, or the Failure that it raised
        self.ended_at = 0.0
        self._waiting = 0
        self._left_at: float | None = None  # when the last to wait for it was cancelled
        self._is_offered = False

    def join(self, call: Call) -> Flight:
        """Return the flight of this key that is in the table, else this one, started."""
        with CHANGED:
            if self.key not in _flights:
                in_thread(self._run)
                _flights[self.key] = self
            flight = _flights[self.key]
            call.known = flight.news
            return flight

    def _run(self) -> None:
        try:
            outcome = self.work(self)
        except Failure as failure:
            outcome = failure
        except Exception as error:  # noqa: BLE001 - a bug must not leave calls waiting
            outcome = bug(error)
        with CHANGED:
            self.outcome, self.ended_at = outcome, time.monotonic()
            if not self.lasts:
                self.forget()
            CHANGED.notify_all()

    def forget(self) -> None:
        """Make room for another flight of the same key."""
        with CHANGED:
            if _flights.get(self.key) is self:
                del _flights[self.key]

    def tell(self, news: News) -> None:
        """Let the calls that wait hear something new."""
        with CHANGED:
            if news != self.news:
                self.news = news
                CHANGED.notify_all()

    def wait(self, call: Call, deadline: float) -> Any:
        """Return the outcome, None if it does not come. Raises Cancelled, and its Failure."""
        with CHANGED:
            self._waiting, self._left_at = self._waiting + 1, None
        while not self._is_over(call) and time.monotonic() < deadline:
            news = self.news
            self._pass_on(news, call)
            with CHANGED:
                seconds = min(deadline - time.monotonic(), REPORT_EVERY_S)
                CHANGED.wait_for(lambda: self._is_over(call) or self.news != news, seconds)  # noqa: B023
        with CHANGED:
            self._waiting -= 1
            self._left_at = time.monotonic() if call.cancelled else None
            if call.cancelled:
                raise Cancelled
            if self.outcome is not None:
                self.forget()
            if isinstance(self.outcome, Failure):
                raise self.outcome
            return self.outcome

    def _is_over(self, call: Call) -> bool:
        return self.outcome is not None or call.cancelled or (self.lasts and call.hurried)

    def _pass_on(self, news: News, call: Call) -> None:
        """Tell a call; let the client show an urgent page, or have the call answered at once."""
        call.report(news.text)
        if news.urgent and news != call.known:
            call.known = news
            with CHANGED:
                may_offer, self._is_offered = news.offered and not self._is_offered, True
            if not (may_offer and call.offer(news.url, news.text)):
                call.end(cancelled=False)

    def is_wanted(self, _: str = "") -> bool:
        """Return True; raise Failure `abandoned` 30 s after the last that waited was cancelled."""
        with CHANGED:
            left_s = 0 if self._left_at is None else time.monotonic() - self._left_at
            if not self._waiting and left_s > ABANDONED_S:
                self.forget()
                raise Failure("abandoned", "Nobody waited for it any more.")
        return True


def find_aws_cli() -> str:
    """Return the first `aws` that may be run and has not shown itself a v1. Raises Failure."""
    named = filled_in(setting("AWS_SSO_MCP_AWS_CLI") or "")
    found = [(named, path_problem(named, named=True))] if named else []
    refused = {}
    for path, problem in found or programs(AWS_NAMES, AWS_CLI_PLACES):
        refused[path] = V1 if (path, changed_at(path)) in _v1 else problem
        if refused[path] is None:
            return path
    told = "; ".join(f"{path} {problem}" for path, problem in refused.items())
    told = told or "none is on PATH, nor in the usual places"
    reason = "aws_cli_v1" if V1 in refused.values() else "aws_cli_not_found"
    raise Failure(reason, f"There is no AWS CLI v2 to log in with: {told}. {INSTALL}")


def run_aws(
    arguments: Sequence[str], goes_on: Callable[[str], bool], limit_s: float = 0, **more: Any
) -> Process:
    """Return a run of the first `aws` that is a v2, when it has ended or was ended.

    `goes_on`, called with what stdout holds when there is more and four times a second, tells
    whether to go on, or raises. `more` is what Process takes. Raises Failure, also `timeout`.
    """
    while True:
        aws, limit = find_aws_cli(), time.monotonic() + (limit_s or COMMAND_LIMIT_S)
        if aws.lower().endswith((".cmd", ".bat")) and re.search(r'[%&^<>|"]', str(arguments)):
            message = f"{aws} is a batch file, which cannot take such a profile name. {INSTALL}"
            raise Failure("aws_cli_failed", message)
        run = Process([aws, *arguments, "--no-cli-auto-prompt"], **more)
        try:
            while run.wait(LOOK_EVERY_S) and goes_on(run.output["stdout"]):
                if time.monotonic() > limit:
                    raise no_answer(arguments)
        finally:
            run.end()
        errors = run.output["stderr"]
        if NO_DEVICE_CODE in errors and run.code:
            arguments = [each for each in arguments if each != "--use-device-code"]
        elif re.search(NO_OPTION, errors) or (run.code == EXIT_V1 and re.search(NO_CHOICE, errors)):
            _v1.add((aws, changed_at(aws)))
        else:
            return run


def ask_aws(call: Call, deadline: float, *arguments: str) -> Process:
    """Run a command that needs no person, or join one that is the same. Raises also Cancelled."""
    flight = Flight(arguments, lambda flight: run_aws(arguments, flight.is_wanted)).join(call)
    run: Process | None = flight.wait(call, max(deadline, time.monotonic() + 5))
    if run is None:
        raise no_answer(arguments)
    return run


def no_answer(arguments: Sequence[str]) -> Failure:
    what = f"`aws {' '.join(arguments[:2])}` gives no answer. "
    return Failure("timeout", what + "Check the network and the proxy, then call again.")


class Renewal:
    """The renewal of one SSO session's token: what a flight works at, from `__call__` downwards.

    Other processes see the lock and what is published in its file: `url`, `code`, `host` of the
    page, or the `outcome` that the person said no. How else it ended, the token file tells.
    """

    def __init__(self, profile: SsoProfile, seen: Token | None, *, silently: bool) -> None:
        self.session, self.profile = profile.session, profile.login_profile
        self.seen, self.silently = seen, silently
        self.lock = FileLock(lock_path(profile.session))
        self.problem = ""  # why there is no lock
        self.local, self.opens = browser_here()
        self.page: Json = {}  # of this login
        self.began_at = time.time()  # wall-clock time, which goes on in a laptop that sleeps
        self.wanted_anew = False  # guarded by CHANGED

    def __call__(self, flight: Flight) -> str:
        """Return `refreshed` or `logged_in`. Raises Failure."""
        try:
            by_page = self._wait_for_others(flight)
            if not self.is_done():
                self._publish()
                by_page = not (self.silently and self._refresh(flight))
                if by_page:
                    self._log_in(flight)
        except Failure as failure:
            if failure.reason in ("denied", "abandoned"):  # no longer a page to wait for
                self._publish(outcome=failure.reason)
            raise
        finally:
            self.lock.release()
        return "logged_in" if by_page else "refreshed"

    def begin_anew(self) -> None:
        """Have a login that is no longer young ended, and another one begun in its place."""
        with CHANGED:
            self.wanted_anew = time.time() - self.began_at > STALE_S

    def _wait_for_others(self, flight: Flight) -> bool:
        """Take the lock, or wait with whoever has it; tell whether its page brought the token."""
        page: Json = {}
        while not self._has_lock():
            page = self._published()
            flight.tell(self._news(page, of_others=True))
            if self.is_done():
                return "url" in page
            flight.is_wanted()
            if time.time() - self.began_at > LOGIN_LIMIT_S:
                raise failure_of("login_expired")
            time.sleep(LOOK_EVERY_S)
        page = page and self._published()
        if "outcome" in page:
            raise failure_of("denied")
        if "url" in page and not self.is_done():
            message = "Another program's login to this session ended without a token; call again."
            raise Failure("ended_elsewhere", message)
        return "url" in page

    def _has_lock(self) -> bool:
        try:
            return self.lock.acquire()
        except OSError as error:  # go on without
            self.problem = f" (Other programs may open a page too, for want of a lock: {error}.)"
            return True

    def _publish(self, **what: str | None) -> None:
        """Tell the other processes, if the lock is ours."""
        if self.lock.fd is not None:
            with contextlib.suppress(OSError):  # a full disk: the lock still holds
                write_file(self.lock.path, json.dumps(what))

    def _published(self) -> Json:
        """Return what the process with the lock tells, as far as it is what it should be."""
        try:
            told = inner(json.loads(read_file(self.lock.path, MAX_OUTPUT_BYTES) or b""))
        except (OSError, ValueError, RecursionError):
            return {}
        texts = {key: told[key] for key in PUBLISHED if isinstance(told.get(key), str)}
        return {key: text for key, text in texts.items() if re.fullmatch(PUBLISHED[key], text)}

    def _refresh(self, flight: Flight) -> bool:
        """Have the AWS CLI use the refresh token; tell whether that brought a new token.

        It looks at the token only when it needs new role credentials, and those of a role may be
        cached for hours. So it is asked, with a config of our own, for a role that nobody has: AWS
        refuses that, once the token has been renewed.
        """
        import shlex

        path = self.lock.path.replace(".json", ".config")
        values = read_aws_config().profiles.get(self.profile, {})
        kept = "".join(f"{key} = {values[key]}\n" for key in REACHING if text_of(values, key))
        role = f"sso_account_id = 000000000000\nsso_role_name = none-{time.time_ns()}\n"
        text = f"[profile renewal]\nsso_session = {self.session.name}\n{role}{kept}"
        text += f"[sso-session {shlex.quote(self.session.name)}]\n"
        text += f"sso_region = {self.session.region}\nsso_start_url = {self.session.start_url}\n"
        arguments = ("configure", "export-credentials", "--profile=renewal")
        files: Any = {"AWS_CONFIG_FILE": path, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        try:
            write_file(path, text)
            run = run_aws(arguments, flight.is_wanted, streams=("stderr",), **files)
            failure = cli_failure(run)
        except OSError:
            return False
        except Failure as raised:
            failure = raised
        is_done = self.is_done()
        if not is_done and failure.reason in UNTRIED:
            raise failure
        return is_done

    def _log_in(self, flight: Flight) -> None:
        """Run `aws sso login`, anew for a call that wants that. Raises Failure without a token."""
        arguments = ["sso", "login", f"--profile={self.profile}", "--no-browser"]
        arguments += [] if self.local else ["--use-device-code"]
        fds = [self.lock.fd] if self.lock.fd is not None and os.name == "posix" else []
        while True:
            with CHANGED:
                self.wanted_anew, self.began_at, self.page = False, time.time(), {}
            flight.tell(self._news({}))
            goes_on = partial(self._goes_on, flight)
            run = run_aws(arguments, goes_on, limit_s=2 * LOGIN_LIMIT_S, fds=fds)
            if self.is_done():
                return
            if not self.wanted_anew:
                message = "`aws sso login` ended well without a new token. Look for an alias `sso` "
                message += "in ~/.aws/cli/alias and at this machine's clock, then call again."
                raise cli_failure(run) if run.code != 0 else Failure("no_token", message)

    def _goes_on(self, flight: Flight, text: str) -> bool:
        """Show the page once `text` names it; tell whether the login goes on. Raises Failure."""
        if self.is_done():  # by this login, which ends by itself, or by one in a terminal
            return abs(time.time() - changed_at(token_path(self.session))) < GRACE_S
        flight.is_wanted()
        if time.time() - self.began_at > LOGIN_LIMIT_S:
            raise failure_of("login_expired")
        url, code = parse_login_output(text)
        if url and url != self.page.get("url"):
            self._show(flight, {"url": url, "code": code, "host": host_name()})
        return not self.wanted_anew

    def _show(self, flight: Flight, page: Json) -> None:
        """Open the page, once a login, and tell calls and other processes of it. Raises Failure."""
        if not re.fullmatch(SAFE_URL, page["url"]):
            message = "The AWS CLI offered a sign-in page that is not https; it was not opened. "
            message += "Check sso_start_url and the network (a captive portal?), then call again."
            raise Failure("untrusted_url", message)
        is_first, self.page = not self.page, page
        self._has_lock()  # the folder may have been removed meanwhile
        self._publish(**page)
        flight.tell(self._news(page))
        if is_first and self.opens and is_aws_page(page["url"]):
            with contextlib.suppress(Failure):  # no thread to be had: the answer carries the URL
                in_thread(open_page, page["url"])

    def _news(self, page: Json, *, of_others: bool = False) -> News:
        """Return what a person can be told about the renewal now."""
        url, code, host = (page.get(key) for key in ("url", "code", "host"))
        if not url:
            who = "Another program" if of_others else "The AWS CLI"
            return News(f"{who} is renewing the token, or asking AWS for a sign-in page.")
        where = "any browser" if code else f"a browser on the machine {host}"
        check = f", check that it shows the code {code} (requested by {host})" if code else ""
        is_safe = is_aws_page(url)
        text = f"A sign-in page should have opened in the browser: approve it{check}."
        text += f" If there is none, open {url} in {where}."
        if not is_safe:
            text = f"Careful: {url} is no page of AWS's. Open it only if you know it{check}."
        elif not self.opens:
            text = f"Open {url} in {where}{check}, and approve."
        return News(text, url, code, not (self.opens and is_safe), is_safe and not of_others)

    def is_done(self) -> bool:
        """Tell whether there is another token than was seen at first, and one that is good."""
        token = read_token(self.session)
        return bool(token and token.expires_at > time.time() and is_other(token, self.seen))


def lock_path(session: SsoSession) -> str:
    return aws_folder("sso", "aws-sso-mcp", os.path.basename(token_path(session)))


def find_renewal(session: SsoSession) -> Flight | None:
    """Return the session's renewal that runs, or has ended lately and unheard."""
    with CHANGED:
        flight = _flights.get(lock_path(session))
    if flight and flight.outcome is not None:
        is_gone = isinstance(flight.outcome, str) and not flight.work.is_done()  # `aws sso logout`
        if is_gone or time.monotonic() - flight.ended_at > UNHEARD_S:
            flight.forget()
            return None
    return flight


def parse_login_output(text: str) -> tuple[str | None, str | None]:
    """Return the URL to open and the user code that `aws sso login` printed so far."""
    urls, codes = (re.findall(each, text[: text.rfind("\n") + 1]) for each in (PAGE, USER_CODE))
    return (urls or [None])[-1], (codes or [None])[0]


def is_aws_page(url: str) -> bool:
    match = re.fullmatch(SAFE_URL, url)
    return match is not None and re.fullmatch(AWS_HOSTS, match[1]) is not None


def browser_here() -> tuple[bool, bool]:
    """Guess whether the person's browser is here, and whether a page can be opened in any."""
    around = {name for name, value in {**client_environment(), **os.environ}.items() if value}
    is_remote = any(map(changed_at, CONTAINER_MARKS)) or not around.isdisjoint(REMOTE)
    is_remote = is_remote or (sys.platform == "linux" and around.isdisjoint(SCREENS))
    wish = {"browser": True, "device": False}.get(setting("AWS_SSO_MCP_LOGIN") or "", not is_remote)
    return wish, wish or "BROWSER" in around


def open_page(url: str) -> None:
    """Open `url` with `webbrowser`; nothing tells whether a page appeared, so nobody asks."""
    with contextlib.suppress(Failure):
        process = Process([sys.executable, "-IS", "-c", PAGE_OPENER, url], streams=())
        process.wait(PAGE_LIMIT_S)
        process.end()


# --- Tools ------------------------------------------------------------------------------

Tool = namedtuple("Tool", "definition function")
TOOLS: dict[str, Tool] = {}


def tool(title: str, description: str, properties: Json, annotations: Json) -> Callable[[Any], Any]:
    """Declare a tool: its name and parameters are those of the function below."""

    def declare(function: Callable[..., Json]) -> Callable[..., Json]:
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        definition: Json = {"name": function.__name__, "title": title, "description": description}
        definition.update({"inputSchema": schema, "annotations": annotations})
        TOOLS[function.__name__] = Tool(definition, function)
        return function

    return declare


@tool(
    "Refresh AWS SSO token",
    "Renews an expired or missing AWS SSO (IAM Identity Center) token so that AWS commands work "
    "again. Call it when a command, SDK or MCP server that failed says that an SSO token, session "
    "or login is expired, invalid, missing or cannot be refreshed, or tells you to run `aws sso "
    "login`; never for AccessDenied, static keys or a network error. Costs no click "
    "when the token is still good or renews silently; else it opens one sign-in page for the "
    "person. If `status` is `pending`, show the person `loginUrl` (and `userCode`), then call "
    "again with the same arguments: that joins the same login. Then retry what failed.",
    {
        "profile": {
            "type": "string",
            "description": "AWS profile of the command that failed, else the one that its message "
            "names, or SSO session. Without it: $AWS_PROFILE, else the SSO profile used last.",
        },
        "server": {
            "type": "string",
            "description": "Instead of `profile`: name of the MCP server whose call failed (or its "
            "full tool name). Takes the profile it is configured with.",
        },
        "force": {
            "type": "boolean",
            "description": "Log in again although the token is good: when AWS still refuses it.",
        },
    },
    {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
)
def refresh_aws_sso_token(
    call: Call, profile: str | None = None, server: str | None = None, force: bool = False
) -> Json:
    """Make the SSO token of a profile usable, with the fewest clicks. Raises Cancelled only."""
    known: Json = {}
    told, config, target = "", None, None
    try:
        config = read_aws_config()
        choice = choose_profile(config, profile, server)
        name = harmless(choice.profile, config.profiles)
        known.update({"profile": name, "profileSource": choice.source})
        known.update({"candidates": choice.others} if choice.others else {})
        told = f" Profile: {name!r}, {choice.why}."
        target = with_witness(config, sso_profile(config, choice.profile))
        check_token_file(target.session)
        if target.login_profile != target.name:
            known["loginProfile"] = target.login_profile
        known.update({"ssoSession": target.session.name, "startUrl": target.session.start_url})
        if certificates_problem():
            raise Failure("certificate", certificates_problem())
        outcome = renew(call, target, force)
    except Failure as failure:
        outcome = failed(explained(failure, target), config, known.get("candidates", []))
    outcome["message"] += " ".join([told, *setting_problems()])
    return {**known, **outcome}


def failed(failure: Failure, config: AwsConfig | None = None, others: Sequence[str] = ()) -> Json:
    """Return the answer that tells a failure, and which profiles to take instead of an unusable."""
    answer: Json = {"success": False, "status": "failed", "message": str(failure)}
    answer["reason"] = failure.reason
    if config is None or failure.unusable is None:
        return answer
    working = [each.name for same in profiles_by_session(config).values() for each in same]
    offered = nearest_names(failure.unusable, working, LIKE) or list(others)
    step = " get_aws_sso_status lists the SSO profiles."
    if offered:
        answer["candidates"] = offered
        step = f" If another profile was meant, call again with one of: {listed(offered)}."
    elif not working:
        none = " There is no SSO profile yet: make one in a terminal with `aws configure sso`."
        step = "".join([*config.misspelled.values()][:MAX_SHOWN]) or none
    answer["message"] += "" if step in answer["message"] else step
    return answer


def certificates_problem() -> str:
    """Return why AWS_CA_BUNDLE lets no AWS CLI reach AWS, "" if it may."""
    path = full_path(setting("AWS_CA_BUNDLE") or "")
    with contextlib.suppress(OSError):
        if not path or b"CERTIFICATE-----" in (read_file(path, MAX_FILE_BYTES) or b""):
            return ""
    what = f"AWS_CA_BUNDLE is {path}, which is no readable file of certificates (PEM). Fix the "
    return what + "file, or the variable in this server's environment, then call again."


def explained(failure: Failure, profile: SsoProfile | None) -> Failure:
    """Return the Failure that names a damaged file where the AWS CLI says none, else the same."""
    is_unclear = failure.reason in ("aws_cli_failed", "aws_error")
    path = damaged_file(profile) if profile and is_unclear else None
    message = (
        f"The AWS CLI fails at a damaged file: {path}. Let the person delete it, then call again."
    )
    return Failure("damaged_cache", message) if path else failure


DONE = {
    "valid": "The SSO token is good, and AWS accepts it: no login was needed.",
    "unproved": "The SSO token is good by its expiry; AWS could not be asked through a role. If it "
    "refuses the token, call again with force: true.",
    "refreshed": "The SSO token was renewed without a login.",
    "logged_in": "Logged in: there is a new SSO token.",
}
RETRY = " Retry what failed; reconnect an MCP server only if that fails: it may keep old keys."
_advised: set[SsoSession] = set()  # whose person has heard of sso-session sections


def renew(call: Call, target: SsoProfile, force: bool) -> Json:
    """Go the way to a good token that takes the fewest clicks. Raises Failure, Cancelled."""
    deadline = time.monotonic() + wait_seconds()
    seen, flight = read_token(target.session), find_renewal(target.session)
    call.known = flight.news if flight else None
    # A renewal that has just brought this token is joined, to hear of it; one that failed, or that
    # somebody forced while this token was good, is not.
    joins = flight and not isinstance(flight.outcome, Failure) and is_other(seen, flight.work.seen)
    if token_state(seen) == "valid" and not (force or joins):
        try:
            return usable("valid", target, caller_identity(call, target, deadline))
        except Failure as failure:
            if failure.reason != "session_expired":
                raise
    if flight is None or not joins:  # one that is joined may be forgotten by now
        renewal = Renewal(target, seen, silently=not force and token_state(seen) == "refreshable")
        flight = Flight(renewal.lock.path, renewal, lasts=True).join(call)
    if force:
        flight.work.begin_anew()
    outcome = flight.wait(call, deadline)
    if outcome is None:
        return pending(flight, force=force)
    identity, notes = identity_or_doubt(call, target, deadline)
    notes += warm_session(flight.work) + flight.work.problem
    return usable(outcome, target, identity, notes)


def usable(status: str, target: SsoProfile, identity: Json | None, notes: str = "") -> Json:
    """Return the answer for a token that can be used."""
    done = DONE["unproved" if status == "valid" and identity is None else status]
    message = f"{done}{notes}{RETRY}{shadowing_keys()}"
    answer = {"success": True, "status": status, "message": message}
    answer.update(expiry(read_token(target.session)))
    return {**answer, "identity": identity} if identity else answer


def warm_session(renewal: Renewal) -> str:
    """Return what to say of a login that brought no more time, or of one that will come often."""
    session, seen = renewal.session, renewal.seen
    token: Any = read_token(session)
    is_later = token and seen and token.written_at > seen.written_at + 2 * SAME_END_S
    if seen and is_later and token.expires_at < seen.expires_at + SAME_END_S:
        note = " It ends when the old one did, as AWS's portal session still lives: if AWS goes on"
        note += " refusing, let the person sign out in the portal (startUrl), then force again."
        return note
    if session.name or session in _advised:
        return ""
    _advised.add(session)
    return " (A profile with an [sso-session] section would usually renew without a login.)"


def shadowing_keys() -> str:
    """Return a warning when keys of the environment come before any profile."""
    what = " AWS_ACCESS_KEY_ID is set in this server's environment: programs that share it use that"
    what += " key and not AWS_PROFILE. Unset it, or give them --profile."
    return what if os.environ.get("AWS_ACCESS_KEY_ID") else ""


def with_witness(config: AwsConfig, target: SsoProfile) -> SsoProfile:
    """Return `target` with a profile of its session through which AWS can be asked, if any."""
    same = [target] if target.role_name else profiles_by_session(config).get(target.session, [])
    return target._replace(witness=next((each for each in same if each.role_name), None))


def caller_identity(call: Call, target: SsoProfile, deadline: float) -> Json | None:
    """Return {account, arn}; {} when another profile proved the token, None when none could."""
    witness = target.witness
    if witness is None:
        return None
    login = f"--profile={witness.login_profile}"
    run = ask_aws(call, deadline, "sts", "get-caller-identity", "--output=json", login)
    if "[Errno 17]" in run.output["stderr"]:  # two of them made ~/.aws/cli/cache: before 2.31
        run = ask_aws(call, deadline, "sts", "get-caller-identity", "--output=json", login)
    try:
        found = json.loads(run.output["stdout"]) if run.code == 0 else {}
        identity = {"account": str(found["Account"]), "arn": str(found["Arn"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        failure = cli_failure(run)
        if target.role_name or failure.reason == "session_expired":
            raise failure from None
        return {} if failure.reason == "role_not_assigned" else None
    return identity if target.role_name else {}


def identity_or_doubt(call: Call, target: SsoProfile, deadline: float) -> tuple[Json | None, str]:
    """Return who a new token makes one, or why that is unknown. Raises Failure if it is no use."""
    try:
        return caller_identity(call, target, deadline), ""
    except Failure as failure:
        if failure.reason == "session_expired":
            message = "AWS refuses even the new token. Check sso_region and sso_start_url; let the "
            message += "person sign out in the portal (startUrl), then call once with force: true."
            raise Failure(failure.reason, message) from None
        if explained(failure, target).reason in ("role_not_assigned", "damaged_cache"):
            raise
        return None, f" Who it makes you could not be asked: {failure}"


def pending(flight: Flight, *, force: bool) -> Json:
    """Return the answer for a login that still waits for the person."""
    news = flight.news
    again = "without `force`" if force else "with the same arguments"
    message = f"Waiting for the person. {news.text} Then call refresh_aws_sso_token again {again}:"
    message += " it joins this login and opens no second page."
    if news.url:
        message += " If the page shows an error, call with force: true: that begins anew."
    answer = {"success": False, "status": "pending", "message": message + flight.work.problem}
    answer.update({"loginUrl": news.url} if news.url else {})
    return {**answer, "userCode": news.code} if news.code else answer


@tool(
    "AWS SSO status",
    "Tells, without logging in or changing anything, which AWS SSO sessions and profiles are "
    "configured, whether their tokens are valid and for how long, and which profile "
    "refresh_aws_sso_token would take.",
    {"profile": {"type": "string", "description": "Only the session of this profile."}},
    {"readOnlyHint": True, "openWorldHint": False},
)
def get_aws_sso_status(call: Call, profile: str | None = None) -> Json:  # noqa: ARG001
    """Return the state of every SSO session, or of that of `profile`, from files only."""
    config, taken = None, None
    try:
        config = read_aws_config()
        choice = choose_profile(config, profile)
        taken = sso_profile(config, choice.profile)
    except Failure as failure:
        if config is None or profile:
            return failed(failure, config)
    rows = session_rows(config, taken, only=bool(profile))
    good = sum("expiresAt" in row for row in rows)
    message = f"{good} of {len(rows)} SSO sessions have a token that works. "
    name = harmless(choice.profile, config.profiles)
    message += f"A refresh would take profile {name!r}, {choice.why}"
    message += "." if taken else ", and fail: see `problems`. Name another as `profile`."
    problems = config_problems(config, choice)
    answer: Json = {
        "success": True,
        "message": message,
        "sessions": rows[:MAX_SHOWN],
        "next": {"profile": name, "profileSource": choice.source},
        "awsCli": aws_cli_status(),
        "problems": problems[:MAX_SHOWN],
    }
    shorten(answer)
    if len(answer["sessions"]) < len(rows) or len(answer["problems"]) < len(problems):
        answer["message"] += " Not all is shown; ask for one by `profile`."
    return answer


def session_rows(config: AwsConfig, taken: SsoProfile | None, *, only: bool) -> list[Json]:
    """Return what is said of each session; that of profile `taken` comes first, or alone."""
    sessions = profiles_by_session(config)
    head = []
    if taken:
        others = [each for each in sessions.pop(taken.session, []) if each != taken]
        head = [session_status(taken.session, [taken, *others])]
    rows = [] if only else [session_status(*each) for each in sessions.items()]
    return head + sorted(rows, key=lambda row: row.get("expiresAt", ""), reverse=True)


def shorten(answer: Json) -> None:
    """Let the longest lists of a status lose their ends until it has MAX_STATUS_BYTES."""
    profiles = [row["profiles"] for row in answer["sessions"]]
    lists = [answer["sessions"], answer["problems"], *profiles]
    while len(json.dumps(answer)) > MAX_STATUS_BYTES and any(lists):
        max(lists, key=len).pop()


def session_status(session: SsoSession, profiles: Sequence[SsoProfile]) -> Json:
    """Return what get_aws_sso_status says of one session."""
    token, flight = read_token(session), find_renewal(session)
    runs_here = flight is not None and flight.outcome is None
    keys = ("profile", "accountId", "roleName")
    shown = [(each.name, each.account_id, each.role_name) for each in profiles[:MAX_SHOWN]]
    return {
        "ssoSession": session.name,
        "startUrl": session.start_url,
        "state": token_state(token),
        **expiry(token),
        "profileCount": len(profiles),
        "profiles": [dict(zip(keys, row)) for row in shown],
        "loginInProgress": runs_here or FileLock(lock_path(session)).is_taken(),
    }


def config_problems(config: AwsConfig, choice: Choice) -> list[str]:
    """Return what is wrong with the environment, the config, and the profile to be refreshed."""
    wrong = [shadowing_keys(), certificates_problem(), *config.misspelled.values()]
    names = dict.fromkeys([choice.profile, *config.profiles])
    checks: list[Callable[[], object]] = [partial(sso_profile, config, name) for name in names]
    checks += [partial(check_token_file, session) for session in profiles_by_session(config)]
    for check in checks:
        try:
            check()
        except Failure as failure:
            is_other = failure.reason == "not_sso" and failure.unusable != choice.profile
            wrong.append("" if is_other else str(failure))
    return [each.strip() for each in dict.fromkeys(wrong + setting_problems()) if each]


def aws_cli_status() -> Json:
    try:
        return {"path": find_aws_cli(), "problem": None}
    except Failure as failure:
        return {"path": None, "problem": str(failure)}


def checked_arguments(definition: Json, arguments: Json) -> Json:
    """Return the arguments of a call, empty ones left out. Raises Failure `bad_argument`."""
    properties = definition["inputSchema"]["properties"]
    for name, value in arguments.items():
        if name not in properties:
            message = f"There is no argument {name[:50]!r}, only: {listed(properties)}."
            raise Failure("bad_argument", message)
        kind = properties[name]["type"]
        if not isinstance(value, {"string": str, "boolean": bool}[kind]):
            raise Failure("bad_argument", f"`{name}` must be a {kind}.")
        if isinstance(value, str) and not re.fullmatch(NAME, value):
            message = f"`{name}` must be at most {MAX_NAME_CHARACTERS} printable characters."
            raise Failure("bad_argument", message)
    return {name: value for name, value in arguments.items() if value != ""}


# --- MCP: JSON-RPC lines in and out -----------------------------------------------------

LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN_VERSION = "2026-07-28"
SUPPORTED_VERSIONS = (MODERN_VERSION, *LEGACY_VERSIONS)
META = "io.modelcontextprotocol/"
ENVELOPE = (META + "protocolVersion", META + "clientCapabilities")
STATIC = {"ttlMs": 3_600_000, "cacheScope": "public"}  # what server and tools are never changes
ABOUT: Json = {
    "capabilities": {"tools": {}},
    "instructions": "Renews expired AWS SSO (IAM Identity Center) logins. When a command, SDK or "
    "another MCP server fails and says that an SSO token, session or login is expired, invalid, "
    "missing or cannot be refreshed (such as 'Token has expired and refresh failed' or 'Error "
    "loading SSO Token'), or tells you to run 'aws sso login', call refresh_aws_sso_token with the "
    "`profile` that failed, or with the name of the MCP `server` that failed, then retry. Do not "
    "run `aws sso login` yourself: it waits where nobody sees its page. Do not call it for "
    "AccessDenied, static keys, or network and certificate errors: a login does not fix them.",
}
SERVER_INFO = {"name": "aws-sso-mcp", "title": "AWS SSO", "version": __version__}
METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32601, -32602, -32603
UNSUPPORTED_VERSION = -32022
MAX_COMPLAINTS = 20  # lines on stderr about bad input: a client may never read them


class Request:
    """One request of the client."""

    def __init__(self, request_id: str | int, method: str, params: Any) -> None:
        self.id, self.method = request_id, method
        self.params, self.meta = inner(params), inner(params, "_meta")
        self.modern = not self.meta.keys().isdisjoint(ENVELOPE)
        self.progress = 0
        self.call: Call  # of a tools/call
        self.elicitation: Json = {}  # params of the one that the client is sent


class Server:
    """Answers the lines of MCP clients of both eras; each message tells its own (`_handler`).

    Threads: `handle_line` is called by the one that reads stdin, and never waits for a tool; each
    `tools/call` runs in a daemon thread. `_wire` guards what is written and the requests that run,
    neither answered nor cancelled: only for those is anything sent.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._wire = threading.Lock()
        self._running: list[Request] = []
        self._initialized = False
        self._capabilities: Any = None  # of a legacy client
        self._complaints = 0
        both: Methods = {"tools/list": self._list_tools, "tools/call": self._call_tool}
        about = {"supportedVersions": SUPPORTED_VERSIONS, **ABOUT, **STATIC}
        self._modern: Methods = {"server/discover": lambda _: about, **both}
        self._legacy: Methods = {"initialize": self._initialize, "ping": lambda _: {}, **both}

    def handle_line(self, line: bytes) -> None:
        """Take one line from the client; whatever it holds, nothing is raised."""
        try:
            message = json.loads(line.decode("utf-8"))
            # Batches: 2025-03-26, basic. Each member is answered by itself.
            for each in message if isinstance(message, list) and self._initialized else [message]:
                self._handle(each)
        except Exception as error:  # noqa: BLE001 - no input may end the server
            self._complain(f"a message was ignored: {type(error).__name__}")

    def _handle(self, message: Any) -> None:
        """Answer a request, act on a notification or a response."""
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return self._take_response(message)
        method, params = message["method"], message.get("params")
        if "id" not in message:
            if method == "notifications/cancelled" and isinstance(params, dict):
                self._cancel(params.get("requestId"))
            return None
        if not is_id(message["id"]):
            return self._complain("a request whose id is no string and no integer was ignored")
        request = Request(message["id"], method, params)
        with self._wire:
            self._running.append(request)
        try:
            if not isinstance(params, (dict, type(None))):
                raise ProtocolError(INVALID_PARAMS, "params must be an object")
            result = self._handler(request)(request)
        except ProtocolError as error:
            return self._send(request, id=request.id, error=error.body)
        return None if result is None else self._reply(request, result)

    def _handler(self, request: Request) -> Callable[[Request], Json | None]:
        """Return what answers the request. Raises ProtocolError.

        Its era is modern (2026-07-28) when it carries the envelope in `_meta`, else legacy, which
        begins with `initialize`; `ping` is always answered.
        """
        method = request.method
        if request.modern:
            version, capabilities = (request.meta.get(key) for key in ENVELOPE)
            if not isinstance(version, str) or not isinstance(capabilities, dict):
                raise ProtocolError(INVALID_PARAMS, f"_meta needs {' and '.join(ENVELOPE)}")
            if version != MODERN_VERSION:
                data = {"supported": SUPPORTED_VERSIONS, "requested": version[:100]}
                raise ProtocolError(UNSUPPORTED_VERSION, "Unsupported protocol version", **data)
        elif method in self._modern and (method not in self._legacy or not self._initialized):
            message = f"Send initialize first, or _meta with {' and '.join(ENVELOPE)}"
            raise ProtocolError(INVALID_PARAMS, message)
        methods = self._modern if request.modern else self._legacy
        if method not in methods:
            raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {method[:100]}")
        return methods[method]

    def _initialize(self, request: Request) -> Json:
        offered = request.params.get("protocolVersion")
        if not isinstance(offered, str):
            raise ProtocolError(INVALID_PARAMS, "initialize needs a protocolVersion")
        self._initialized, self._capabilities = True, request.params.get("capabilities")
        version = offered if offered in LEGACY_VERSIONS else LEGACY_VERSIONS[0]
        return {"protocolVersion": version, "serverInfo": SERVER_INFO, **ABOUT}

    def _list_tools(self, request: Request) -> Json:
        tools = {"tools": [each.definition for each in TOOLS.values()]}
        return {**tools, **STATIC} if request.modern else tools

    def _call_tool(self, request: Request) -> None:
        """Start the tool in a thread of its own, which answers when it is done."""
        name, arguments = request.params.get("name"), request.params.get("arguments")
        if not isinstance(name, str) or name not in TOOLS:
            raise ProtocolError(INVALID_PARAMS, f"Unknown tool; there are: {listed(TOOLS)}")
        if not isinstance(arguments, (dict, type(None))):
            raise ProtocolError(INVALID_PARAMS, "arguments must be an object")
        call = request.call = Call(partial(self._report, request), partial(self._offer, request))
        if request.modern and "inputResponses" in request.params:  # its person has been asked
            action = inner(request.params, "inputResponses", "login").get("action")
            call.hurried = action != "accept"
        with self._wire:
            if len(self._running) > MAX_CALLS:
                raise ProtocolError(INTERNAL_ERROR, f"More than {MAX_CALLS} calls at once")
        try:
            in_thread(self._run_tool, request, TOOLS[name], arguments or {})
        except Failure as failure:
            raise ProtocolError(INTERNAL_ERROR, str(failure)) from None

    def _run_tool(self, request: Request, chosen: Tool, arguments: Json) -> None:
        try:
            arguments = checked_arguments(chosen.definition, arguments)
            answer = chosen.function(request.call, **arguments)
        except Cancelled:
            return None
        except Failure as failure:
            answer = failed(failure)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the client waiting
            answer = failed(bug(error))
            self._complain(answer["message"])
        waits = answer.get("status") == "pending"
        asked = request.elicitation
        if asked and request.modern and waits:
            ask = {"login": {"method": "elicitation/create", "params": asked}}
            return self._reply(request, {"resultType": "input_required", "inputRequests": ask})
        if asked and not request.modern and not waits:
            params = {"elicitationId": asked["elicitationId"]}
            self._send(request, method="notifications/elicitation/complete", params=params)
        content = [{"type": "text", "text": json.dumps(answer, ensure_ascii=False)}]
        result = {"content": content, "structuredContent": answer}
        return self._reply(request, {**result, "isError": not (answer["success"] or waits)})

    # Elicitation in URL mode: legacy (2025-11-25, client/elicitation) sends a request of its own,
    # modern (2026-07-28, basic/patterns/mrtr) answers that input is required. A client that says
    # anything but yes gets the plain answer at once; one that never replies, as if never asked.

    def _offer(self, request: Request, url: str, message: str) -> bool:
        """Have the client show a page if it can; tell whether the call goes on meanwhile."""
        declared = request.meta.get(ENVELOPE[1]) if request.modern else self._capabilities
        if "url" not in inner(declared, "elicitation"):
            return False
        request.elicitation = {"mode": "url", "url": url, "message": message}
        if request.modern:  # the answer asks
            return False
        request.elicitation["elicitationId"] = key = os.urandom(8).hex()
        self._send(request, id=key, method="elicitation/create", params=request.elicitation)
        return True

    def _take_response(self, message: Any) -> None:
        """Let the call that asked go on waiting, or answer at once."""
        key = message.get("id") if isinstance(message, dict) else None
        with self._wire:
            asked = [each for each in self._running if each.elicitation.get("elicitationId") == key]
        if key is None or not asked:
            self._complain("a message without a method was ignored")
        elif inner(message, "result").get("action") != "accept":
            asked[0].call.end(cancelled=False)

    def _cancel(self, request_id: Any) -> None:
        """Stop a call: nothing more is sent for it."""
        with self._wire:
            same = [each for each in self._running if repr(each.id) == repr(request_id)]
            for request in same:
                self._running.remove(request)
        for request in same:
            request.call.end(cancelled=True)

    def _report(self, request: Request, message: str) -> None:
        token = request.meta.get("progressToken")
        if is_id(token):
            request.progress += 1
            params = {"progressToken": token, "progress": request.progress, "message": message}
            self._send(request, method="notifications/progress", params=params)

    def _reply(self, request: Request, result: Json) -> None:
        if request.modern:
            meta = {META + "serverInfo": SERVER_INFO}
            result = {"resultType": "complete", **result, "_meta": meta}
        self._send(request, id=request.id, result=result)

    def _send(self, request: Request, **message: Any) -> None:
        """Write one message for a request that runs; its response, without a method, ends it."""
        line = wire_line({"jsonrpc": "2.0", **message})
        with self._wire:
            if request in self._running:
                self._write(line)
                if "method" not in message:
                    self._running.remove(request)

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints <= MAX_COMPLAINTS and sys.stderr:
            with contextlib.suppress(OSError, ValueError):  # closed
                sys.stderr.write(f"aws-sso-mcp: {text}\n")


def is_id(value: Any) -> bool:
    """Tell whether `value` can be a request id or a progress token; 0 and "" can."""
    if isinstance(value, str):  # a lone surrogate cannot go back to the client
        return re.search("[\ud800-\udfff]", value) is None
    return isinstance(value, int) and not isinstance(value, bool)


def wire_line(message: Json) -> bytes:
    """Return a message as a line of ASCII; lone surrogates, which end some clients, become `?`."""
    clean = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    return json.dumps(json.loads(clean)).encode("ascii") + b"\n"


def serve(read: Callable[[], bytes], server: Server) -> None:
    """Feed a server with lines, until `read` gives nothing; too long ones are never held."""
    line, chunk = bytearray(), b"first"
    while chunk:
        chunk = read()
        *ended, rest = (chunk or b"\n").split(b"\n")  # the last line may lack its end
        for end_of_line in ended:
            line += end_of_line
            if line.strip():
                server.handle_line(bytes(line) if len(line) <= MAX_LINE_BYTES else b"too long")
            line.clear()
        line += rest
        del line[MAX_LINE_BYTES + 1 :]


# --- Command line -----------------------------------------------------------------------

USAGE = """\
usage: aws_sso_mcp.py                               serve MCP on stdin and stdout
       aws_sso_mcp.py status [PROFILE]              show SSO sessions and how long they last
       aws_sso_mcp.py refresh [PROFILE] [--force]   do what the tool does
       aws_sso_mcp.py hook                          tell a host why a command failed (JSON, stdin)
       aws_sso_mcp.py --version | --help

An MCP server that mends expired AWS SSO (IAM Identity Center) tokens. To add it to a client:

  claude mcp add -s user aws-sso -- python3 -IS {path}
  codex mcp add aws-sso -- python3 -IS {path}
  others: {{"mcpServers": {{"aws-sso": {{"command": "python3", "args": ["-IS", "{path}"]}}}}}}

settings (environment variables):
  AWS_SSO_MCP_PROFILE        profile when a call names none; comes before AWS_PROFILE
  AWS_SSO_MCP_LOGIN          browser or device: whether the person has a browser on this machine
  AWS_SSO_MCP_WAIT_SECONDS   how long one call waits for the person (50)
  AWS_SSO_MCP_AWS_CLI        path of the AWS CLI v2

exit codes of status and refresh: 0 usable, 1 not, 2 wrong usage, 128 + n ended by signal n
"""
TAKES = {"valid": "nothing", "refreshable": "no click"}  # a refresh; else one page
COLOURS = {"TOKEN": 1, "valid": 32, "refreshable": 32, "expiring": 33}  # SGR; else 31, red
CONTROL = r"[\x00-\x09\x0b-\x1f\x7f-\x9f]"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve MCP, or do what the command line says; return the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if not command and not (sys.stdin and sys.stdin.isatty()):
        wire = Wire()
        handle_signals(wire)
        serve(wire.read, Server(wire.write))
        end(0)
    handle_signals()
    names = [each for each in rest if not each.startswith("-")]
    options = {*rest}.difference(names)
    if command == "status" and not options and not names[1:]:
        return print_status(*names)
    if command == "refresh" and options <= {"--force"} and not names[1:]:
        return print_refresh(*names, force=bool(options))
    if command == "hook" and not rest:
        return print_hook(sys.stdin.buffer.read(MAX_LINE_BYTES))
    if command == "--version" and not rest:
        return say(f"aws-sso-mcp {__version__}")
    is_asked = command in ("", "--help", "-h") and not rest
    say(USAGE.format(path=os.path.abspath(__file__)), sys.stdout if is_asked else sys.stderr)
    return 0 if is_asked else 2


def say(text: str, stream: TextIO | None = None) -> int:
    """Print text for a person; what comes from a config file may not steer the terminal."""
    print(re.sub(CONTROL, "?", text.rstrip("\n")), file=stream)
    return 0


def print_refresh(profile: str | None = None, *, force: bool) -> int:
    """Do what the tool does, its progress on stderr, until the person is done."""
    report = lru_cache(maxsize=1)(partial(say, stream=sys.stderr))  # what is not the same again
    os.environ["AWS_SSO_MCP_WAIT_SECONDS"] = "600"  # here no client gives up
    answer: Json = {"status": "pending"}
    while answer["status"] == "pending":
        answer = refresh_aws_sso_token(Call(report), profile, force=force)
    say(answer["message"])
    return 0 if answer["success"] else 1


def print_status(profile: str | None = None) -> int:
    """Print a table of the sessions, then what is wrong; return 0 if a token works."""
    answer = get_aws_sso_status(Call(say), profile)
    sessions = answer.get("sessions", [])
    rows = [("SESSION", "TOKEN", "TIME LEFT", "A REFRESH TAKES", "PROFILES"), *map(cells, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for row in rows if sessions else ():
        padded = [cell.ljust(width) for cell, width in zip(row, widths)]
        if colours:
            padded[1] = f"\x1b[{COLOURS.get(row[1], 31)}m{padded[1]}\x1b[0m"
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    wrong = (inner(answer, "awsCli").get("problem"), *answer.get("problems", []))
    say("\n" * bool(sessions) + "\n- ".join([answer["message"], *filter(None, wrong)]))
    return 0 if any("expiresAt" in row for row in sessions) else 1


def cells(row: Json) -> tuple[str, ...]:
    """Return a session's row of the table."""
    left = row.get("minutesLeft", 0)
    parts = [f"{left // 1440} d", f"{left // 60 % 24} h", f"{left % 60} min"]
    first = 0 if left // 1440 else 1 if left // 60 else 2  # of the two that are shown
    time_left = " ".join(parts[first:][:2]) if "expiresAt" in row else "-"
    profiles = [each["profile"] for each in row["profiles"]]
    more = row["profileCount"] - len(profiles)
    names = ", ".join(profiles) + (f" and {more} more" if more else "")
    takes = TAKES.get(row["state"], "one page")
    takes = "a login is running" if row["loginInProgress"] else takes
    texts = (row["ssoSession"] or row["startUrl"], row["state"], time_left, takes, names)
    return tuple(re.sub(CONTROL, "?", text) for text in texts)


def print_hook(event: bytes) -> int:
    """Tell a host, as its hook for tools that failed, what fixes this; return 0 in any case.

    `event` is JSON: `hook_event_name`, `tool_name`, `tool_input`, `error` or `tool_response`.
    """
    try:
        told = inner(json.loads(event))
        name, command = str(told.get("tool_name")), str(inner(told, "tool_input").get("command"))
        output = "\n".join(texts([told.get("error"), told.get("tool_response")]))
    except (ValueError, RecursionError):
        return 0
    meaning = None if name.endswith(tuple(TOOLS)) else advice(name, command, output)
    if meaning is None:
        return 0
    context = {"hookEventName": told.get("hook_event_name"), "additionalContext": meaning}
    return say(json.dumps({"hookSpecificOutput": context}))


# A part of a command that shows what is in files; the others with it say nothing either.
SHOWS = r"""(?x) \s* (?: (cat|head|tail|less|sed|[gr]?awk|z?[ef]?grep|rg|ag|bat|diff
    | git[ ]+(?:diff|log|show|grep|blame)) | cd|echo|true|false|exit | $ ) (?: \s | $ )"""


def advice(tool_name: str, command: str, output: str) -> str | None:
    """Return what a model should hear of a failure: what an SSO login fixes, or a damaged cache."""
    output = output[-MAX_CHARACTERS:]
    statement = expiry_in(output)
    damaged = re.search(r"(?m)^(?:aws: \[ERROR\]: )?'([0-9a-f]{40})'\r?$", output)
    if damaged and not statement:
        return (
            f"A file of the AWS CLI's cache is damaged: ask the person to delete {damaged[1]}.json "
            "in ~/.aws/sso/cache or ~/.aws/cli/cache, then call refresh_aws_sso_token."
        )
    parts = [re.match(SHOWS, part) for part in re.split(r"[;&|\n]+", command)]
    if not statement or (all(parts) and any(part and part[1] for part in parts)):
        return None
    hints = (
        ("aws2? sso login[^\n]{0,40}?--profile[= ][\"']?(?!your|profile)([\\w.@+/-]+)", output),
        ("\\b(?:for|of) profile:? [\"'`]?(?!your)([\\w.@+/-]*\\w)", statement),
    )
    named = profile_of_command(command)
    names = [named] if named and named != "$" else []
    names += [name for hint in hints for name in re.findall(*hint, re.IGNORECASE)[:1]]
    server = {"server": tool_name} if tool_name.startswith("mcp__") else {}
    wish = {"profile": names[0]} if names else server
    return (
        "This failed because the AWS SSO token has expired, or there is none. The MCP tool "
        f"refresh_aws_sso_token with {json.dumps(wish)} renews it, with at most one click of the "
        "person; after that the same works again."
    )


def texts(content: Any) -> Iterator[str]:
    """Yield all text in parsed JSON."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, dict)):
        for each in content.values() if isinstance(content, dict) else content:
            yield from texts(each)


if __name__ == "__main__":
    sys.exit(main())
