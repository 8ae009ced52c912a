#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""AWS SSO MCP: when an assistant meets an expired AWS SSO token, one tool call renews it.

A Model Context Protocol server over stdio. Needs Python 3.9+ and the AWS CLI v2, nothing else.

    claude mcp add -s user aws-sso -- python3 -IS /path/to/aws_sso_mcp.py
    python3 -IS /path/to/aws_sso_mcp.py --help

What it can do to a machine is in one section, "The outside world". Everything below that section
is text in, text out: a test fails when it opens a file or starts a process.

reads    ~/.aws/config, ~/.aws/credentials, and in ~/.aws/sso/cache the token files of the
         configured sessions (their expiry: no token is ever kept, shown or sent); to find the
         profile of an MCP server that is named, the config files of MCP clients; on Linux which
         display and which SSH session its client has (/proc/PPID/environ)
runs     aws sso login, aws sts get-caller-identity, aws configure export-credentials and
         list-profiles (their output thrown away); this Python, to open a page with `webbrowser`
writes   ~/.aws/sso/aws-sso-mcp/: per session a lock, so that all programs share one login, and
         the AWS config for a silent renewal; AWS's own CLI writes its token file
network  none: AWS's own CLI does every exchange of tokens

Each section uses only those above it: Errors and settings, The outside world, AWS configuration,
Token cache, MCP clients, Choosing a profile, Failures, Renewal, Tools (a new one goes here), MCP,
Command line.
"""

from __future__ import annotations

# Only what answering `initialize` and `tools/list` needs; the rest is imported where it is used.
import contextlib
import errno
import io
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
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
    from typing import Any, NoReturn, TextIO

    Json = dict[str, Any]

__version__ = "0.1.0"

MAX_FILE_BYTES = 16 << 20  # of an AWS config file: 5,000 profiles take 1 MB
MAX_CLIENT_FILE_BYTES = 1 << 20  # of a client's config file, or of its environment
MAX_OUTPUT_BYTES = 64 << 10  # kept of what a command prints (a login: 1 kB), read of a token file
MAX_LINE_BYTES = 4 << 20  # of a message on stdin
MAX_CALLS = 256  # running at once
MAX_SHOWN = 10  # profiles, sessions, problems, candidates in one answer

COMMAND_LIMIT_S = 30  # for a command that needs no person
LOGIN_LIMIT_S = 11 * 60  # AWS itself ends a login after 10 minutes
ABANDONED_S = 30  # until work ends that nobody waits for after a cancelled call
LOOK_EVERY_S = 0.25  # after a process that runs, a lock that another holds, a token that may come
GRACE_S = 0.5  # for a login to end by itself once there is a token, for output after an end
LAST_WORD_MS = 50  # for a client that has closed our stdin to read what stdout still holds

# No child gets a variable that begins so: each loads foreign code, or writes down keys.
INJECTING = (
    "LD_", "DYLD_", "PYTHON", "PERL", "RUBY", "NODE_", "BASH", "SHELLOPTS=", "ENV=", "PS4=",
    "ZDOTDIR=", "GCONV_PATH=", "OPENSSL_", "JAVA_TOOL_OPTIONS=", "_JAVA_OPTIONS=", "GIO_",
    "GTK_MODULES=", "GTK3_MODULES=", "GTK_PATH=", "GTK_EXE_PREFIX=", "GTK_IM_MODULE_FILE=",
    "GDK_PIXBUF_MODULE", "QT_PLUGIN_PATH=", "QT_QPA_PLATFORM_PLUGIN_PATH=", "QML", "SSLKEYLOG",
)  # fmt: skip
# Of AWS_* only what says where things are: all else would shadow or redirect what is asked.
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
WINDOWS_FLAGS = 0x8000204 if os.name == "nt" else 0  # no console window, a group, suspended
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv") if os.name == "posix" else ()


# --- Errors and settings ----------------------------------------------------------------


class Failure(Exception):
    """What a person or a model must know: `reason` is a stable word, the text tells what to do."""

    def __init__(self, reason: str, message: str, unusable: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.unusable = unusable  # a profile in whose place the answer shall offer others


class ProtocolError(Exception):
    """A request that gets a JSON-RPC error instead of a result."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        self.body = {"code": code, "message": message, **({"data": data} if data else {})}


def bug(error: Exception) -> Failure:
    """Return the Failure that names the kind and place of a bug; its text could hold a secret."""
    trace: Any = error.__traceback__
    while trace.tb_next and trace.tb_next.tb_frame.f_code.co_filename == bug.__code__.co_filename:
        trace = trace.tb_next
    what = f"line {trace.tb_lineno}: {type(error).__name__}"
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
    return [
        f"{name}={harmless(os.environ[name])!r} is ignored: it takes {takes}."
        for name, (_, takes) in SETTINGS.items()
        if not setting(name) and not (os.environ.get(name) or "${").startswith("${")
    ]


def home() -> str:
    """Return the person's home folder. Raises Failure `no_home`."""
    path = os.path.expanduser("~")
    if not os.path.isabs(path):
        raise Failure("no_home", "No home folder. Set HOME (Windows: USERPROFILE), then reconnect.")
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
        raise Failure("no_thread", "No more threads can be started. Try again later.") from None
    return thread


HOST = os.uname().nodename if os.name == "posix" else os.environ.get("COMPUTERNAME", "localhost")
# Patterns are compiled where they are first used: a start takes none.
NAME = r"[^\0-\x1f\x7f\ud800-\udfff]{0,512}"  # of a profile or a server
WORKED_OUT = rf"(?!\s*\Z)(?!.*[$`%]){NAME}"  # one that no shell or client has yet to work out


def inner(content: Any, *keys: str) -> Json:
    """Return the object below these keys of parsed JSON, {} where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def harmless(name: str, known: Container[str] = ()) -> str:
    """Return a name as an answer shows it: in full if it is known, else what can say nothing."""
    # One from a project's file may hold words for the model that reads the answer.
    return name if name in known else re.sub(r"[^A-Za-z0-9._/~@+:-]+", "?", name)[:64]


def listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def nearest_names(name: str, names: Collection[str], like: float = 0) -> list[str]:
    """Return names to choose from: first those that, a word or the start of them look like it."""
    from difflib import get_close_matches

    words = [(word, each) for each in names for word in (each, *re.split(r"[\W_]+", each))]
    words += [(each[: len(name)], each) for each in names]
    near = get_close_matches(name.casefold()[:64], [w.casefold()[:64] for w, _ in words], 50, like)
    found = [each for word in near for w, each in words if w.casefold()[:64] == word]
    return list(dict.fromkeys(found))[:5]


# --- The outside world: files, other processes, locks, signals, stdin and stdout ---------

_starting = threading.Lock()  # guards _processes; held while one starts, so that none escapes
_processes: list[Process] = []


def read_file(path: str, limit: int = MAX_OUTPUT_BYTES) -> bytes | None:
    """Return what a file of at most `limit` bytes holds, None without one. Raises Failure."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise OSError(errno.EINVAL, f"it is no regular file of at most {limit >> 10} KiB")
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_WAIT)) as file:
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return None
    except OSError as e:
        raise Failure("config_unreadable", f"{path} cannot be read: {e.strerror}. Fix it.") from e


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
    """Lock an open file; False when another process has the lock. Raises OSError."""
    for pause_s in (0.02, 0):  # twice, as somebody may only be looking (`is_taken`)
        with contextlib.suppress(BlockingIOError, PermissionError):  # the latter on Windows
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            else:
                import msvcrt

                os.lseek(fd, MAX_FILE_BYTES, os.SEEK_SET)  # to a byte that nobody reads
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            return True
        time.sleep(pause_s)
    return False


def client_environment() -> dict[str, str]:
    """Return what the client's environment tells of a screen, or of a person who is elsewhere."""
    # Many pass on little of it (all SDKs, Codex). It is our parent's, or a launcher's parent's.
    found: dict[str, str] = {}
    names = [*REMOTE, "DISPLAY", "WAYLAND_DISPLAY"]
    with contextlib.suppress(Failure, OSError, ValueError, LookupError, AttributeError):  # no Linux
        me, pid, name = f"{os.getuid()}", f"{os.getppid()}", LAUNCHERS[0]
        if me != "0":  # root hears of nothing to run: $BROWSER, a D-Bus address with `unixexec:`
            names += ["BROWSER", *DESKTOP]
        is_ours = os.readlink("/proc/self") == f"{os.getpid()}" and not is_elevated()
        for _ in range(5 if is_ours else 0):  # past four launchers, such as `sh -c`, `npx`, `uvx`
            status = os.fsdecode(read_file(f"/proc/{pid}/status") or b"").splitlines()
            fields = dict(line.split(":", 1) for line in status)
            if name not in LAUNCHERS or {*fields["Uid"].split()} != {me}:
                break
            environ = os.fsdecode(read_file(f"/proc/{pid}/environ", MAX_CLIENT_FILE_BYTES) or b"")
            found = {**dict(each.partition("=")[::2] for each in environ.split("\0")), **found}
            pid, name = fields["PPid"].strip(), fields["Name"].split()[0]
    return {name: found[name] for name in names if found.get(name)}


def programs(names: Sequence[str], places: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield where a program is, and why it is not run: in the folders of PATH, then in places."""
    on_path = [os.path.join(folder, name) for folder in path_folders() for name in names]
    for path in on_path + [filled_in(place) for place in places]:
        if os.path.lexists(path) and not os.path.isdir(path):
            yield path, path_problem(path)


def path_problem(path: str, *, named: bool = False) -> str | None:
    """Return why a program, or what is in a folder, is not run: all that leads there counts."""
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
            is_foreign = place.lower().endswith("node_modules") or status[1:3] in projects
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
    """Return the users and groups that may change what we run; root may be shown as 65534."""
    owners, groups = {0}, {0}
    with contextlib.suppress(ImportError, OSError, KeyError):  # Windows; a user without a name
        import grp
        import pwd

        places = ("/", "/usr", home())[: 3 if os.geteuid() == 0 and not is_elevated() else 2]
        owners |= {os.geteuid(), *(os.stat(each).st_uid for each in places if os.path.isdir(each))}
        me = pwd.getpwuid(os.geteuid())
        own = grp.getgrgid(me.pw_gid)
        if {own.gr_name, *own.gr_mem} == {me.pw_name}:  # a group of one
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
            here = os.path.join(place, drive + os.sep) if way.startswith(os.sep) else place
        place = here


def child_environment() -> dict[str, str]:
    """Return the environment for `aws` and the browser: ours, less what could mislead them."""
    environment = {
        name: full_path(value) if name in AWS_PATHS else value  # the child runs in another folder
        for name, value in {**client_environment(), **os.environ}.items()
        if (value and name in AWS_PLACES) or not f"{name}=".startswith((*INJECTING, "AWS_"))
    }
    safe = (each for each in path_folders() if os.path.isdir(each) and not path_problem(each))
    environment["PATH"] = os.pathsep.join(safe) or "/usr/bin:/bin"  # empty: the current folder
    return {**environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}


class Process:
    """A program that runs: no stdin, a group, folder and environment of its own."""

    # `output` grows as it prints on `streams`, whose ends what it starts may keep open for longer.
    def __init__(self, argv: list[str], streams: Any = OUTPUT, fds: Any = (), **more: str) -> None:
        """Start it: the only Popen. `more`: variables of its environment. Raises Failure."""
        import subprocess

        self.argv, self.output = argv, dict.fromkeys(OUTPUT, "")
        self.code: int | None = None  # None: it runs, or was killed
        self._streams, self._news = streams, threading.Event()
        where: Any = dict.fromkeys(("stdin", *OUTPUT), subprocess.DEVNULL)
        where.update(dict.fromkeys(streams, subprocess.PIPE), pass_fds=fds, cwd=home())
        where.update(env={**child_environment(), **more}, creationflags=WINDOWS_FLAGS)
        try:
            with _starting:  # a list of arguments, and no shell
                self._popen = subprocess.Popen(argv, start_new_session=True, **where)  # noqa: S603
                self._jobs = [job_of(self._popen, streams)] if os.name == "nt" else []
                _processes[:] = [each for each in _processes if each.is_running()] + [self]
            self._readers = [in_thread(self._read, each) for each in OUTPUT]
        except Failure:  # no thread
            self.kill()
            raise
        except (OSError, ValueError) as e:
            raise Failure("aws_cli_failed", f"{argv[0]} cannot be started: {e}. Fix it.") from e

    def _read(self, stream: str) -> None:
        """Keep the beginning of what it prints, let the rest go by, see it end."""
        content, pipe = b"", getattr(self._popen, stream)
        with pipe or contextlib.nullcontext():
            for chunk in iter(lambda: os.read(pipe.fileno(), 65536) if pipe else b"", b""):
                content = (content + chunk)[:MAX_OUTPUT_BYTES]
                self.output[stream] = content.decode("utf-8", "replace").replace("\r", "")
                self._news.set()
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
        with contextlib.suppress(OSError, LookupError):
            if self._streams and self.is_running() and os.name == "posix":
                os.killpg(self._popen.pid, signal.SIGKILL)  # the AWS CLI handles not even SIGTERM
            self._jobs.pop()()  # once, whichever thread is first; none but on Windows
        with contextlib.suppress(OSError):
            self._popen.kill()


def job_of(popen: Any, streams: Any) -> Callable[[], None]:
    """Let a process run on Windows; return what kills it and all it starts, as our end does."""
    import ctypes

    kernel, ntdll = map(ctypes.WinDLL, ("kernel32", "ntdll"))  # type: ignore[attr-defined]
    job, limits = kernel.CreateJobObjectW(None, None), (ctypes.c_uint32 * 36)()
    limits[4] = 0x2000 if streams else 0  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    kernel.SetInformationJobObject(job, 9, limits, 80 + 8 * ctypes.sizeof(ctypes.c_void_p))
    kernel.AssignProcessToJobObject(job, int(popen._handle))  # noqa: SLF001
    ntdll.NtResumeProcess(int(popen._handle))  # noqa: SLF001 - only now may it start others
    return partial(kernel.CloseHandle, job)


class Wire:
    """The client's pipes, moved away from fds 0 and 1 so that nothing else can touch them."""

    def __init__(self) -> None:
        try:
            os.fstat(1)
            self.stdin, self.stdout = os.dup(0), os.dup(1)
        except OSError:
            end(2)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null if sys.stderr is None else 2, 1)

    def read(self) -> bytes:
        with contextlib.suppress(OSError):  # as of a terminal that is gone
            return os.read(self.stdin, 65536)
        return b""

    def write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self.stdout, line) :]
        except OSError:  # the client is gone
            end(0)


def handle_signals(wire: Wire | None = None) -> None:
    """Let each signal that asks for the end bring it, and a client that is gone."""
    # Python's handlers run once the main thread wakes; so a thread hears of signals too, from C.
    signals, written = os.pipe()
    if os.name == "posix":
        os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"} & {*dir(signal)}:
        signal.signal(getattr(signal, name), lambda *_: None)  # `watch` acts
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
    for header, values in parse_ini(path, text).items():
        add_section(config, header, values)
    credentials = parse_ini(*config_text("AWS_SHARED_CREDENTIALS_FILE", "credentials"))
    for name, values in credentials.items():
        config.profiles[name] = {**config.profiles.get(name, {}), **values}
    return config


def config_text(variable: str, name: str) -> tuple[str, str]:
    """Return path and text (in the locale's encoding) of the file at `variable`, or in `~/.aws`."""
    value = os.environ.get(variable)
    path = aws_folder(name) if value is None else full_path(value)
    content = None if (value or "").lower() == os.devnull else read_file(path, MAX_FILE_BYTES)
    if content and content.startswith(b"\xef\xbb\xbf"):
        raise unparsable(path, "it begins with a byte order mark. Save it as UTF-8 without one", 1)
    try:
        return path, io.TextIOWrapper(io.BytesIO(content or b"")).read()
    except UnicodeDecodeError:
        raise unparsable(path, "it is not text in this machine's encoding") from None


def add_section(config: AwsConfig, header: str, values: Json) -> None:
    """Add `default`, `profile "a b"` or `sso-session a`; of a near miss, what to write instead."""
    import shlex

    words = "profile default" if header == "default" else header
    is_plain = re.fullmatch(r"[!#-&(-\[\]-~ ]+", words)  # where shlex only splits, slowly
    kind = re.findall(r"\A(?:profile|sso-session)?", words)[0]
    with contextlib.suppress(ValueError):  # no two words
        _, name = words.split() if is_plain else shlex.split(words)
        if kind:
            (config.profiles if kind == "profile" else config.sso_sessions)[name] = values
            return
    if re.fullmatch(NAME, header) and not values.keys().isdisjoint(TELLING_KEYS):
        kind, name = re.findall(r"(?is)^\s*(?:(profile|sso[-_]session)\s+)?(.+)", header)[0]
        is_session = "sso_start_url" in values and "sso_account_id" not in values
        kind = "sso-session" if (kind[0] in "sS" if kind else is_session) else "profile"
        header, name = header[:99], name[:99].strip(" \t\"'")
        right = kind + (f" {name}" if re.fullmatch(r"[\w.@+:/-]+", name) else f' "{name}"')
        config.misspelled[name.casefold()] = f" No AWS tool reads [{header}]: write [{right}]."


def parse_ini(path: str, text: str) -> dict[str, Json]:
    """Return {section: {key: value}} as botocore.configloader.raw_config_parse does."""
    import configparser

    parser = configparser.RawConfigParser()
    text = re.sub(r"[^\S\n]{100,}", " ", text)  # as its time is quadratic to blanks in a row
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or getattr(error, "errors", [[None]])[0][0]
        raise unparsable(path, "neither [section] nor `key = value`, or a repeat", line) from None
    sections: dict[str, Json] = {name: dict(parser[name]) for name in parser.sections()}
    for values in sections.values():
        for key in [each for each in values if values[each].startswith("\n")]:  # as under `s3 =`
            pairs = [line.partition("=") for line in values[key].splitlines() if line.strip()]
            for line, equals, _ in pairs:
                if not equals:
                    number = text.count("\n", 0, text.find(line)) + 1
                    raise unparsable(path, "an indented line lacks its `=`", number)
            values[key] = {key.strip(): part.strip() for key, _, part in pairs}
    return sections


def unparsable(path: str, what: str, line: int | None = None) -> Failure:
    """Return the Failure that names file and line, but not what it says: it may be a secret."""
    where = f"{path}, line {line}" if line else path
    return Failure("config_unparsable", f"No AWS tool can read {where}: {what}. Fix that.")


def text_of(values: Json, key: str) -> str | None:
    """Return a value that is text; None when it is missing, empty or something else."""
    value = values.get(key)
    return value if isinstance(value, str) and value else None


# In a command, where a tab parts arguments: what names a profile (an option of AWS's own tools, one
# that others have too, a variable), the end of a simple command, and programs that tell whether
# what follows counts.
NAMED = r"""(?xi) (?: (?P<own> (?<![\w-]) (?:
        (?: --aws-?profile | --profile-name | -profilename | profile_name ) [\s:=]+
      | (?: (?:aws-\w+|granted)(?:\.exe)? \s+ ex(?:ec|port) | assume | awsume ) \s+
          (?:--[\w=-]+\s+|-j\s+)*
      | (?:[a-z]+\.)? from[a-z]+\(\{ [^{}]{0,80}? \bprofile:\s* ) )
    | (?P<option> (?<![\w-]) --profile [\s=]+ )
    | \bAWS_(?:DEFAULT_)?PROFILE ["']?\]? (?: \s*=\s*(?=["']) | \s+=\s+ | = | :\s* )
    | \bset(?:x|env)?\s+ (?:-\w+\s+)* AWS_(?:DEFAULT_)?PROFILE \s+
  ) (?P<value> "[^"]*" | '[^']*' | (?<=profile\t)[^\t]* | [^\s;&|(){}<>"',]* )
  | (?P<end> [;&|(){}\n] | \s--\s )
  | (?<![^\s"'(=]) (?: [^\s"'=:]{0,99}[/\\] )? (?: (?P<aws> aws[\w-]* ) | (?P<print> echo | printf )
    | (?P<other> bazel | cargo | dbt | docker(?:-compose)? | eas | gradlew? | kubectl | minikube
      | mvnw? | nix | oci | podman | rustup | skaffold ) ) (?= [\s"'.@] )"""
MAX_CHARACTERS = 16 << 10  # looked at of a command, and at the end of its output


def profile_of_command(line: str) -> str | None:
    """Return the profile that a command names, `$` if it is yet to be worked out."""
    # An option of AWS's own tools beats a variable, that beats a `--profile` of another program.
    ranks: dict[int, set[str]] = {}
    program: str | None = None
    for found in re.finditer(NAMED, line[:MAX_CHARACTERS]):
        value, option = (found["value"] or "").strip("\"'"), found["option"]
        if found["value"] is None:
            program = found.lastgroup
        elif value and value[0] != "-" and program not in ("print", "other" if option else "print"):
            rank = 0 if found["own"] or (option and program == "aws") else 2 if option else 1
            ranks.setdefault(rank, set()).add(value if re.fullmatch(WORKED_OUT, value) else "$")
    best = ranks[min(ranks)] if ranks else {None}
    return best.pop() if len(best) == 1 else "$"


def sso_profile(config: AwsConfig, name: str) -> SsoProfile:
    """Return what a login for profile `name`, or for its source, takes. Raises Failure."""
    chain: list[str] = []
    source: str | None = name
    while source is not None:
        if source in chain:
            raise Failure("profile_loop", f"source_profile of {listed(chain)} leads in a circle.")
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
        raise Failure("not_sso", f"No SSO login can fix profile {profile!r}: it {kind}", profile)
    if name is not None:
        name = name if isinstance(name, str) else ""
        where = f"[sso-session {name}], which profile {profile!r} names,"
        if name not in config.sso_sessions:
            near = nearest_names(name.partition(" #")[0], config.sso_sessions, LIKE)
            step = f" If {near[0]!r} is meant, write that." if near else " Add it."
            step = config.misspelled.get(name.casefold(), step)
            raise Failure("sso_session_not_found", f"{where} is missing in {config.path}.{step}")
        values = config.sso_sessions[name]
    for key, (shape, example) in SHAPES.items():
        value = text_of(values, key)
        if value is None:
            raise Failure("sso_incomplete", f"{where} lacks {key}. Add it: `aws configure sso`.")
        if not re.fullmatch(shape, value):
            found = re.search(shape, value[:512])
            right = f"{found[0]} (no quotes, no comment)" if found else f"{example}, for example"
            message = f"{where} has a wrong {key} in {config.path}: {value[:48]!r}. "
            raise Failure("sso_invalid", message + f"Write there: {key} = {right}.")
    scopes = text_of(values, "sso_registration_scopes") if name else None
    return SsoSession(name, values["sso_start_url"], values["sso_region"], scopes or "")


LIKE = 0.6  # how much alike two names are when one may be meant by the other
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
    where = {"sessionName": session.name} if session.name else {"startUrl": session.start_url}
    key = {"accountId": profile.account_id, "roleName": profile.role_name, **where}
    name = cache_name(json.dumps(key, sort_keys=True, separators=(",", ":")))
    return aws_folder("cli", "cache", name)


def read_json(path: str) -> Json | None:
    """Return the object that a JSON file holds, {} when it is damaged; None without a file."""
    try:
        content = read_file(path)
        return None if content is None else inner(json.loads(content))
    except (Failure, ValueError, RecursionError):
        return {}


def explained(failure: Failure, profile: SsoProfile | None) -> Failure:
    """Return the Failure that names a damaged file where the AWS CLI says none, else the same."""
    if profile is None or failure.reason not in ("aws_cli_failed", "aws_error"):
        return failure
    session, scopes = profile.session, re.findall(r"[^\s,]+", profile.session.scopes)
    about = {"tool": "botocore", "startUrl": session.start_url, "region": session.region}
    about.update({"scopes": scopes or None, "session_name": session.name})
    registration = aws_folder("sso", "cache", cache_name(json.dumps(about, sort_keys=True)))
    files = (registration, "expiresAt"), (role_path(profile), "Credentials", "Expiration")
    for path, *place, key in files:
        content = read_json(path)
        if content is not None and not text_of(inner(content, *place), key):
            what = f"A cached file is damaged: let the person delete {path}, then try again."
            return Failure("damaged_cache", what)
    return failure


def read_token(session: SsoSession) -> Token | None:
    """Return the session's token; None when there is none or its file is no token."""
    path, token = token_path(session), read_json(token_path(session))
    for pause_s in (0.05, 0.05):  # the AWS CLI writes in place: half a file is read again
        if token == {}:
            time.sleep(pause_s)
            token = read_json(path)
    expires_at = token and epoch(token.get("expiresAt"))
    if not token or expires_at is None or not text_of(token, "accessToken"):  # a registration
        return None
    parts = all(text_of(token, key) for key in ("refreshToken", "clientId", "clientSecret"))
    refreshable = parts and (epoch(token.get("registrationExpiresAt")) or 0) > time.time()
    which = hash((token["accessToken"], token["expiresAt"]))
    return Token(expires_at, refreshable, changed_at(path), which)


def epoch(text: Any) -> float | None:
    """Return epoch seconds of any spelling of `expiresAt` that AWS's tools write, else None."""
    from datetime import datetime

    match = re.fullmatch(ISO_TIME, text) if isinstance(text, str) else None
    try:
        return match and datetime.fromisoformat(match[1] + (match[2] or "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


def is_other(token: Token | None, other: Token | None) -> bool:
    return (token and token.which) != (other and other.which)


def token_state(token: Token | None) -> str:
    """Return `valid`, `expiring` (soon, for good), `refreshable` (now), `expired` or `absent`."""
    if token is None:
        return "absent"
    left = token.expires_at - time.time()
    if left > (15 * 60 if token.refreshable else 5 * 60):  # AWS's SDKs renew one with less
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
# settings, EDITOR that of each kind of VS Code, `$X` the folder in a variable.
CLIENT_FILES = """
    ~/.claude.json $CLAUDE_CONFIG_DIR/.claude.json CLAUDE/plugins/cache/*/*/*/.mcp.json
    CLAUDE/plugins/cache/*/*/*/.claude-plugin/plugin.json CONFIG/Claude/claude_desktop_config.json
    /etc/claude-code/managed-mcp.json /Library/Application*Support/ClaudeCode/managed-mcp.json
    $ProgramFiles/ClaudeCode/managed-mcp.json @/.mcp.json @/.*/mcp*.json @/.*/*/mcp*.json
    @/.*/settings.json @/.*/*agents/*.json @/.amazonq/*.json ~/.aws/amazonq/*.json
    ~/.aws/amazonq/*agents/*.json @/.gemini/extensions/*/*extension.json ~/.kiro/powers/*/*/mcp.json
    @/.codex/config.toml $CODEX_HOME/config.toml $COPILOT_HOME/mcp-config.json
    ~/.config/github-copilot/*/mcp.json $LOCALAPPDATA/github-copilot/*/mcp.json
    ~/.cline/data/settings/*mcp_settings.json ./opencode.json* ~/.config/opencode/opencode.json*
    ~/.config/zed/settings.json $APPDATA/Zed/settings.json EDITOR/mcp.json EDITOR/settings.json
    EDITOR/profiles/*/mcp.json EDITOR/globalStorage/*/settings/*mcp_settings.json
"""
SERVERS = "mcpServers servers mcp_servers context_servers powers/mcpServers mcp/servers mcp"
CONFIG_FOLDERS = {"darwin": "~/Library/Application Support", "win32": "$APPDATA"}
VARIABLE = r"(?:\$\{(?:env:)?|\{env:|\$(?!env:))(\w+)(?::-([^{}]*))?\}?"
# What JSON has not: comments, and commas before a bracket. Strings are matched to be kept.
NOT_JSON = r'(?s)("[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)|,(?=\s*[}\]])'


def profile_of_server(server: str) -> str | None:
    """Return the profile of the MCP server whose name is the longest that stands in `server`."""
    # None when its entry has none. Raises Failure when there is no entry, or several that differ.
    rows = list(configured_servers())
    fits = [row for row in rows if row[1] == server] or [r for r in rows if is_named(r[1], server)]
    if not fits:
        near = nearest_names(server, [name for _, name, _ in rows if harmless(name) == name][:1000])
        unread = ["any YAML", *(harmless(file) for file, name, _ in rows if name == "\0")]
        what = f"No MCP client here has a server {harmless(server)!r}; the nearest servers are: "
        what += f"{listed(near) or 'none'}. (Not read: {', '.join(unread)[:500]}.) "
        raise Failure("server_not_found", what + "Call again with `profile`.")
    longest = max(len(name) for _, name, _ in fits)
    found = [(file, entry) for file, name, entry in fits if len(name) == longest]
    in_use = [row for row in found if row[1].get("enabled", True) and not row[1].get("disabled")]
    profiles = {profile_of_entry(entry): file for file, entry in in_use or found}
    if len(profiles) > 1:
        each = ", ".join(f"{harmless(a or 'none')} in {harmless(b)}" for a, b in profiles.items())
        message = f"MCP server {harmless(server)!r} has different profiles: {each[:500]}. "
        raise Failure("server_ambiguous", message + "Call again with the right one as `profile`.")
    return next(iter(profiles))


def is_named(name: str, wanted: str) -> bool:
    """Tell whether a server's name stands in `wanted`; VS Code keeps only 13 characters of it."""
    texts = (f" {name} ", f" mcp_{name[:13]} ", f" {wanted} ")
    name, cut, wanted = (re.sub(r"[\W_]+", " ", text).casefold() for text in texts)
    return name != " " and (name in wanted or wanted.startswith(cut))


def configured_servers() -> Iterator[tuple[str, str, Json]]:
    """Yield file, name and entry of each MCP server in the clients' config files."""
    project = os.environ.get("CLAUDE_PROJECT_DIR") or working_folder()
    places = [*(keys.split("/") for keys in SERVERS.split()), ["projects", project, "mcpServers"]]
    for path in client_files(project):
        file = path.replace(os.path.join(project, ""), "./", 1).replace(filled_in("~"), "~", 1)
        file = file.replace(os.sep, "/")
        content = read_client_config(path)
        yield from [(file, "\0", {})] if content is None else ()  # a name that nothing has
        for keys in places:
            yield from ((file, name, inner(row)) for name, row in inner(content, *keys).items())


def client_files(project: str) -> Iterator[str]:
    """Yield the files on this system that CLIENT_FILES stands for, at most 100 for a pattern."""
    literal = partial(re.sub, r"([*?[])", r"[\1]")
    user, here = literal(filled_in("~")), literal(project)
    config = literal(filled_in(CONFIG_FOLDERS.get(sys.platform, "~/.config")))
    editors = [f"{config}/*Cod*/User", f"{config}/Cursor/User", f"{user}/.*-server*/data/User"]
    places = {"~": [user], ".": [here], "@": [user, here], "CONFIG": [config], "EDITOR": editors}
    places["CLAUDE"] = [user + "/.claude", literal(setting("CLAUDE_CONFIG_DIR") or user)]
    places[""] = [] if sys.platform == "win32" else ["/"]
    for pattern in CLIENT_FILES.split():
        root, _, rest = pattern.partition("/")
        for folder in places.get(root, [literal(setting(root[1:]) or "")]):
            yield from matching_files(os.path.join(folder, rest))[:100] if folder else ()


def read_client_config(path: str) -> Json | None:
    """Return what a file of JSON, JSON with comments or TOML holds; None if it can't be read."""
    try:
        text = (read_file(path, MAX_CLIENT_FILE_BYTES) or b"").decode("utf-8-sig")
        if path.endswith(".toml") and sys.version_info >= (3, 11):
            import tomllib

            is_sane = all(line.count(".") <= 100 for line in text.split("\n"))  # noqa: PLR2004
            return tomllib.loads(text) if is_sane else None
        for _ in range(2):  # a comment may stand between comma and bracket
            text = re.sub(NOT_JSON, lambda found: found[1] or " ", text)
        return inner(json.loads(text, parse_int=float))  # linear in every Python
    except (Failure, ValueError, RecursionError):
        return None


def profile_of_entry(entry: Json) -> str | None:
    """Return the profile of a server's entry, from the place that its server looks in first."""
    entry = {**entry, **inner(entry, "command"), **inner(entry, "transport")}  # older Zed; Cline
    variables = {**inner(entry, "environment"), **inner(entry, "env")}
    env = {name: filled(value) for name, value in variables.items()}
    parts = [entry.get("command"), entry.get("args")]
    words = [word for part in parts for word in (part if isinstance(part, list) else [part])]
    named = profile_of_command("\t".join(map(filled, words)))
    own = env.get("AWS_API_MCP_PROFILE_NAME"), env.get("AWS_MCP_PROXY_PROFILES", "").split(" ")[0]
    common = () if named else (env.get("AWS_PROFILE"), env.get("AWS_DEFAULT_PROFILE"))
    return next((n for n in (*own, named, *common) if re.fullmatch(WORKED_OUT, n or "")), None)


def filled(value: Any) -> str:
    """Return a client's text with its variables of profiles filled in, `$` for one not known."""
    known = {name: text for name, text in os.environ.items() if "PROFILE" in name.upper()}
    text = value if isinstance(value, str) else ""
    return re.sub(VARIABLE, lambda found: known.get(found[1]) or found[2] or "$", text)


# --- Choosing a profile -----------------------------------------------------------------

Choice = namedtuple("Choice", "profile source why others")


def choose_profile(config: AwsConfig, parameter: str | None, server: str | None = None) -> Choice:
    """Return the profile to use, from the first place that names one. Raises Failure."""
    if parameter:
        sessions = {} if parameter in config.profiles else profiles_by_session(config)
        for session, profiles in sessions.items():
            if parameter.rstrip("/#") in (session.name, session.start_url.rstrip("/#")):
                why = f"the first one of SSO session {parameter!r}, as no profile is called so"
                return Choice(profiles[0].name, "parameter", why, [])
        return Choice(parameter, "parameter", "as requested", [])
    profile = profile_of_server(server) if server else None
    but = f" (MCP server {harmless(server)!r} is configured with none)" if server else ""
    if server and profile:
        return Choice(profile, "server", f"configured for MCP server {harmless(server)!r}", [])
    for variable in filter(setting, ("AWS_SSO_MCP_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")):
        return Choice(setting(variable), "environment", f"from ${variable}{but}", [])
    choice = unnamed(config)
    return choice._replace(why=choice.why + but)


def unnamed(config: AwsConfig) -> Choice:
    """Return the SSO profile whose token, then role credentials, were cached last; or the only."""
    sessions = profiles_by_session(config)
    tokens: Any = {each: read_token(each) for each in sessions}
    used = sorted(filter(tokens.get, tokens), key=lambda each: -tokens[each].written_at)
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

# Of the commands that we run: reason; what they say (the first row counts); meaning, what to do.
FAILURES = (
    ("session_expired", "token from sso|loading SSO Token|SSO session ass|Session token not found",
     "AWS rejects the SSO token. Refresh it, if need be with force."),
    ("role_not_assigned", r"ForbiddenException.{0,60} No access|NotFoundException\).{0,18}GetRole",
     "The role is not assigned to this user. Choose another profile, or ask an administrator."),
    ("denied", r"AccessDeniedException\) when calling the CreateToken|Failed to retrieve an auth",
     "The sign-in page was answered with no. If that was a mistake, refresh again."),
    ("wrong_state", "State parameter does not match", "Close old sign-in pages, then try again."),
    ("login_expired", r"an SSO token has expired|InvalidGrant|ExpiredTokenEx.{0,30}CreateToken",
     "Nobody approved in time. Refresh again once somebody is there to approve."),
    ("wrong_start_url", r"InvalidRequest.{0,30}(?:Register|StartD|CreateT)|start URL|https scheme",
     "AWS does not know this start URL in this region. Check sso_start_url and sso_region."),
    ("client_registration", r"(?:InvalidClient|UnauthorizedClient)Exception\)",
     "Delete files in ~/.aws/sso/cache with a clientSecret but no accessToken, then try again."),
    ("static_keys", r"\((?:InvalidClientTokenId|UnrecognizedClientException|ExpiredToken)",
     "AWS refuses the keys. Check AWS_* variables, ~/.aws/credentials, region and clock."),
    ("proxy", "Failed to connect to proxy URL", "Check HTTPS_PROXY and the VPN; no login helps."),
    ("certificate", "SSL validation failed", "Set AWS_CA_BUNDLE to the company's certificates."),
    ("network", "Could not connect|timeout on endpoint|HTTP Client|onnection was c|response stream",
     "AWS could not be reached. Check the network, the VPN and sso_region; no login helps."),
    ("callback_port", r"OAuth 2\.0", "It had no port to listen on. Set AWS_SSO_MCP_LOGIN=device."),
    ("config_changed", r"parse config file|could not be found|session does not exist|SSO configur",
     "The AWS config does not hold this profile, or not all of it. Check the name and the file."),
    ("cache_not_writable", r"\[Errno (?:1|5|13|17|20|21|28|30|40|69|116|122)\]",
     "The AWS CLI could not write ~/.aws/sso/cache. Check its owner, its mode and the disk."),
    ("aws_error", r"max retries|InternalServer|Unavailable|SlowDown|TooManyRequests|Throttl"
     r"|\(5\d\d\)|\(429\)|(?m:(?:^|: )'[A-Za-z]+'$)|<html|Unable to parse response",
     "AWS, a captive portal or a VPN answered with an error. Try again later."),
)  # fmt: skip
# The grammar of "the SSO token is no good", in any tool's words. A statement says that something
# is wrong with a thing of SSO, or tells to run `aws sso login`.
SSO = r"(?<![\w./\\-])(?:sso(?:\w*provider)?|identity center|access portal)(?![\w./\\-]|:\S)"
THING = r"(?:session|token|log-?in|cache|credentials?)\b(?! section| config| duration)"
WRONG = (
    r"\b(?:(?<!not )(?<!n't )expired|invalid|missing|revoked|required|needed|refresh\w* \w* ?failed"
    r"|failed to \w+|no longer|not (?:found|valid|present|active|exist)|(?:not|n't) be \w+)\b"
)
ORDER = r"(?<!failed to )\b(?:run\w*|execute|try|us(?:e|ing)|with|via|fix|please|required)\b"
STATEMENT = (
    rf"{SSO}(?=.{{0,60}}?\b{THING}).{{0,90}}?{WRONG}"
    r"|\b(?:no|expired|invalid|missing|unable to|failed to(?! run)|can ?not|could not|error \w+ing)"
    rf"(?: [\w']+){{0,4}}? {SSO} (?:access |session )?{THING}"
    rf"|{ORDER}.{{0,30}}?\baws2? sso login"
    r"|\b(?:not|need to|must|please) (?:be )?(?:log|sign|(?:re-?)?auth)[\w -]{0,30}\baws sso\b"
    r"|\bsso(?:token|session)(?:expired|invalid)\w*: |\binvalidsso\w+\)"  # names of exceptions
    # what AWS's tools say without naming SSO
    r"|\btoken (?:not found or invalid|has expired and refresh failed|file at \S+sso[/\\]cache)"
    r"|(?:^ ?|exception: )token is expired|\bcached credentials not found under"
    r"|\baws credentials expired|\bexpired or invalid aws credentials"
)
# It is not said in quotes or brackets, under a condition, beside a cause that no login fixes, ...
QUOTED = r"""(?<![\w.)\]}/%!])[fr]?(?:"[^"]*|'[^']*|`[^`']*)$|[\s:]<[^<>]*$"""
SUPPOSED = r"\b(?:if|when(?! \w+ing)|before|once|after|is valid|expect\w*|assert\w*|shows)\b[^.:]*$"
OTHER_CAUSE = (
    r"custom.process|pending |no access|denied|not configured|not (?:found|defined) in\b|saml|okta"
    r"|azure|keycloak|argocd|required param|send failed|timed out|refused|no such host|x509"
)
# in a line of a diff, a table, a listing, numbered source, a comment, a test's report, ...
SHOWN = (
    r"[-+<|]|[0-9a-f]{7,40} |[^\t]+\t(?:pass|fail|OPEN|CLOSED|MERGED)\t"
    r"|\s*(?:E +[-+]|[-+*]\S|[<>]|//|#(?!#?\[|\d+ \d)|\d+(?: ?\||  |\) |[:-][^\s\d])|●|✓|FAIL|PASS"
    r"|(?:Expected|Actual|Received) ?:|\S*\.\w+[:-]\d+[:-](?!in )|\S+\.(?:md|rst|txt):)"
)
# nor in a manual, in Markdown, in a diff or a log of commits.
DOCUMENT = r"(?m)^(?:DESCRIPTION$|SYNOPSIS$|#{2,} \S|```|@@ |commit [0-9a-f]{7})"
# Colours, escaped quotes, and the key with the quote before a message in a log or JSON go first.
NOISE = r"""\r|\x1b?\[[\d;:]{0,9}[mK]|\\{1,3}(?=["'])"""
KEY = r"""["'@]{0,2}\b\w{0,9}(?:message|msg|err\w*|text|detail|source)["']?[:=] ?(Some\()?["']"""


def failure_of(reason: str) -> Failure:
    return Failure(reason, next(row[2] for row in FAILURES if row[0] == reason))


def cli_failure(run: Process) -> Failure:
    """Return the Failure that tells what a command's stderr means, and the last line of it."""
    errors = run.output["stderr"]
    said = re.sub("^aws: .ERROR.: ?", "", errors.strip().rpartition("\n")[2].strip())
    said = re.sub(r"[A-Za-z0-9+/=_.~%-]{40,}", "[...]", said)[:200]  # secrets are long words
    quote = f" (The AWS CLI said: {said.rstrip('.')}.)" if said else ""
    for reason, pattern, meaning in FAILURES:
        if re.search(pattern, errors):
            return Failure(reason, meaning + quote)
    command = " ".join(each for each in run.argv[1:] if not each.startswith("--no-"))
    what = f"`aws {command}` failed (exit code {run.code}). Run it in a terminal to see more."
    return Failure("aws_cli_failed", what + quote)


def expiry_in(text: str) -> str | None:
    """Return the statement in a command's output that an SSO login answers; None without one."""
    text = re.sub(KEY, "", re.sub(NOISE, "", text[-MAX_CHARACTERS:]), flags=re.IGNORECASE)
    if re.search(DOCUMENT, text):
        return None
    lines = ["" if re.match(SHOWN, line) else line for line in text.splitlines()]
    for number in range(len(lines)):
        around = "\n".join(lines[number : number + 5]).partition("\n\n")[0].split("\n")
        said = re.sub(r"[\s│|]+", " ", " ".join(around[:2]))  # a sentence may be wrapped
        found = re.search(STATEMENT, said, re.IGNORECASE)
        if found:
            before, sentence = (said[:end][-200:] for end in found.span())
            doubts = ((QUOTED, before), (SUPPOSED, sentence), (OTHER_CAUSE, " ".join(around)))
            if not any(re.search(doubt, part, re.IGNORECASE) for doubt, part in doubts):
                return said
    return None


# --- Renewal: one per SSO session, on this whole machine ---------------------------------

AWS_NAMES = ("aws",) if os.name == "posix" else ("aws.exe", "aws.cmd")
AWS_CLI_PLACES = (  # beyond PATH, which clients started from a desktop hardly fill
    "/usr/local/bin/aws", "/opt/homebrew/bin/aws", "/usr/bin/aws", "/snap/bin/aws",
    "~/.local/bin/aws", "/home/linuxbrew/.linuxbrew/bin/aws", "~/.local/share/mise/shims/aws",
    "~/.nix-profile/bin/aws", "/run/current-system/sw/bin/aws", "~/.asdf/shims/aws",
) if os.name == "posix" else (
    "%ProgramFiles%\\Amazon\\AWSCLIV2\\aws.exe", "C:\\Program Files\\Amazon\\AWSCLIV2\\aws.exe",
)  # fmt: skip
INSTALL = "Install version 2 (https://aws.amazon.com/cli), or name one in $AWS_SSO_MCP_AWS_CLI."
NO_ANSWER = "`aws {}` gives no answer. Check the network and the proxy, then try again."
V1 = "is version 1, which has no `aws sso login`"
EXIT_V1 = 2  # of a choice that it does not have, such as `login`; a v2: 252
NO_CHOICE, NO_OPTION = "(?m)^aws: .*nvalid choice", "(?m)^Unknown options: .*--no-cli-auto"
NO_DEVICE_CODE = "Unknown options: --use-device-code"  # before 2.22, where it is the only way
PAGE = r"(?m)^https?://\S+$"
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
# Ends of a silent renewal that say nothing of the refresh token:
UNTRIED = ("timeout", "network", "proxy", "certificate", "aws_error", "abandoned")
REACHING = ("ca_bundle", "use_fips_endpoint", "use_dualstack_endpoint")  # settings of a profile

# Guards all that calls and flights share; whoever changes it notifies all. Held for moments: never
# while a file is read or written, a process starts or a message is sent.
CHANGED = threading.Condition()
_flights: dict[Any, Flight] = {}  # by key
_v1: set[tuple[str, float]] = set()  # path and time of each `aws` that has shown itself a v1

# What a person can be told; `urgent`: now, as only they can open `url`, or a client (`offered`).
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
            self.cancelled, self.hurried = self.cancelled or cancelled, True
            CHANGED.notify_all()


class Flight:
    """A piece of work, and the calls that wait for its outcome: single flight, by `key`."""

    # `work(flight)` runs in a thread. A flight that `lasts` is in the table until a call hears its
    # outcome, and calls may leave it in a hurry. CHANGED guards the fields.
    def __init__(self, key: Any, work: Any, *, lasts: bool = False) -> None:
        self.key, self.work, self.lasts = key, work, lasts
        self.news = News("Running the AWS CLI ...")
        self.outcome: Any = None  # what `work` returned, or the Failure that it raised
        self.ended_at = 0.0
        self._waiting = 0
        self._left_at: float | None = None  # when the last to wait for it was cancelled
        self._is_offered = False
        self.promised = False  # to a forced call, that another without `force` joins it

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
        with CHANGED:
            if news != self.news:
                self.news = news
                CHANGED.notify_all()

    def wait(self, call: Call, deadline: float) -> Any:
        """Return the outcome, None if it does not come. Raises its Failure, or `cancelled`."""
        with CHANGED:
            self._waiting, self._left_at = self._waiting + 1, None
        while not self._is_over(call) and time.monotonic() < deadline:
            news = self.news
            call.report(news.text)
            if news.urgent and news != call.known:  # the client shows it, else the call is answered
                call.known = news
                with CHANGED:
                    may_offer, self._is_offered = news.offered and not self._is_offered, True
                if not (may_offer and call.offer(news.url, news.text)):
                    call.end(cancelled=False)
            with CHANGED:
                seconds = min(deadline - time.monotonic(), 10.0)
                CHANGED.wait_for(lambda: self._is_over(call) or self.news != news, seconds)  # noqa: B023
        with CHANGED:
            self._waiting -= 1
            self._left_at = time.monotonic() if call.cancelled else None
            if call.cancelled:
                raise Failure("cancelled", "The client cancelled this call.")  # it hears nothing
            if self.outcome is not None:
                self.forget()
            if isinstance(self.outcome, Failure):
                raise self.outcome
            return self.outcome

    def _is_over(self, call: Call) -> bool:
        return self.outcome is not None or call.cancelled or (self.lasts and call.hurried)

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
    refused: dict[str, Any] = {}
    for path, problem in found or programs(AWS_NAMES, AWS_CLI_PLACES):
        refused[path] = V1 if (path, changed_at(path)) in _v1 else problem
        if refused[path] is None:
            return path
    told = "; ".join(map(" ".join, refused.items())) or "none is on PATH, nor in the usual places"
    reason = "aws_cli_v1" if V1 in refused.values() else "aws_cli_not_found"
    raise Failure(reason, f"There is no AWS CLI v2 to log in with: {told}. {INSTALL}")


def run_aws(arguments: Sequence[str], goes_on: Any, limit_s: float = 0, **more: Any) -> Process:
    """Return a run of the first `aws` that is a v2, when it has ended. Raises Failure."""
    # `goes_on(stdout)`, called four times a second, tells whether it may; `more` is for Process.
    while True:
        aws, limit = find_aws_cli(), time.monotonic() + (limit_s or COMMAND_LIMIT_S)
        if aws.lower().endswith((".cmd", ".bat")) and re.search(r'[%&^<>|"]', " ".join(arguments)):
            message = f"{aws} is a batch file, which cannot take such a profile name. {INSTALL}"
            raise Failure("aws_cli_failed", message)
        run = Process([aws, *arguments, "--no-cli-auto-prompt"], **more)
        try:
            while run.wait(LOOK_EVERY_S) and goes_on(run.output["stdout"]):
                if time.monotonic() > limit:
                    raise Failure("timeout", NO_ANSWER.format(" ".join(arguments[:2])))
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
    """Run a command that needs no person, or join one that is the same. Raises Failure."""
    flight = Flight(arguments, lambda flight: run_aws(arguments, flight.is_wanted)).join(call)
    run: Process | None = flight.wait(call, max(deadline, time.monotonic() + 5))
    if run is None:
        raise Failure("timeout", NO_ANSWER.format(" ".join(arguments[:2])))
    return run


class Renewal:
    """The renewal of one SSO session's token: what a flight works at, from `__call__` downwards."""

    # Other processes see the lock and what is PUBLISHED in its file: the page, or that the person
    # said no. How else it ended, the token file tells.
    def __init__(self, profile: SsoProfile, seen: Token | None, *, silently: bool) -> None:
        self.session, self.profile = profile.session, profile.login_profile
        self.seen, self.silently = seen, silently
        self.lock = FileLock(lock_path(profile.session))
        self.problem = ""  # why there is no lock
        self.local, self.opens = browser_here()
        self.page: Json = {}  # of this login
        self.text = ""  # what it had printed at the last look
        self.began_at = time.time()  # wall-clock time, which goes on in a laptop that sleeps
        self.wanted_anew = False  # guarded by CHANGED

    def __call__(self, flight: Flight) -> str:
        """Return `refreshed` or `logged_in`. Raises Failure."""
        try:
            by_page = self._wait_for_others(flight)
            if not self.is_done():
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
            self.wanted_anew = time.time() - self.began_at > 30  # noqa: PLR2004 - seconds

    def _wait_for_others(self, flight: Flight) -> bool:
        """Take the lock, or wait with whoever has it; tell whether its page brought the token."""
        page: Json = {}
        while True:
            is_ours = self._has_lock()
            if self.is_done():  # also by whoever has just let the lock go
                return "url" in self._published()
            if is_ours:
                break
            page = self._published()
            flight.tell(self._news(page, of_others=True))
            flight.is_wanted()
            if time.time() - self.began_at > LOGIN_LIMIT_S:
                raise failure_of("login_expired")
            time.sleep(LOOK_EVERY_S)
        page = page and self._published()
        if not page:  # what an earlier login left
            self._publish()
        if "outcome" in page:
            raise failure_of("denied")
        if "url" in page:
            raise Failure("ended_elsewhere", "Another program's login failed: try again.")
        return False

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
        told = read_json(self.lock.path) or {}
        texts = {key: told[key] for key in PUBLISHED if isinstance(told.get(key), str)}
        return {key: text for key, text in texts.items() if re.fullmatch(PUBLISHED[key], text)}

    def _refresh(self, flight: Flight) -> bool:
        """Have the AWS CLI use the refresh token; tell whether that brought a new token."""
        # It looks at the token only when it needs new role credentials, and keeps them for hours:
        # so a config of our own has a role that nobody has. AWS refuses it, the token once renewed.
        import shlex

        path = self.lock.path[:-5] + ".config"
        values = read_aws_config().profiles.get(self.profile, {})
        kept = "".join(f"{key} = {values[key]}\n" for key in REACHING if text_of(values, key))
        role = f"sso_account_id = 000000000000\nsso_role_name = none-{time.time_ns()}\n"
        text = f"[profile renewal]\nsso_session = {self.session.name}\n{role}{kept}"
        text += f"[sso-session {shlex.quote(self.session.name)}]\n"
        text += f"sso_region = {self.session.region}\nsso_start_url = {self.session.start_url}\n"
        profile = "renewal"
        files: Any = {"AWS_CONFIG_FILE": path, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        try:
            write_file(path, text)
        except OSError:  # the person's own config helps where no credentials are cached
            profile, files = self.profile, {}
        try:
            arguments = ("configure", "export-credentials", f"--profile={profile}")
            failure = cli_failure(run_aws(arguments, flight.is_wanted, streams=OUTPUT[1:], **files))
        except Failure as raised:
            failure = raised
        if not self.is_done() and failure.reason in UNTRIED:
            raise failure
        return self.is_done()

    def _log_in(self, flight: Flight) -> None:
        """Run `aws sso login`, anew for a call that wants that. Raises Failure without a token."""
        arguments = ["sso", "login", f"--profile={self.profile}", "--no-browser"]
        arguments += [] if self.local else ["--use-device-code"]
        while True:
            with CHANGED:
                self.wanted_anew, self.began_at, self.page = False, time.time(), {}
            self._publish()
            flight.tell(self._news({}))
            fds = [self.lock.fd] if self.lock.fd is not None and os.name == "posix" else []
            run = run_aws(arguments, partial(self._goes_on, flight), 2 * LOGIN_LIMIT_S, fds=fds)
            if self.is_done():
                return
            if not self.wanted_anew:
                what = "`aws sso login` brought no new token. Check ~/.aws/cli/alias and the clock."
                raise cli_failure(run) if run.code != 0 else Failure("no_token", what)

    def _goes_on(self, flight: Flight, text: str) -> bool:
        """Show the page once `text` names it; tell whether the login goes on. Raises Failure."""
        if self.is_done():  # by this login, which ends by itself, or by one in a terminal
            return abs(time.time() - changed_at(token_path(self.session))) < GRACE_S
        flight.is_wanted()
        if time.time() - self.began_at > (LOGIN_LIMIT_S if self.page else 2 * COMMAND_LIMIT_S):
            raise failure_of("login_expired" if self.page else "network")
        url, code = parse_login_output(text)
        is_all, self.text = text == self.text or "?" in (url or ""), text
        if url and is_all and url != self.page.get("url"):
            self._show(flight, {"url": url, "code": code, "host": HOST})
        return not self.wanted_anew

    def _show(self, flight: Flight, page: Json) -> None:
        """Open the page, once a login, and tell calls and other processes of it. Raises Failure."""
        if not re.fullmatch(SAFE_URL, page["url"]):
            what = "The sign-in page is not https. Check sso_start_url, and for a captive portal."
            raise Failure("untrusted_url", what)
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
        if is_gone or time.monotonic() - flight.ended_at > 10 * 60:
            flight.forget()
            return None
    return flight


def parse_login_output(text: str) -> tuple[str | None, str | None]:
    """Return the URL to open and the user code that `aws sso login` has printed so far."""
    # A URL without a query needs its code beside it; usually the one that fills it in follows.
    urls, codes = (re.findall(each, text[: text.rfind("\n") + 1]) for each in (PAGE, USER_CODE))
    pages = [url for url in urls if "?" in url] or (urls if codes else [])
    return (pages or [None])[-1], (codes or [None])[0]


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
        script = "import sys, webbrowser; webbrowser.open(sys.argv[1])"
        process = Process([sys.executable, "-IS", "-c", script, url], streams=())
        process.wait(30)
        process.end()


# --- Tools ------------------------------------------------------------------------------

Tool = namedtuple("Tool", "definition function")
TOOLS: dict[str, Tool] = {}


def tool(title: str, description: str, hints: Json, **parameters: str) -> Callable[[Any], Any]:
    """Declare a tool: its name and what its parameters take are those of the function below."""

    def declare(function: Callable[..., Json]) -> Callable[..., Json]:
        kinds = {"str | None": "string", "bool": "boolean"}
        properties = {
            name: {"type": kinds[function.__annotations__[name]], "description": text}
            for name, text in parameters.items()
        }
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        definition: Json = {"name": function.__name__, "title": title, "description": description}
        definition.update({"inputSchema": schema, "annotations": hints})
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
    "again without `force`: that joins the same login. Then retry what failed.",
    {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    profile="AWS profile of the command that failed, else the one that its message names, or SSO "
    "session. Without it: $AWS_PROFILE, else the SSO profile used last.",
    server="Instead of `profile`: name of the MCP server whose call failed (or its full tool name)"
    ". Takes the profile it is configured with.",
    force="Log in again although the token is good: when AWS still refuses it, or when the page of "
    "a pending login failed.",
)
def refresh_aws_sso_token(
    call: Call, profile: str | None = None, server: str | None = None, force: bool = False
) -> Json:
    """Make the SSO token of a profile usable, with the fewest clicks. Raises nothing."""
    known: Json = {}
    told, config, target = "", None, None
    try:
        config = read_aws_config()
        choice = choose_profile(config, profile, server)
        name = harmless(choice.profile, config.profiles)
        known.update({"profile": name, "profileSource": choice.source})
        known.update({"candidates": choice.others} if choice.others else {})
        told = f" Profile: {name!r}, {choice.why}."
        target = sso_profile(config, choice.profile)
        same = [target] if target.role_name else profiles_by_session(config).get(target.session, [])
        target = target._replace(witness=next((each for each in same if each.role_name), None))
        read_file(token_path(target.session))  # raises what can be told of one that is no file
        if target.login_profile != target.name:
            known["loginProfile"] = target.login_profile
        known.update({"ssoSession": target.session.name, "startUrl": target.session.start_url})
        check_certificates()
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
    step = " The SSO status lists the SSO profiles."
    if offered:
        answer["candidates"] = offered
        step = f" If another profile was meant, try again with one of: {listed(offered)}."
    elif not working:
        step = "".join([*config.misspelled.values()][:MAX_SHOWN]) or f" {NO_PROFILE} See status."
    answer["message"] += "" if step in answer["message"] else step
    return answer


def check_certificates() -> None:
    """Raise Failure `certificate` when AWS_CA_BUNDLE lets no AWS CLI reach AWS."""
    path, content = full_path(setting("AWS_CA_BUNDLE") or ""), None
    with contextlib.suppress(Failure):
        content = read_file(path, MAX_FILE_BYTES)
    if path and b"CERTIFICATE-----" not in (content or b""):
        what = f"AWS_CA_BUNDLE names {path}, which is no readable PEM file."
        raise Failure("certificate", what + " Let it name the company's certificates, or unset it.")


DONE = {
    "valid": "The SSO token is good, and AWS accepts it: no login was needed.",
    "unproved": "The SSO token is good by its expiry; AWS could not be asked through a role.",
    "refreshed": "The SSO token was renewed without a login.",
    "logged_in": "Logged in: there is a new SSO token.",
}
NO_PROFILE = "There is no working SSO profile yet: make one in a terminal with `aws configure sso`."
RETRY = " Retry what failed; reconnect an MCP server only if that fails: it may keep old keys."


def renew(call: Call, target: SsoProfile, force: bool) -> Json:
    """Go the way to a good token that takes the fewest clicks. Raises Failure."""
    deadline = time.monotonic() + float(setting("AWS_SSO_MCP_WAIT_SECONDS") or 50)  # of clients' 60
    seen, flight = read_token(target.session), find_renewal(target.session)
    call.known = flight.news if flight else None
    # One that just brought this token is joined; one that failed, or was forced before it, is not.
    failed = flight and isinstance(flight.outcome, Failure)
    joins = flight and not failed and (flight.promised or is_other(seen, flight.work.seen))
    if flight and failed and force:
        flight.forget()
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
    is_later = token and seen and token.written_at > seen.written_at + 120
    if seen and is_later and token.expires_at < seen.expires_at + 60:
        note = " It ends when the old one did, as AWS's portal session still lives: if AWS goes on"
        return note + " refusing, let the person sign out in the portal (startUrl), then force it."
    note = " (A profile with an [sso-session] section would usually renew without a login.)"
    return "" if session.name else note


def shadowing_keys() -> str:
    """Return a warning when keys of the environment come before any profile."""
    what = " AWS_ACCESS_KEY_ID is set here, and comes before AWS_PROFILE: unset it."
    return what if os.environ.get("AWS_ACCESS_KEY_ID") else ""


def caller_identity(call: Call, target: SsoProfile, deadline: float) -> Json | None:
    """Return {account, arn}; {} when another profile proved the token, None when none could."""
    if target.witness is None:
        return None
    login = f"--profile={target.witness.login_profile}"
    run = ask_aws(call, deadline, "sts", "get-caller-identity", "--output=json", login)
    if "[Errno 17]" in run.output["stderr"]:  # two of them made ~/.aws/cli/cache: before 2.31
        run = ask_aws(call, deadline, "sts", "get-caller-identity", "--output=json", login)
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        found = json.loads(run.output["stdout"]) if run.code == 0 else {}
        identity = {"account": str(found["Account"]), "arn": str(found["Arn"])}
        return identity if target.role_name else {}
    failure = cli_failure(run)
    if target.role_name or failure.reason == "session_expired":
        raise failure
    return {} if failure.reason == "role_not_assigned" else None


def identity_or_doubt(call: Call, target: SsoProfile, deadline: float) -> tuple[Json | None, str]:
    """Return who a new token makes one, or why that is unknown. Raises Failure if it is no use."""
    try:
        return caller_identity(call, target, deadline), ""
    except Failure as failure:
        if failure.reason == "session_expired":
            what = "AWS refuses even the new token. Check sso_region and sso_start_url, let the "
            what += "person sign out in the portal (startUrl), then refresh once with force."
            raise Failure(failure.reason, what) from None
        if explained(failure, target).reason in ("role_not_assigned", "damaged_cache"):
            raise
        return None, f" Who it makes you could not be asked: {failure}"


def pending(flight: Flight, *, force: bool) -> Json:
    """Return the answer for a login that still waits for the person."""
    news, flight.promised = flight.news, flight.promised or force
    again = " without `force`" if force else " with the same arguments"
    message = f"Waiting for the person. {news.text} Then call refresh_aws_sso_token again{again}:"
    message += " it joins this login and opens no second page."
    if flight.work.page:
        message += " If the page shows an error, call with force: true: that begins anew."
    answer = {"success": False, "status": "pending", "message": message + flight.work.problem}
    answer.update({"loginUrl": news.url} if news.url else {})
    return {**answer, "userCode": news.code} if news.code else answer


@tool(
    "AWS SSO status",
    "Tells, without logging in or changing anything, which AWS SSO sessions and profiles are "
    "configured, whether their tokens are valid and for how long, and which profile "
    "refresh_aws_sso_token would take.",
    {"readOnlyHint": True, "openWorldHint": False},
    profile="Only the session of this profile.",
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
    name = harmless(choice.profile, config.profiles)
    rows = session_rows(config, taken)
    if taken and profile:  # what is asked for is shown alone
        rows, login = [{**rows[0], "profiles": rows[0]["profiles"][:1]}], taken.login_profile
        config = config._replace(profiles={login: config.profiles[login]}, misspelled={})
    message = f"{sum('expiresAt' in row for row in rows)} of {len(rows)} SSO sessions are usable. "
    message += f"A refresh would take profile {name!r}, {choice.why}"
    message += "." if taken else ", and fail: see the problems. Name another profile."
    cli: Json = {"path": None, "problem": None}
    try:
        cli["path"] = find_aws_cli()
    except Failure as failure:
        cli["problem"] = str(failure)
    return {
        "success": True,
        "message": message if rows else NO_PROFILE,
        "sessions": rows,
        "next": {"profile": name, "profileSource": choice.source},
        "awsCli": cli,
        "problems": config_problems(config, taken.login_profile if taken else choice.profile),
    }


def session_rows(config: AwsConfig, taken: SsoProfile | None) -> list[Json]:
    """Return what is said of each session; that of profile `taken` comes first."""
    sessions = profiles_by_session(config)
    head = []
    if taken:
        others = [each for each in sessions.pop(taken.session, []) if each != taken]
        head = [session_status(taken.session, [taken, *others])]
    rows = [session_status(*each) for each in sessions.items()]
    return head + sorted(rows, key=lambda row: row.get("expiresAt", ""), reverse=True)


def shortened(answer: Json) -> Json:
    """Return an answer less what of a status is too much for a model."""
    lists = [answer.get("sessions", []), answer.get("problems", [])]
    lists += [row["profiles"] for row in lists[0]]
    count = len(lists[0] + lists[1])
    for each in lists:  # at once, as thousands take a while one by one
        del each[MAX_SHOWN:]
    while any(lists) and len(json.dumps(answer)) > 3800:  # noqa: PLR2004
        max(lists, key=len).pop()
    if len(lists[0] + lists[1]) < count:
        answer["message"] += " Not all is shown; ask for one by `profile`."
    return answer


def session_status(session: SsoSession, profiles: Sequence[SsoProfile]) -> Json:
    token, flight = read_token(session), find_renewal(session)
    runs_here = flight is not None and flight.outcome is None
    keys = {"profile": "name", "accountId": "account_id", "roleName": "role_name"}
    return {
        "ssoSession": session.name,
        "startUrl": session.start_url,
        "state": token_state(token),
        **expiry(token),
        "profileCount": len(profiles),
        "profiles": [{key: getattr(each, name) for key, name in keys.items()} for each in profiles],
        "loginInProgress": runs_here or FileLock(lock_path(session)).is_taken(),
    }


def config_problems(config: AwsConfig, taken: str) -> list[str]:
    """Return what is wrong with the environment, the config, and the profile to be refreshed."""
    wrong = [shadowing_keys(), *config.misspelled.values()]
    checks: list[Callable[[], object]] = [check_certificates]
    checks += [partial(sso_profile, config, each) for each in {taken: 0, **config.profiles}]
    checks += [partial(read_file, token_path(each)) for each in profiles_by_session(config)]
    for check in checks:
        try:
            check()
        except Failure as failure:
            if failure.reason != "not_sso" or failure.unusable == taken:
                wrong.append(str(failure))
    return [each.strip() for each in dict.fromkeys(wrong + setting_problems()) if each]


def checked_arguments(definition: Json, arguments: Json) -> Json:
    """Return the arguments of a call, empty ones left out. Raises Failure `bad_argument`."""
    properties = definition["inputSchema"]["properties"]
    for name, value in arguments.items():
        if name not in properties:
            raise Failure("bad_argument", f"No argument {name[:50]!r}, only: {listed(properties)}.")
        kind = properties[name]["type"]
        if not isinstance(value, {"string": str, "boolean": bool}[kind]):
            raise Failure("bad_argument", f"`{name}` must be a {kind}.")
        if isinstance(value, str) and not re.fullmatch(NAME, value):
            raise Failure("bad_argument", f"`{name}` must be at most 512 printable characters.")
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
    """Answers the lines of MCP clients of both eras; each message tells its own (`_handler`)."""

    # Threads: the one that reads stdin calls `handle_line`, which never waits for a tool; each tool
    # runs in a daemon thread. `_wire` guards what is written and the requests that run, neither
    # answered nor cancelled: only for those is anything sent.
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._wire = threading.Lock()
        self._running: list[Request] = []
        self._session: Json = {}  # what a legacy client told once, as modern ones do in `_meta`
        self._complaints = 0
        tools = {"tools": [each.definition for each in TOOLS.values()]}
        both: Any = {"tools/list": lambda request: {**tools, **(STATIC if request.modern else {})}}
        both["tools/call"] = self._call_tool
        about = {"supportedVersions": SUPPORTED_VERSIONS, **ABOUT, **STATIC}
        self._modern: Any = {"server/discover": lambda _: about, **both}
        self._legacy: Any = {"initialize": self._initialize, "ping": lambda _: {}, **both}

    def handle_line(self, line: bytes) -> None:
        """Take one line from the client; whatever it holds, nothing is raised."""
        try:
            message = json.loads(line.decode("utf-8"))
            # Batches: 2025-03-26, basic. Each member is answered by itself.
            for each in message if self._session and isinstance(message, list) else [message]:
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

    def _handler(self, request: Request) -> Any:
        """Return what answers the request. Raises ProtocolError."""
        # Its era is modern (2026-07-28) if `_meta` has the envelope, else legacy.
        method = request.method
        if request.modern:
            version, capabilities = (request.meta.get(key) for key in ENVELOPE)
            if not isinstance(version, str) or not isinstance(capabilities, dict):
                raise ProtocolError(INVALID_PARAMS, f"_meta needs {' and '.join(ENVELOPE)}")
            if version != MODERN_VERSION:
                data = {"supported": SUPPORTED_VERSIONS, "requested": version[:100]}
                raise ProtocolError(UNSUPPORTED_VERSION, "Unsupported protocol version", **data)
        elif method in self._modern and (method not in self._legacy or not self._session):
            raise ProtocolError(INVALID_PARAMS, "Send initialize, or _meta: " + ", ".join(ENVELOPE))
        methods = self._modern if request.modern else self._legacy
        if method not in methods:
            raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {method[:100]}")
        return methods[method]

    def _initialize(self, request: Request) -> Json:
        offered = request.params.get("protocolVersion")
        if not isinstance(offered, str):
            raise ProtocolError(INVALID_PARAMS, "initialize needs a protocolVersion")
        self._session = {ENVELOPE[1]: request.params.get("capabilities")}
        version = offered if offered in LEGACY_VERSIONS else LEGACY_VERSIONS[0]
        return {"protocolVersion": version, "serverInfo": SERVER_INFO, **ABOUT}

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
        if len(self._running) > MAX_CALLS:
            raise ProtocolError(INTERNAL_ERROR, f"More than {MAX_CALLS} calls at once")
        try:
            in_thread(self._run_tool, request, TOOLS[name], arguments or {})
        except Failure as failure:
            raise ProtocolError(INTERNAL_ERROR, str(failure)) from None

    def _run_tool(self, request: Request, chosen: Tool, arguments: Json) -> None:
        try:
            arguments = checked_arguments(chosen.definition, arguments)
            answer = shortened(chosen.function(request.call, **arguments))
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

    # Elicitation in URL mode: legacy (client/elicitation) sends a request of its own, modern
    # (basic/patterns/mrtr) answers that input is required. But for a yes, the plain answer comes.
    def _offer(self, request: Request, url: str, message: str) -> bool:
        """Have the client show a page if it can; tell whether the call goes on meanwhile."""
        envelope = request.meta if request.modern else self._session
        if "url" not in inner(envelope, ENVELOPE[1], "elicitation"):
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
        line = json.dumps({"jsonrpc": "2.0", **message})
        if "\\ud" in line:  # a lone surrogate ends some clients: it becomes `?`
            text = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
            line = json.dumps(json.loads(text))
        with self._wire:
            if request in self._running:
                self._write(line.encode("ascii") + b"\n")
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
AWS SSO MCP {version}: an MCP server that renews expired AWS SSO tokens.
usage: {name} [COMMAND | help | --version]    no command: serve MCP
  status [[--profile] NAME] [--json]    show SSO sessions and how long they last
  refresh [[--profile] NAME] [--force]  renew a token: no click, or one page
  hook                                  tell a host why a command failed (JSON)
Add it to a client:
  claude mcp add -s user aws-sso -- {command}
  codex mcp add aws-sso -- {command}
  others: {entry}
Environment:
  AWS_SSO_MCP_PROFILE        profile when none is named, before AWS_PROFILE
  AWS_SSO_MCP_LOGIN          browser or device, where the guess is wrong
  AWS_SSO_MCP_WAIT_SECONDS   how long a tool call waits for the person (50)
  AWS_SSO_MCP_AWS_CLI        path of the AWS CLI v2
Exit codes: 0 a token works, 1 none does, 2 wrong usage, 128 + n signal n"""
COMMANDS = {"status": "--json", "refresh": "--force", "hook": "", "help": "", "--version": ""}
PROFILE = r"\0--profile(?:=|\0(?!-))([^\0]+)"  # in arguments, each behind a NUL
SGR = {1: "^SESSION .*", 32: "  (valid|refreshable) ", 33: "  expiring ", 31: "  (expired|absent) "}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve MCP, or do what the command line says; return the exit code."""
    words = [each for each in (sys.argv[1:] if argv is None else argv) if each]
    if not words and not (sys.stdin and sys.stdin.isatty()):
        wire = Wire()
        handle_signals(wire)
        serve(wire.read, Server(wire.write))
        end(0)
    handle_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what its encoding lacks
    line = "\0".join(["", *(["help"] if not words or {"-h", "--help"} & {*words} else words)])
    command, *rest = re.sub(PROFILE, "", line).split("\0")[1:] or ["help"]
    names = re.findall(PROFILE, line) + [each for each in rest if not each.startswith("-")]
    options, is_known = {*rest}.difference(names), command in (*COMMANDS, "-V")
    known = [COMMANDS.get(command, ""), "--profile NAME"] if is_known else [*COMMANDS]
    unknown = [*options.difference(known), *names[1:]] if is_known else [command]
    if unknown:
        hint = "".join(f", did you mean {e}?" for e in nearest_names(unknown[0], known, LIKE)[:1])
        what = f"unknown {'argument' if is_known else 'command'} {unknown[0][:40]!r}{hint}"
        return say(what + "\nSee --help.", sys.stderr) or 2
    if command == "status":
        return print_status(*names, as_json=bool(options))
    if command == "refresh":
        return print_refresh(*names, force=bool(options))
    if command == "hook":
        return print_hook(sys.stdin.buffer.read(MAX_LINE_BYTES) if sys.stdin else b"")
    return say(usage() if command == "help" else f"aws-sso-mcp {__version__}")


def usage() -> str:
    """Return the help; its commands work where they are pasted, however this was started."""
    import shlex

    path, python = os.path.abspath(sys.argv[0]), "python" if os.name == "nt" else "python3"
    argv = [python, "-IS", path] if path.endswith(".py") else [path]  # that pip has made
    command = " ".join([*argv[:-1], f'"{path}"' if os.name == "nt" else shlex.quote(path)])
    entry = {"mcpServers": {"aws-sso": {"command": argv[0], "args": argv[1:]}}}
    texts = {"name": os.path.basename(path), "command": command, "entry": json.dumps(entry)}
    return USAGE.format(version=__version__, **texts)


def say(text: str, stream: TextIO | None = None) -> int:
    """Print text for a person; what comes from a config file may not steer the terminal."""
    text = re.sub(r"[\0-\t\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", "?", text)
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if sys.stdout and sys.stdout.isatty() and not is_plain:
        for colour, words in SGR.items():
            text = re.sub(words, f"\x1b[{colour}m\\g<0>\x1b[0m", text)
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)
        return 0
    end(1)  # nobody reads it


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print text in lines that fit the terminal, words whole; pages and user codes are alone."""
    import shutil
    import textwrap

    fill = partial(textwrap.fill, break_long_words=False, break_on_hyphens=False)
    width = shutil.get_terminal_size((9999, 0)).columns
    text = re.sub(r"(?<!=) (https?://\S+|[A-Z0-9]{4}-[A-Z0-9]{4}) ", r"\n\1\n", text)
    for line in text.replace("let the person ", "").split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" -")))
        say(fill(line, width, subsequent_indent=indent).replace("\0", " "), stream)


def print_refresh(profile: str | None = None, *, force: bool) -> int:
    """Do what the tool does, its progress on stderr, until the person is done."""
    report = lru_cache(maxsize=1)(partial(tell, stream=sys.stderr))  # what is not the same again
    os.environ["AWS_SSO_MCP_WAIT_SECONDS"] = "600"  # here no client gives up
    answer = refresh_aws_sso_token(Call(report), profile, force=force)
    while answer["status"] == "pending":
        answer = refresh_aws_sso_token(Call(report), profile)
    tell(answer["message"])
    return 0 if answer["success"] else 1


def print_status(profile: str | None = None, *, as_json: bool) -> int:
    """Print a table of the sessions, then what is wrong; return 0 if a token works."""
    with contextlib.suppress(Failure):  # has an `aws` that is a v1 show itself
        run_aws(("configure", "list-profiles"), lambda _: True, 10, streams=("stderr",))
    answer = get_aws_sso_status(Call(say), profile)
    sessions = answer.get("sessions", [])
    wrong = (inner(answer, "awsCli").get("problem"), *answer.get("problems", []))
    lines = [*(sessions and table_of(sessions)), answer["message"], *(f"- {e}" for e in wrong if e)]
    (say if as_json else tell)(json.dumps(answer, indent=2) if as_json else "\n".join(lines))
    return 0 if any("expiresAt" in row for row in sessions) else 1


def table_of(sessions: Sequence[Json]) -> Iterator[str]:
    """Yield the lines of a table: a row for each session, and its profiles below it."""
    titles = [(e["ssoSession"] or e["startUrl"]).removeprefix("https://")[:32] for e in sessions]
    width = max(map(len, ["SESSION", *titles]))
    yield f"{'SESSION':{width}}  TOKEN        TIME LEFT     A REFRESH TAKES"
    for title, row in zip(titles, sessions):
        left = row.get("minutesLeft")
        time_left = "-" if left is None else f"{left // 60} h {left % 60} min"
        takes = {"valid": "nothing", "refreshable": "no click"}.get(row["state"], "one page")
        takes = "a login is running" if row["loginInProgress"] else takes
        yield f"{title:{width}}  {row['state']:11}  {time_left:12}  {takes}"
        yield "  " + ", ".join(each["profile"].replace(" ", "\0") for each in row["profiles"])
    yield ""


# A command that only shows files or history, and in an output the hint of a profile.
SHOWS = r"\s*(?:cat|head|tail|less|sed|[ef]?grep|rg|diff|gh|git (?:diff|log|show|grep))\s[^;&|]*"
HINT = r"""(?:sso login.*?--profile[= ]|\b(?:for|of) profile:? )["'`]?(?!your|prof)([\w.@/-]*\w)"""


def print_hook(event: bytes) -> int:
    """Tell a host, as its hook for tools that failed (JSON), what fixes it; return 0 always."""
    try:
        told = inner(json.loads(event))
        said = [told.get("error"), told.get("tool_response")]
        texts = [each if isinstance(each, str) else json.dumps(each, indent=0) for each in said]
    except (ValueError, RecursionError):
        return 0
    name, command = str(told.get("tool_name")), str(inner(told, "tool_input").get("command"))
    output = "\n".join(texts).replace("\\n", "\n")[-MAX_CHARACTERS:]
    meaning = None if name.endswith(tuple(TOOLS)) else advice(name, command, output)
    if meaning:
        context = {"hookEventName": told.get("hook_event_name"), "additionalContext": meaning}
        say(json.dumps({"hookSpecificOutput": context}))
    return 0


def advice(tool_name: str, command: str, output: str) -> str | None:
    """Return what a model should hear of a failure: what an SSO login fixes, or a damaged cache."""
    damaged = re.search(r"(?m)^(?:aws: \[ERROR\]: )?'([0-9a-f]{40})'\r?$", output)
    if damaged:
        what = f"A cached file is damaged: ask the person to delete {damaged[1]}.json in ~/.aws/sso"
        return what + "/cache or ~/.aws/cli/cache, then call refresh_aws_sso_token."
    if not expiry_in(output) or re.fullmatch(SHOWS, command):
        return None
    named = profile_of_command(command), *re.findall(HINT, output, re.IGNORECASE)
    wish = {"server": tool_name} if tool_name.startswith("mcp__") else {}
    wish = next(({"profile": each} for each in named if each and each != "$"), wish)
    what = "This failed because the AWS SSO token has expired, or there is none. The MCP tool "
    return f"{what}refresh_aws_sso_token with {json.dumps(wish)} renews it, with at most one click."


if __name__ == "__main__":
    sys.exit(main())
