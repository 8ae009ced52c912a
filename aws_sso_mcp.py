#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""AWS SSO MCP: refreshes expired AWS SSO tokens for AI assistants.

A Model Context Protocol (MCP) server over stdio. When a command of an assistant fails
because the AWS SSO (IAM Identity Center) token has expired, the assistant calls one
tool, the user approves one page in the browser, and the assistant goes on.
It needs Python 3.9 or newer and the AWS CLI v2, nothing else.

    claude mcp add -s user aws-sso -- python3 -IS /path/to/aws_sso_mcp.py
    python3 -IS /path/to/aws_sso_mcp.py --help

What it does to your machine:

reads    the AWS configuration (~/.aws/config and ~/.aws/credentials); the token files
         of the configured sessions (their expiry: no token is kept, shown or sent);
         after an error that the AWS CLI does not explain, its cached client
         registration and role credentials (whether they are damaged); the CA bundle
         that AWS_CA_BUNDLE names; the configuration files of MCP clients, when a call
         names an MCP server; on Linux, from /proc, which display and which SSH session
         the client has
runs     the AWS CLI: aws sso login, aws sts get-caller-identity, aws configure
         export-credentials and list-profiles (the stdout of the last two is discarded:
         it could hold credentials); this Python, to open the sign-in page
writes   ~/.aws/sso/aws-sso-mcp/: for each session a lock file, so that all programs
         share one login, and an AWS configuration for refreshing a token silently;
         the AWS CLI writes the token file
network  nothing: the AWS CLI does every exchange of tokens

All of this is done in one section, "The outside world". It also holds the tables of the
commands that may be started and of the files that may be read and written. The other
sections work on text and data. A test checks that. The test catches mistakes, not
malice: to be sure, read that section, and look for `import` and `os.` in the others.

The sections, each of which uses only those above it: Errors and settings, The outside
world, AWS configuration, Token cache, MCP clients, Choosing a profile, Failures, Login,
Tools (add a new tool here), Hook, MCP, Command line.
"""

from __future__ import annotations

# Only what `initialize` and `tools/list` need. Everything else is imported where it is
# used, so that the server starts fast.
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
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if sys.version_info < (3, 9):  # noqa: UP036 - a clear message for old Pythons
    sys.exit(
        "aws_sso_mcp.py needs Python 3.9 or newer; this is " + sys.version.split()[0]
    )

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Container, Iterable, Iterator
    from collections.abc import Mapping, Sequence  # isort: skip
    from pathlib import Path
    from typing import Any, NoReturn, TextIO

    Json = dict[str, Any]

__version__ = "0.1.0"

MEBIBYTE = 1024 * 1024
MAX_LINE_BYTES = 4 * MEBIBYTE  # of a message on stdin
MAX_OUTPUT_BYTES = 64 * 1024  # kept of each stream of a command; a login prints 1 kB
MAX_CALLS = 256  # tool calls that run at the same time
MAX_SHOWN = 10  # profiles, sessions, problems or candidates in one answer

COMMAND_LIMIT_S = 30  # for a command that does not wait for the user
LOGIN_LIMIT_S = 11 * 60  # AWS itself ends a login after 10 minutes
UNWANTED_AFTER_S = 30  # how long work goes on after its last call was cancelled
POLL_INTERVAL_S = 0.25  # between two looks at a process, a lock or the token file
GRACE_S = 0.5  # for a login to end by itself, and for output that is still in a pipe
LAST_ANSWERS_MS = (
    50  # for a client that has closed our stdin, to read what is in stdout
)

# --- Errors and settings ----------------------------------------------------------------


class Failure(Exception):
    """Something that the model and the user must hear of.

    `reason` is a stable word for programs, such as "network". The message says what
    happened and what to do next. `unusable_profile` is a profile that cannot be used:
    the answer then offers other profiles. `candidates` are profiles to choose from.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        unusable_profile: str | None = None,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.unusable_profile = unusable_profile
        self.candidates = candidates


class JsonRpcError(Exception):
    """A request that is answered with a JSON-RPC error instead of a result."""

    def __init__(self, code: int, message: str, data: Json | None = None) -> None:
        super().__init__(message)
        self.body: Json = {"code": code, "message": message}
        if data is not None:
            self.body["data"] = data


def internal_error(error: Exception) -> Failure:
    """Return the Failure for a bug in this file: its line and the kind of exception.

    The text of the exception is left out, because it could hold a secret.
    """
    # Not `__file__`, which has another value when the file runs from a .pyc.
    own_file = internal_error.__code__.co_filename
    line_number = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == own_file:
            line_number = traceback.tb_lineno
        traceback = traceback.tb_next
    return Failure(
        "internal_error",
        f"Internal error in aws_sso_mcp.py (line {line_number}: "
        f"{type(error).__name__}). Report this bug, then continue.",
    )


class Setting(NamedTuple):
    """An environment variable that configures this server."""

    name: str
    pattern: str  # the whole value must match this regular expression
    expected: str  # the same in words, for a warning
    default: str | None
    help: str  # for --help


ANY_VALUE = r"(?s).+"

SETTINGS = (
    Setting(
        "AWS_SSO_MCP_PROFILE",
        ANY_VALUE,
        "a profile",
        None,
        "default profile; overrides AWS_PROFILE",
    ),
    Setting(
        "AWS_SSO_MCP_LOGIN",
        "browser|device",
        "`browser` or `device`",
        None,
        "browser or device, if the automatic choice is wrong",
    ),
    Setting(
        "AWS_SSO_MCP_WAIT_SECONDS",
        r"\d{1,4}(\.\d+)?",
        "a number of seconds",
        "50",  # most clients give up after 60 s
        "how long a tool call waits for the user",
    ),
    Setting("AWS_SSO_MCP_AWS_CLI", ANY_VALUE, "a path", None, "path of the AWS CLI v2"),
)


def get_variable(name: str) -> str | None:
    """Return an environment variable; None if it is unset, empty or unexpanded.

    Some clients pass on `${NAME}` as it is when NAME is not set.
    """
    value = os.environ.get(name, "")
    if value == "" or value.startswith("${"):
        return None
    return value


def get_setting(name: str) -> str | None:
    """Return a setting, or its default; None if it has neither."""
    for setting in SETTINGS:
        if setting.name == name:
            value = get_variable(name)
            if value is not None and re.fullmatch(setting.pattern, value):
                return value
            return setting.default
    raise KeyError(name)


def setting_warnings() -> list[str]:
    """Return a warning for each setting whose value is invalid and therefore ignored."""
    warnings = []
    for setting in SETTINGS:
        value = get_variable(setting.name)
        if value is not None and not re.fullmatch(setting.pattern, value):
            warnings.append(
                f"{setting.name}={sanitize(value)!r} is not valid and is ignored: "
                f"use {setting.expected}."
            )
    return warnings


# Regular expressions are compiled where they are first used: none at the start.

# Any name of a profile or a server: no control characters, no lone surrogates.
ANY_NAME = r"[^\0-\x1f\x7f\ud800-\udfff]{0,512}"
# A name without variables ($NAME, %NAME%) or commands (`...`) that are yet to be expanded.
LITERAL_NAME = rf"(?!\s*\Z)(?!.*[$`%]){ANY_NAME}"
NOT_SANITIZED = r"[^A-Za-z0-9._/~@+:-]+"
MAX_SANITIZED = 64  # characters
SIMILAR = 0.6  # ratio of difflib from which one name may be a typo of the other


def sanitize(name: str, known: Container[str] = ()) -> str:
    """Return a name as an answer shows it: unchanged if it is one of `known`.

    Any other name may come from a file of a project, and may hold sentences for the
    model that reads the answer. So everything but a few characters becomes `?`.
    """
    if name in known:
        return name
    return re.sub(NOT_SANITIZED, "?", name)[:MAX_SANITIZED]


def quote_names(names: Iterable[str]) -> str:
    """Return names for a message: 'a', 'b'."""
    return ", ".join(repr(name) for name in names)


def closest_names(name: str, names: Collection[str], cutoff: float = 0.0) -> list[str]:
    """Return at most five of `names`, the best matches first.

    Each of them is compared as a whole, by each of its words, and by its beginning.
    `cutoff` is the least ratio of similarity, from 0 to 1.
    """
    from difflib import get_close_matches

    names_by_form: dict[str, list[str]] = {}

    def add_form(form: str, of_name: str) -> None:
        names_by_form.setdefault(form.casefold()[:MAX_SANITIZED], []).append(of_name)

    for candidate in names:
        add_form(candidate, candidate)
        for word in re.split(r"[\W_]+", candidate):
            add_form(word, candidate)
    # Last, so that whole names and words are found before beginnings.
    for candidate in names:
        add_form(candidate[: len(name)], candidate)

    wanted = name.casefold()[:MAX_SANITIZED]
    found: list[str] = []
    for form in get_close_matches(wanted, names_by_form, 50, cutoff):
        for candidate in names_by_form[form]:
            if candidate not in found:
                found.append(candidate)
    return found[:5]


def object_at(content: Any, *keys: str) -> Json:
    """Return the object below these keys of parsed JSON; {} if there is none."""
    for key in keys:
        if not isinstance(content, dict):
            return {}
        content = content.get(key)
    if not isinstance(content, dict):
        return {}
    return content


def text_value(values: Json, key: str) -> str | None:
    """Return a value that is text; None if it is missing, empty or something else."""
    value = values.get(key)
    if not isinstance(value, str) or value == "":
        return None
    return value


# --- The outside world ------------------------------------------------------------------
#
# The only code that looks at files, starts or ends programs, looks at other processes,
# takes locks, handles signals or owns the client's pipes (but "Command line" prints, and
# reads the event for the hook). First the tables: the programs that may be started, the
# files that are read and written.


class Command(NamedTuple):
    """A program that may be started. Its path is found at run time."""

    arguments: tuple[str, ...]  # {name}: a value that is filled in
    kept_output: tuple[str, ...]  # streams that are read; the others are discarded
    # When this process exits, it kills the program. Does it kill its children too?
    kills_children: bool = True


STDOUT, STDERR = "stdout", "stderr"
OPEN_PAGE_SCRIPT = "import sys, webbrowser; webbrowser.open(sys.argv[1])"

COMMANDS = {
    # The AWS CLI (see `find_aws_cli`). No command of it may ask questions.
    # Prints the URL of the sign-in page and the user code, waits for the user, and
    # writes the token file.
    "sso_login": Command(
        ("sso", "login", "--profile={profile}", "--no-browser", "--no-cli-auto-prompt"),
        (STDOUT, STDERR),
    ),
    # The same for a user whose browser is on another machine.
    "sso_login_with_device_code": Command(
        (
            "sso", "login", "--profile={profile}", "--no-browser", "--use-device-code",
            "--no-cli-auto-prompt",
        ),
        (STDOUT, STDERR),
    ),
    # Refreshes the token, if it has to. Its stdout would hold role credentials.
    "export_credentials": Command(
        (
            "configure", "export-credentials", "--profile={profile}",
            "--no-cli-auto-prompt",
        ),
        (STDERR,),
    ),
    # Prints the account and the ARN of the caller as JSON.
    "get_caller_identity": Command(
        (
            "sts", "get-caller-identity", "--output=json", "--profile={profile}",
            "--no-cli-auto-prompt",
        ),
        (STDOUT, STDERR),
    ),
    # Shows whether the AWS CLI is version 1, which does not know this command.
    "list_profiles": Command(
        ("configure", "list-profiles", "--no-cli-auto-prompt"),
        (STDERR,),
    ),
    # This Python: opens the sign-in page. The browser that it starts outlives us.
    "open_page": Command(
        ("-IS", "-c", OPEN_PAGE_SCRIPT, "{url}"),
        (),
        kills_children=False,
    ),
}  # fmt: skip


class ReadableFiles(NamedTuple):
    """A kind of files that is read. The code enforces only the size: callers name paths."""

    where: str
    max_bytes: int


READ_FILES = {
    "aws_config": ReadableFiles(
        "~/.aws/config and ~/.aws/credentials, or the files that AWS_CONFIG_FILE and"
        " AWS_SHARED_CREDENTIALS_FILE name",
        16 * MEBIBYTE,  # 5,000 profiles take 1 MiB
    ),
    "aws_cache": ReadableFiles(
        "~/.aws/sso/cache/HASH.json and ~/.aws/cli/cache/HASH.json of configured profiles",
        64 * 1024,
    ),
    "ca_bundle": ReadableFiles("the file that AWS_CA_BUNDLE names", 16 * MEBIBYTE),
    "client_config": ReadableFiles(
        "configuration files of MCP clients (CLIENT_FILES), and env files that they name",
        2 * MEBIBYTE,
    ),
    "process": ReadableFiles(
        "/proc/PID/status and /proc/PID/environ of the MCP client (Linux)", MEBIBYTE
    ),
    "lock": ReadableFiles("~/.aws/sso/aws-sso-mcp/HASH.json", 64 * 1024),
}

# Below ~/.aws/sso/aws-sso-mcp. HASH is that of the session's token file.
WRITTEN_FILES = {
    "lock": "{hash}.json",  # locked during a refresh; holds what others may tell users
    "refresh_config": "{hash}.config",  # the AWS configuration for a silent refresh
}

# Environment variables that no child gets, because they load foreign code or log secret
# keys. `NAME=` is a whole name, anything else the beginning of names. It is a denylist,
# because nobody knows all the variables that a browser needs.
DENIED_VARIABLES = (
    "LD_", "DYLD_", "PYTHON", "PERL", "RUBY", "NODE_", "BASH", "SHELLOPTS=", "ENV=", "PS4=",
    "ZDOTDIR=", "GCONV_PATH=", "OPENSSL_", "JAVA_TOOL_OPTIONS=", "_JAVA_OPTIONS=", "GIO_",
    "GTK_MODULES=", "GTK3_MODULES=", "GTK_PATH=", "GTK_EXE_PREFIX=", "GTK_IM_MODULE_FILE=",
    "GDK_PIXBUF_MODULE", "QT_PLUGIN_PATH=", "QT_QPA_PLATFORM_PLUGIN_PATH=", "QML", "SSLKEYLOG",
    # All but ALLOWED_AWS_VARIABLES: they could choose another profile or another server.
    "AWS_",
)  # fmt: skip
AWS_PATH_VARIABLES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE")
ALLOWED_AWS_VARIABLES = (
    *AWS_PATH_VARIABLES,
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)
SAFE_PATH = "/usr/bin:/bin"  # PATH of a child if no folder of ours can be trusted

# What tells that the user sits at another machine, and that there is a screen.
REMOTE_VARIABLES = ("SSH_CONNECTION", "SSH_TTY", "CODESPACES", "REMOTE_CONTAINERS")
SCREEN_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
# What a browser needs beside the screen.
DESKTOP_VARIABLES = (
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "WSL_INTEROP",
)
# Programs that may stand between the client and us, as /proc/PID/status names them.
LAUNCHERS = (
    "sh", "bash", "dash", "zsh", "fish", "env", "npx", "npm", "uvx", "uv", "pipx",
)  # fmt: skip
MAX_LAUNCHERS = 4

IS_POSIX = os.name == "posix"
MACOS_ADMIN_GROUP = 80  # shares /opt/homebrew
# Windows has neither flag.
DO_NOT_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO does not block
DO_NOT_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # opening a link fails
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")

# Paths


def to_path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def home_folder() -> Path:
    """Return the user's home folder. Raises Failure `no_home`."""
    text = os.path.expanduser("~")  # noqa: PTH111 - Path raises other things in 3.9
    path = to_path(text)
    if not path.is_absolute():
        raise Failure(
            "no_home",
            "There is no home folder. Set HOME (Windows: USERPROFILE), then reconnect.",
        )
    return path


def working_folder() -> Path:
    """Return the current folder; the null device if it has been deleted."""
    try:
        return to_path(os.getcwd())  # noqa: PTH109 - as above
    except OSError:  # for example a git worktree that was removed
        return to_path(os.devnull)


def expand_path(text: str) -> Path:
    """Return the path that a user has written with `$NAME` or `~`."""
    return to_path(os.path.expanduser(os.path.expandvars(text)))  # noqa: PTH111


def absolute_path(text: str) -> Path:
    return working_folder() / expand_path(text)


def path_folders() -> list[str]:
    """Return the entries of PATH as they are written."""
    text = os.environ.get("PATH", "")
    return text.replace('"', "").split(os.pathsep)  # Windows allows quotes


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; False if that cannot be seen."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Return whether there is anything, also a link that leads nowhere."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


# Files


def read_file(path: Path, kind: str) -> bytes | None:
    """Return what a file of READ_FILES holds; None if there is none.

    Raises Failure `config_unreadable`, also for what is no regular file, or too large.
    """
    max_bytes = READ_FILES[kind].max_bytes
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            what = f"it is not a regular file of at most {max_bytes // 1024} KiB"
            raise OSError(errno.EINVAL, what)
        with open(path, "rb", opener=open_without_waiting) as file:
            return file.read(max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # a NUL in the path
        return None
    except OSError as error:
        what = f"Cannot read {path}: {error.strerror}. Fix this, then try again."
        raise Failure("config_unreadable", what) from error


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file, and do not hang if somebody has just put a FIFO there."""
    return os.open(path, flags | DO_NOT_WAIT)


def own_path(kind: str, file_hash: str) -> Path:
    """Return the path of one of WRITTEN_FILES."""
    name = WRITTEN_FILES[kind].format(hash=file_hash)
    return home_folder() / ".aws" / "sso" / "aws-sso-mcp" / name


def write_file(kind: str, file_hash: str, text: str) -> None:
    """Write one of WRITTEN_FILES, in a folder that exists. Raises OSError."""
    path = own_path(kind, file_hash)
    # In the locale's encoding, as the AWS CLI reads its configuration.
    with open(path, "w", opener=open_own_file) as file:
        file.write(text)


def open_own_file(path: str, flags: int) -> int:
    """Open one of our own files: only this user may read it, and it is never a link."""
    return os.open(path, flags | DO_NOT_WAIT | DO_NOT_FOLLOW, 0o600)


def modified_at(path: Path) -> float:
    """Return when a file was last written, in epoch seconds; 0 if there is none."""
    try:
        return path.stat().st_mtime
    except (OSError, ValueError):
        return 0


# A search through the files of MCP clients

MAX_SEARCHED_FILES = 300
MAX_SEARCHED_BYTES = 8 * MEBIBYTE
SEARCH_LIMIT_S = 2


class SearchBudget:
    """What one search through clients' files may still cost. Used by one thread only.

    Asked before each file and each entry of a folder, so that a project with a million
    files costs no more than these limits.
    """

    def __init__(self, is_cancelled: Callable[[], bool] | None) -> None:
        self.is_spent = False  # the search ended before everything was read
        self._is_cancelled = is_cancelled
        self._files_left = MAX_SEARCHED_FILES
        self._bytes_left = MAX_SEARCHED_BYTES
        self._deadline = time.monotonic() + SEARCH_LIMIT_S

    def has_time(self) -> bool:
        """Return False once the time is over. Raises Failure `cancelled`."""
        if self._is_cancelled is not None and self._is_cancelled():
            raise Failure("cancelled", "The client cancelled this call.")
        is_in_time = time.monotonic() <= self._deadline
        if not is_in_time:
            self.is_spent = True
        return is_in_time

    def allows_more(self) -> bool:
        """Return False once a limit is reached. Raises Failure `cancelled`."""
        # What is left must hold a file of any size, so that the limit is never exceeded.
        if (
            self._files_left < 1
            or self._bytes_left < READ_FILES["client_config"].max_bytes
        ):
            self.is_spent = True
        return self.has_time() and not self.is_spent

    def read_client_text(self, path: Path) -> str:
        """Return what a file holds, "" without a file or when the budget is spent.

        Raises ValueError for a file that cannot be read or is no UTF-8.
        """
        if not self.allows_more():
            return ""
        try:
            content = read_file(path, "client_config")
        except Failure as failure:
            self._files_left -= 1
            raise ValueError("The file cannot be read") from failure
        if content is None:
            return ""
        self._files_left -= 1
        self._bytes_left -= len(content)
        return content.decode("utf-8-sig")


def matching_files(folder: Path, pattern: str, budget: SearchBudget) -> Iterator[Path]:
    """Yield paths below a folder that fit a pattern, in the order in which they are found.

    One `*` in a part of the pattern stands for any text. A part without it is taken as it
    is: that a file is there is for its reader to find out. No folder is read as a whole.
    """
    part, _, rest = pattern.partition("/")
    names: Iterable[str] = [part]
    if "*" in part:
        names = matching_names(folder, part, budget)
    for name in names:
        if rest:
            yield from matching_files(folder / name, rest, budget)
        else:
            yield folder / name


def matching_names(folder: Path, pattern: str, budget: SearchBudget) -> Iterator[str]:
    """Yield the names in a folder that fit a pattern with one `*`."""
    start, _, end = pattern.partition("*")
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not budget.allows_more():
                    return
                name = entry.name
                is_long_enough = len(name) >= len(start) + len(end)
                if is_long_enough and name.startswith(start) and name.endswith(end):
                    yield name
    except (OSError, ValueError):  # no folder, or not ours to read; a NUL in its path
        return


# Locks


class FileLock:
    """An OS lock on a file of ours, seen by all processes on this machine.

    A child that inherits `fd` holds the lock too (not on Windows).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock; True if we hold it now, also if we did. Raises OSError."""
        if self._holds_current_file():
            return True
        self.release()
        # The folder may have been deleted meanwhile.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.fd = open_own_file(str(self.path), os.O_RDWR | os.O_CREAT)
        if lock_file(self.fd) and self._holds_current_file():
            return True
        self.release()
        return False

    def _holds_current_file(self) -> bool:
        """Return whether our open file is the one that is at `path` now."""
        if self.fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self.fd), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def is_locked(path: Path) -> bool:
    """Return whether any process holds the lock on a file of ours."""
    try:
        fd = open_own_file(str(path), os.O_RDWR)
    except OSError:  # no login has run on this machine yet
        return False
    try:
        return not lock_file(fd, shared=True)
    except OSError:
        return False
    finally:
        os.close(fd)


def lock_file(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file; False if another process holds the lock. Raises OSError."""
    if try_lock(fd, shared=shared):
        return True
    time.sleep(0.02)  # another process may only be looking, in `is_locked`
    return try_lock(fd, shared=shared)


def try_lock(fd: int, *, shared: bool) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(
            fd, 16 * MEBIBYTE, os.SEEK_SET
        )  # a byte behind the end: nobody reads it
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    import fcntl

    operation = fcntl.LOCK_EX
    if shared:
        operation = fcntl.LOCK_SH
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


# The user, and the client's environment


def is_elevated() -> bool:
    """Return whether we run with another user's rights: setuid, sudo, doas or pkexec."""
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return True
    for name in ("SUDO_UID", "DOAS_USER", "PKEXEC_UID"):
        if os.environ.get(name):
            return True
    return False


def client_environment() -> dict[str, str]:
    """Return what the client's environment tells of a screen and of an SSH session.

    Many clients pass on only a few variables. Linux shows the environment of our parent.
    On other systems, and when we are elevated, the result is empty.
    """
    if sys.platform != "linux" or is_elevated():
        return {}
    names = [*REMOTE_VARIABLES, "DISPLAY", "WAYLAND_DISPLAY"]
    if os.getuid() != 0:
        # Root takes none of these: `su` and `sudo` may leave the former user's variables,
        # and these may name programs.
        names += ["BROWSER", *DESKTOP_VARIABLES]
    found: dict[str, str] = {}
    try:
        for environment in ancestor_environments():
            for name in names:
                if (
                    environment.get(name) and name not in found
                ):  # the nearest one counts
                    found[name] = environment[name]
    except (Failure, OSError, ValueError, LookupError):
        pass  # no /proc, or the client has just ended
    return found


def ancestor_environments() -> Iterator[dict[str, str]]:
    """Yield the environment of our parent, and while that is a launcher, of its parent.

    Raises Failure, OSError, ValueError or LookupError where /proc cannot be read.
    """
    if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
        return  # /proc is that of another PID namespace: its numbers are not ours
    pid = str(os.getppid())
    for _ in range(1 + MAX_LAUNCHERS):
        status = process_status(pid)
        user_ids = set(status["Uid"].split())  # real, effective, saved, file system
        if user_ids != {str(os.getuid())}:
            return
        yield process_environment(pid)
        if status["Name"].split()[0] not in LAUNCHERS:
            return
        pid = status["PPid"].strip()


def process_status(pid: str) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    content = read_file(to_path(f"/proc/{pid}/status"), "process")
    fields = {}
    for line in os.fsdecode(content or b"").splitlines():
        name, value = line.split(":", 1)
        fields[name] = value
    return fields


def process_environment(pid: str) -> dict[str, str]:
    """Return the environment that a process was started with."""
    content = read_file(to_path(f"/proc/{pid}/environ"), "process")
    variables = {}
    for entry in os.fsdecode(content or b"").split("\0"):
        name, _, value = entry.partition("=")
        variables[name] = value
    return variables


# Which programs may be run


class Trusted(NamedTuple):
    """Who may be able to change a program that we run."""

    users: set[int]
    groups: set[int]
    projects: set[tuple[int, int]]  # folders (device, inode) that may not hold programs


def find_programs(
    names: Sequence[str], places: Sequence[str]
) -> Iterator[tuple[Path, str | None]]:
    """Yield each program of these names: its path, and why it may not be run (or None).

    First in the folders of PATH, then at `places`, which are whole paths.
    """
    paths = []
    for folder in path_folders():
        for name in names:
            paths.append(to_path(folder) / name)
    for place in places:
        paths.append(expand_path(place))
    for path in paths:
        if exists(path) and not is_folder(path):
            yield path, path_problem(path)


def path_problem(path: Path, *, chosen_by_user: bool = False) -> str | None:
    """Return why a program, or a folder with programs, is not trusted; None if it is.

    Every folder and link on the way is checked: whoever can change one of them chooses
    what runs. A program that the user has chosen may be owned or written by other users,
    but not by everybody.
    """
    if not path.is_absolute():  # on Windows also `/x`: it depends on the current drive
        return "is not an absolute path"
    if not os.access(path, os.X_OK):
        return "is not an executable file"
    if chosen_by_user and is_folder(path):
        return "is not an executable file"
    try:
        target = path.resolve()
        own_folder = target.parent
        if is_folder(target):
            own_folder = target
        trusted = trusted_owners()
        # `steps_to` follows links; on Windows only `resolve` follows junctions.
        for step, status in (*steps_to(path), *steps_to(target)):
            mode = writable_mode(status, is_own_folder=step == own_folder)
            problem = None
            if mode & stat.S_IWOTH:
                problem = "can be changed by every user; run `chmod o-w` on it"
            elif not chosen_by_user:
                problem = ownership_problem(step, status, mode, trusted)
            if problem is not None:
                return f"{problem} ({step})"
    except (OSError, RuntimeError) as error:  # somebody is changing it just now
        return f"cannot be checked: {error}"
    return None


def writable_mode(status: os.stat_result, *, is_own_folder: bool) -> int:
    """Return a file's mode; 0 if its bits for writing do not matter."""
    mode = status.st_mode
    if not IS_POSIX or stat.S_ISLNK(mode):
        return 0
    # In a sticky folder such as /tmp nobody can replace what others own. But they can add
    # files, so the folder that holds the program itself counts.
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and not is_own_folder:
        return 0
    return mode


def ownership_problem(
    step: Path, status: os.stat_result, mode: int, trusted: Trusted
) -> str | None:
    """Return why a folder, link or file on the way to a program is not the user's own."""
    if step.name.lower() == "node_modules" or file_identity(status) in trusted.projects:
        return "is part of a project"
    if status.st_uid not in trusted.users:
        return "belongs to another user"
    if mode & stat.S_IWGRP and status.st_gid not in trusted.groups:
        return "can be changed by other users of its group"
    return None


def file_identity(status: os.stat_result) -> tuple[int, int]:
    """Return what is the same for two paths of one file."""
    return status.st_dev, status.st_ino


def steps_to(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each folder and link on the way to `path`, then what is there.

    Links are followed by hand, so that folders behind them are seen too. Raises OSError.
    """
    place = root_of(path)
    names = list(reversed(path.parts[1:]))  # still to walk, the next one last
    while names:
        name = names.pop()
        if name == "..":
            place = place.parent
            continue
        step = place / name
        status = step.lstat()
        yield step, status
        if not stat.S_ISLNK(status.st_mode):
            place = step
            continue
        step.stat()  # raises OSError if links lead in a circle
        target = step.readlink()
        parts = target.parts
        if target.anchor:
            place = root_of(place / target)
            parts = parts[1:]
        names += reversed(parts)


def root_of(path: Path) -> Path:
    """Return the root folder of an absolute path, with its drive on Windows."""
    return to_path(path.anchor)


def trusted_owners() -> Trusted:
    """Return the users, groups and projects that matter for programs that we run."""
    users = {0}
    groups = {0}
    if IS_POSIX:
        users |= trusted_users()
        groups |= trusted_groups()
    return Trusted(users, groups, project_folders())


def trusted_users() -> set[int]:
    users = {os.geteuid()}
    # In a user namespace, such as that of a rootless container, the system's root is shown
    # as 65534. Whoever owns the system is trusted, and for root who owns root's home.
    system_folders = [to_path("/"), to_path("/usr")]
    if os.geteuid() == 0 and not is_elevated():
        system_folders.append(home_folder())
    for folder in system_folders:
        if is_folder(folder):
            users.add(folder.stat().st_uid)
    if sys.platform == "darwin":
        import grp
        import pwd

        for name in grp.getgrgid(MACOS_ADMIN_GROUP).gr_mem:
            with contextlib.suppress(KeyError):
                users.add(pwd.getpwnam(name).pw_uid)
    return users


def trusted_groups() -> set[int]:
    """Return the user's own group, if nobody else is in it, and that of macOS' admins.

    Many systems give each user a group of the same name, with no other member.
    """
    import grp
    import pwd

    groups = set()
    try:
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(user.pw_gid)
        if {group.gr_name, *group.gr_mem} == {user.pw_name}:
            groups.add(group.gr_gid)
    except KeyError:  # a user without a name
        pass
    if sys.platform == "darwin":
        groups.add(MACOS_ADMIN_GROUP)
    return groups


def project_folders() -> set[tuple[int, int]]:
    """Return the folders of the project that the client works in.

    That is the current folder and CLAUDE_PROJECT_DIR, unless it is the home or above it.
    """
    folders = [to_path(os.curdir)]
    named_folder = get_variable("CLAUDE_PROJECT_DIR")
    if named_folder is not None:
        folders.append(to_path(named_folder))
    projects = set()
    for folder in folders:
        if is_folder(folder):
            projects.add(file_identity(folder.stat()))
    for _, status in steps_to(home_folder()):
        projects.discard(file_identity(status))
    return projects


# Programs


def child_environment() -> dict[str, str]:
    """Return the environment for a program that we start.

    Ours and what the client's tells of a screen, without what could load foreign code or
    mislead the AWS CLI.
    """
    environment: dict[str, str] = {}
    for name, value in {**client_environment(), **os.environ}.items():
        if name in ALLOWED_AWS_VARIABLES:
            if get_variable(name) is None:  # empty, or not expanded by the client
                continue
            environment[name] = value
            if name in AWS_PATH_VARIABLES:
                # The child runs in another folder.
                environment[name] = str(absolute_path(value))
        elif not f"{name}=".startswith(DENIED_VARIABLES):
            environment[name] = value

    folders = []
    for folder in path_folders():
        path = to_path(folder)
        if is_folder(path) and path_problem(path) is None:
            folders.append(folder)
    # An empty PATH would mean the current folder.
    environment["PATH"] = os.pathsep.join(folders) or SAFE_PATH
    # An `endpoint_url` in the configuration must not send tokens to another server.
    environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    return environment


# Guards `_processes`. Held while a program starts, so that our exit cannot miss it.
_process_lock = threading.Lock()
_processes: list[Process] = []  # those that run, and some that have ended


class Process:
    """A program of COMMANDS that runs.

    It has no stdin, the home as its folder, and an environment and a process group of its
    own. `output` grows while it prints. Nothing waits for the end of its pipes, because
    programs that it has started may keep them open.
    """

    def __init__(
        self,
        command: str,
        program: Path,
        values: Mapping[str, str],
        *,
        variables: Mapping[str, str] | None = None,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        """Start `program` with the arguments of COMMANDS[command].

        `values` fill the placeholders, `variables` are added to the environment.
        Raises Failure `aws_cli_failed` or `no_thread`.
        """
        import subprocess

        row = COMMANDS[command]
        self.argv = [str(program)]
        for argument in row.arguments:
            self.argv.append(argument.format(**values))
        self.output = {STDOUT: "", STDERR: ""}
        self.exit_code: int | None = None  # None while it runs, and if it was killed
        self._kills_children = row.kills_children
        self._job: WindowsJob | None = None
        self._news = threading.Event()  # set when it has printed, and when it has ended

        streams = {STDOUT: subprocess.DEVNULL, STDERR: subprocess.DEVNULL}
        for stream in row.kept_output:
            streams[stream] = subprocess.PIPE
        environment = child_environment()
        environment.update(variables or {})
        creation_flags = 0
        if not IS_POSIX:
            creation_flags = (
                CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW
            )
        try:
            with _process_lock:
                # The arguments are a list: no shell reads them.
                self._popen = subprocess.Popen(  # noqa: S603
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=streams[STDOUT],
                    stderr=streams[STDERR],
                    cwd=home_folder(),
                    env=environment,
                    pass_fds=inherited_fds,
                    start_new_session=True,
                    creationflags=creation_flags,
                )
                if not IS_POSIX:
                    self._job = WindowsJob(self._popen, kills=self._kills_children)
                forget_ended_processes()
                _processes.append(self)
        except (OSError, ValueError) as error:
            what = f"Cannot start {program}: {error}. Fix this, then try again."
            raise Failure("aws_cli_failed", what) from error
        try:
            # Each ends with its pipe and the program; `finish` waits for them a moment.
            self._readers = [
                start_thread(self._read, STDOUT, self._popen.stdout),
                start_thread(self._read, STDERR, self._popen.stderr),
            ]
        except Failure:
            self.kill()
            raise

    def _read(self, stream: str, pipe: Any) -> None:
        """Keep the beginning of what it prints, and wait for its end."""
        content = b""
        if pipe is not None:
            with pipe:
                while True:
                    chunk = os.read(pipe.fileno(), 65536)
                    if chunk == b"":
                        break
                    content = (content + chunk)[:MAX_OUTPUT_BYTES]
                    text = content.decode("utf-8", "replace")
                    self.output[stream] = text.replace("\r", "")
                    self._news.set()
        self._popen.wait()
        self._news.set()

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for output or the end; return whether it still runs."""
        self._news.wait(seconds)
        self._news.clear()
        return self.is_running()

    def finish(self) -> None:
        """Kill it if it still runs, else take its exit code; take its last output."""
        self.exit_code = self._popen.poll()
        self.kill()
        for reader in self._readers:
            reader.join(GRACE_S)

    def kill(self) -> None:
        """Kill it, and everything that it has started (but not the browser)."""
        if IS_POSIX and self._kills_children and self.is_running():
            # The AWS CLI can block or ignore every other signal.
            with contextlib.suppress(OSError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        if self._job is not None:
            self._job.close()
        with contextlib.suppress(OSError):
            self._popen.kill()


def forget_ended_processes() -> None:
    """Remove the processes that have ended. `_process_lock` is held."""
    for process in list(_processes):
        if not process.is_running():
            _processes.remove(process)


# Flags of CreateProcess: do not run yet, no Ctrl+C from our console, no window.
CREATE_SUSPENDED = 0x00000004
CREATE_NEW_PROCESS_GROUP = 0x00000200
CREATE_NO_WINDOW = 0x08000000
JOB_OBJECT_EXTENDED_LIMIT_INFORMATION = 9  # a class of SetInformationJobObject
JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE = 0x00002000


class WindowsJob:
    """A job object: Windows ends all of its processes when its handle is closed.

    When this process ends, however it does, Windows closes the handle.
    """

    def __init__(self, popen: Any, *, kills: bool) -> None:
        """Put a suspended process into a new job, and let it run.

        `kills`: whether the processes end with the job.
        """
        import ctypes

        self._kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
        ntdll = ctypes.WinDLL("ntdll")  # type: ignore[attr-defined]
        self._close_once = threading.Lock()  # taken for good by the first who closes
        self._handle = self._kernel32.CreateJobObjectW(None, None)
        limits = job_limits()
        if kills:
            limits.limit_flags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        self._kernel32.SetInformationJobObject(
            self._handle,
            JOB_OBJECT_EXTENDED_LIMIT_INFORMATION,
            ctypes.byref(limits),
            ctypes.sizeof(limits),
        )
        process_handle = int(popen._handle)  # noqa: SLF001 - there is no public way
        self._kernel32.AssignProcessToJobObject(self._handle, process_handle)
        # Only now, when it is in the job, may it start others.
        ntdll.NtResumeProcess(process_handle)

    def close(self) -> None:
        if self._close_once.acquire(blocking=False):
            self._kernel32.CloseHandle(self._handle)


def job_limits() -> Any:
    """Return an empty JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""
    import ctypes

    class JobLimits(ctypes.Structure):
        _fields_ = (
            # JOBOBJECT_BASIC_LIMIT_INFORMATION
            ("per_process_user_time_limit", ctypes.c_int64),
            ("per_job_user_time_limit", ctypes.c_int64),
            ("limit_flags", ctypes.c_uint32),
            ("minimum_working_set_size", ctypes.c_size_t),
            ("maximum_working_set_size", ctypes.c_size_t),
            ("active_process_limit", ctypes.c_uint32),
            ("affinity", ctypes.c_size_t),
            ("priority_class", ctypes.c_uint32),
            ("scheduling_class", ctypes.c_uint32),
            # IO_COUNTERS
            ("io_counters", ctypes.c_uint64 * 6),
            ("process_memory_limit", ctypes.c_size_t),
            ("job_memory_limit", ctypes.c_size_t),
            ("peak_process_memory_used", ctypes.c_size_t),
            ("peak_job_memory_used", ctypes.c_size_t),
        )

    return JobLimits()


def start_thread(function: Callable[..., object], *arguments: Any) -> threading.Thread:
    """Start a daemon thread: this process does not wait for it to exit. Raises Failure."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a limit of the system or of its container
        what = "The system does not allow more threads. Try again later."
        raise Failure("no_thread", what) from None
    return thread


# The client's pipes, signals, our exit


class ClientPipes:
    """stdin and stdout of the MCP client.

    They are moved away from the descriptors 0 and 1, so that nothing else can use them:
    neither a stray `print` nor a child.
    """

    def __init__(self) -> None:
        try:
            os.fstat(1)
            self.stdin = os.dup(0)
            self.stdout = os.dup(1)
        except OSError:
            exit_now(2)
        null_device = os.open(os.devnull, os.O_RDWR)
        os.dup2(null_device, 0)
        if sys.stderr is None:
            os.dup2(null_device, 1)
        else:
            os.dup2(2, 1)

    def read(self) -> bytes:
        """Return some bytes from the client; b"" when it has closed the pipe."""
        try:
            return os.read(self.stdin, 65536)
        except OSError:  # for example a terminal that is gone
            return b""

    def write(self, line: bytes) -> None:
        """Write all of a line. Ends the process when the client is gone."""
        try:
            while line:
                written = os.write(self.stdout, line)
                line = line[written:]
        except OSError:
            exit_now(0)


def write_stderr(text: str) -> None:
    """Write to stderr, if there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            sys.stderr.write(text)


def handle_signals(pipes: ClientPipes | None = None) -> None:
    """Exit on a signal of ENDING_SIGNALS, and when the client is gone."""
    # A handler in Python runs only when the main thread executes byte code, so it can
    # miss a signal that arrives just before a blocking read. Python also writes each
    # signal's number to this pipe, at once; a thread waits there.
    read_end, write_end = os.pipe()
    if IS_POSIX:
        os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)  # not every system has all
        if number is not None:
            signal.signal(number, leave_signal_to_thread)
    # This thread ends with the process.
    start_thread(exit_when_told, read_end, pipes)


def leave_signal_to_thread(*_: object) -> None:
    """Do nothing: `exit_when_told` acts."""


def exit_when_told(signal_pipe: int, pipes: ClientPipes | None) -> None:
    """Exit on a signal, or once the client is gone."""
    if pipes is not None and IS_POSIX:
        exit_without_client(signal_pipe, pipes)
    signal_number = os.read(signal_pipe, 1)[0]
    exit_now(128 + signal_number)


def exit_without_client(signal_pipe: int, pipes: ClientPipes) -> None:
    """Exit once the client has closed stdin and does not read stdout. Return on a signal."""
    import select

    poll = select.poll()
    poll.register(signal_pipe, select.POLLIN)
    # POLLHUP is always reported. Linux' POLLRDHUP also sees a socket that is half closed.
    poll.register(pipes.stdin, getattr(select, "POLLRDHUP", 0))
    if signal_pipe in dict(poll.poll()):
        return
    # stdin is closed. The main thread reads the rest and exits, unless it hangs in a
    # write: when stdout is full, and nobody reads it.
    poll.unregister(pipes.stdin)
    poll.register(pipes.stdout, select.POLLOUT)
    while True:
        ready = dict(poll.poll(LAST_ANSWERS_MS))
        if signal_pipe in ready:
            return
        if not ready:
            exit_now(0)
        time.sleep(LAST_ANSWERS_MS / 1000)


def exit_now(code: int) -> NoReturn:
    """End this process at once: children are killed, threads are not waited for."""
    # The lock is never given back, so that no program can start any more.
    _process_lock.acquire(timeout=1)
    for process in _processes:
        process.kill()
    os._exit(code)


# --- AWS configuration ------------------------------------------------------------------
#
# ~/.aws/config and ~/.aws/credentials, read as botocore reads them.


class AwsConfig(NamedTuple):
    """Both files, merged."""

    path: Path  # of the config file, for messages
    profiles: dict[str, Json]  # by name: {key: text, or a dict of indented lines}
    sso_sessions: dict[str, Json]
    # Hints about sections that AWS tools ignore, such as [Profile dev]: the name in lower
    # case, and a sentence that says what to write instead.
    header_hints: dict[str, str]


class SsoSession(NamedTuple):
    """What one login is for: all of its profiles share one token."""

    name: str | None  # of the sso-session; None for a start URL in a profile itself
    start_url: str
    region: str
    scopes: str = ""


class SsoProfile(NamedTuple):
    """A profile that an SSO login serves."""

    name: str
    login_profile: str  # has the SSO settings: this profile, or the one it leads to
    session: SsoSession
    account_id: str | None  # None, as the role, for a profile that only logs in
    role_name: str | None
    # A profile of the same session that has a role. Its identity proves the token.
    probe_profile: SsoProfile | None = None


def aws_folder(*parts: str) -> Path:
    """Return a path below ~/.aws. AWS_CONFIG_FILE does not move the caches there."""
    return home_folder().joinpath(".aws", *parts)


def read_aws_config() -> AwsConfig:
    """Return what both files say, merged as in botocore.session. Raises Failure."""
    path, text = read_config_text("AWS_CONFIG_FILE", "config")
    config = AwsConfig(path, {}, {}, {})
    for header, values in parse_ini(path, text).items():
        add_section(config, header, values)
    path, text = read_config_text("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    for name, values in parse_ini(path, text).items():
        config.profiles[name] = {**config.profiles.get(name, {}), **values}
    return config


def read_config_text(variable: str, default_name: str) -> tuple[Path, str]:
    """Return the path and the text of the file that `variable` names, or of ~/.aws/NAME.

    The text is decoded as the AWS CLI does it, in the locale's encoding. Raises Failure.
    """
    value = os.environ.get(variable)
    if value is None or value.startswith("${"):  # unset, or not expanded by the client
        path = aws_folder(default_name)
    elif value == "" or value.lower() == os.devnull:  # NUL on Windows
        return to_path(os.devnull), ""
    else:
        path = absolute_path(value)
    content = read_file(path, "aws_config") or b""
    if content.startswith(b"\xef\xbb\xbf"):
        what = "it begins with a byte order mark. Save the file as UTF-8 without one"
        raise unparsable(path, what, 1)
    try:
        return path, io.TextIOWrapper(io.BytesIO(content)).read()
    except UnicodeDecodeError:
        raise unparsable(
            path, "it is not text in the encoding of this machine"
        ) from None


def unparsable(path: Path, what: str, line_number: int | None = None) -> Failure:
    """Return the Failure that names file and line. The line itself may be a secret."""
    where = str(path)
    if line_number is not None:
        where = f"{path}, line {line_number}"
    return Failure(
        "config_unparsable",
        f"AWS tools cannot read {where}: {what}. Fix this, then try again.",
    )


def parse_ini(path: Path, text: str) -> dict[str, Json]:
    """Return {section: {key: value}} as botocore.configloader.raw_config_parse does.

    The value of a key with indented lines below it, such as `s3 =`, is a dict.
    """
    import configparser

    parser = configparser.RawConfigParser()
    # It takes quadratic time for many blanks in a row (`[^\S\n]`: blanks, but no line end).
    text = re.sub(r"[^\S\n]{100,}", " ", text)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        what = (
            "this line is neither `[section]` nor `key = value`,"
            " or it repeats an earlier one"
        )
        raise unparsable(path, what, error_line(error)) from None
    sections: dict[str, Json] = {}
    for name in parser.sections():
        values: Json = dict(parser[name])
        for key, value in values.items():
            if value.startswith("\n"):
                values[key] = parse_indented(path, text, value)
        sections[name] = values
    return sections


def error_line(error: Exception) -> int | None:
    """Return the line of an error of configparser, which keeps it in two ways."""
    number = getattr(error, "lineno", None)
    if number is not None:
        return int(number)
    errors = getattr(error, "errors", None)  # [(line, text), ...]
    if errors:
        return int(errors[0][0])
    return None


def parse_indented(path: Path, text: str, value: str) -> dict[str, str]:
    """Return the dict that indented lines `key = value` stand for."""
    pairs = {}
    for line in value.splitlines():
        if line.strip() == "":
            continue
        key, equals, part = line.partition("=")
        if equals == "":
            what = "this indented line has no `=`"
            raise unparsable(path, what, find_line(text, line))
        pairs[key.strip()] = part.strip()
    return pairs


def find_line(text: str, wanted: str) -> int | None:
    """Return the number of the first line that is `wanted` but for blanks around it."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() == wanted.strip():
            return number
    return None


def add_section(config: AwsConfig, header: str, values: Json) -> None:
    """Add a profile or an sso-session; of a header that is a near miss, a hint."""
    kind, name = parse_header(header)
    if kind == "profile":
        config.profiles[name] = values
    elif kind == "sso-session":
        config.sso_sessions[name] = values
    elif re.fullmatch(ANY_NAME, header) and not TELLING_KEYS.isdisjoint(values):
        add_header_hint(config, header, values)


def parse_header(header: str) -> tuple[str, str]:
    """Return kind and name of a section, ("", "") if botocore ignores it.

    [default] -> "profile", "default"; [profile "a b"] -> "profile", "a b";
    [sso-session corp] -> "sso-session", "corp".
    """
    if header == "default":
        return "profile", "default"
    for kind in ("profile", "sso-session"):
        if header.startswith(kind):  # botocore takes [profiles x] for a profile too
            words = split_as_shell(header)
            if len(words) == 2:  # noqa: PLR2004 - the kind and the name
                return kind, words[1]
    return "", ""


def split_as_shell(text: str) -> list[str]:
    """Return the words of a header; [] if its quotes do not match."""
    import shlex

    if text.isascii() and text.isprintable() and not set(text) & set("\"'\\"):
        return text.split()  # the same as below, and fast for thousands of profiles
    try:
        return shlex.split(text)
    except ValueError:
        return []


HEADER_WORDS = r"(?is)^\s*(?:(profile|sso[-_]session)\s+)?(.+)"
UNQUOTED_NAME = r"[\w.@+:/-]+"


def add_header_hint(config: AwsConfig, header: str, values: Json) -> None:
    """Note how a section such as [dev] or [Profile dev] must be written."""
    words = re.match(HEADER_WORDS, header)
    if words is None:
        return
    kind = words[1]
    name = words[2][:99].strip(" \t\"'")
    if kind:
        is_session = kind.lower().startswith("sso")
    else:
        is_session = "sso_start_url" in values and "sso_account_id" not in values
    right_kind = "profile"
    if is_session:
        right_kind = "sso-session"
    right_name = f'"{name}"'
    if re.fullmatch(UNQUOTED_NAME, name):
        right_name = name
    config.header_hints[name.casefold()] = (
        f" AWS tools ignore the section [{header[:99]}]."
        f" Write [{right_kind} {right_name}]."
    )


SSO_KEYS = {"sso_session", "sso_start_url"}


class ProfileKind(NamedTuple):
    """A kind of profile that has no SSO settings."""

    key: str  # that marks it
    description: str  # what the profile is, and what gives it credentials


OTHER_KINDS = (  # the first one that fits counts
    ProfileKind("aws_access_key_id", "has static keys. New ones come from IAM."),
    ProfileKind(
        "role_arn",
        "assumes a role, but its source is not an SSO profile. Refresh the credentials"
        " of that source.",
    ),
    ProfileKind(
        "login_session", "uses `aws login`. Run that in a terminal."
    ),
    ProfileKind(
        "credential_process",
        "gets its keys from another program. Log in with that program.",
    ),
)  # fmt: skip
# A section with one of these is meant to be a profile or a session.
TELLING_KEYS = {*SSO_KEYS, *(kind.key for kind in OTHER_KINDS)}


def find_sso_profile(config: AwsConfig, name: str) -> SsoProfile:
    """Return profile `name` with the SSO settings that it leads to. Raises Failure.

    They may be in the profile that its role is assumed with (`source_profile`), or whose
    credentials its `credential_process` exports.
    """
    chain: list[str] = []  # from `name` to the profile that has the settings
    source: str | None = name
    while source is not None:
        if source in chain:
            what = (
                f"The source_profile settings of {quote_names(chain)} form a loop."
                " Fix one of them."
            )
            raise Failure("profile_loop", what)
        if source not in config.profiles:
            raise profile_not_found(config, source, chain)
        chain.append(source)
        source = source_profile_of(config, chain)
    login_profile = chain[-1]
    values = config.profiles[login_profile]
    session = find_session(config, login_profile, values)
    account_id = text_value(values, "sso_account_id")
    role_name = text_value(values, "sso_role_name")
    if account_id is None or role_name is None:
        return SsoProfile(name, login_profile, session, None, None)
    return SsoProfile(name, login_profile, session, account_id, role_name)


def profile_not_found(config: AwsConfig, name: str, chain: Sequence[str]) -> Failure:
    named_by = ""
    if chain:
        named_by = f", the source_profile of {chain[-1]!r},"
    hint = config.header_hints.get(name.casefold(), "")
    what = (
        f"Profile {sanitize(name)!r}{named_by} does not exist in {config.path}.{hint}"
    )
    return Failure("profile_not_found", what, unusable_profile=name)


def source_profile_of(config: AwsConfig, chain: Sequence[str]) -> str | None:
    """Return the profile that gives a chain's last profile its credentials, if any."""
    name = chain[-1]
    values = config.profiles[name]
    has_static_keys = "aws_access_key_id" in values or "aws_secret_access_key" in values
    if "role_arn" in values and "web_identity_token_file" not in values:
        source = text_value(values, "source_profile")
        # Static keys end the chain, as in botocore: those of the first profile only if it
        # is its own source_profile, those of a later profile always.
        if has_static_keys and (source == name or len(chain) > 1):
            return None
        return source
    if has_static_keys or not SSO_KEYS.isdisjoint(values):
        return None
    process_command = text_value(values, "credential_process")
    if process_command is None:
        return None
    source = profile_in_command(process_command)
    if source == name or source not in config.profiles:
        return None
    return source


class SessionSetting(NamedTuple):
    """A key that every SSO session needs."""

    key: str
    pattern: str  # of the value
    example: str


SESSION_SETTINGS = (
    SessionSetting(
        "sso_region", r"(?i)\b[a-z]{2,9}(?:-[a-z]{2,9}){1,3}-\d{1,2}\b", "us-east-1"
    ),
    SessionSetting(
        "sso_start_url",
        r"https://[^\s\"'<>]+",
        "https://d-1234567890.awsapps.com/start",
    ),
)


def find_session(config: AwsConfig, profile: str, values: Json) -> SsoSession:
    """Return the SSO session that a profile logs in to. Raises Failure if none."""
    if SSO_KEYS.isdisjoint(values):
        raise not_sso(profile, values)
    name = None
    settings = values
    owner = f"Profile {profile!r}"  # of the settings, for messages
    if "sso_session" in values:
        name = text_value(values, "sso_session") or ""
        owner = f"[sso-session {name}], which profile {profile!r} refers to,"
        if name not in config.sso_sessions:
            raise session_not_found(config, name, owner)
        settings = config.sso_sessions[name]
    for setting in SESSION_SETTINGS:
        check_session_setting(config, owner, setting, settings)
    scopes = None
    if name is not None:
        scopes = text_value(settings, "sso_registration_scopes")
    return SsoSession(
        name, settings["sso_start_url"], settings["sso_region"], scopes or ""
    )


def not_sso(profile: str, values: Json) -> Failure:
    description = "has no SSO settings."
    for kind in OTHER_KINDS:
        if kind.key in values:
            description = kind.description
            break
    what = f"An SSO login cannot fix profile {profile!r}: it {description}"
    return Failure("not_sso", what, unusable_profile=profile)


def session_not_found(config: AwsConfig, name: str, owner: str) -> Failure:
    step = " Add it."
    # AWS tools take a comment behind a value for a part of it.
    near = closest_names(name.partition(" #")[0], config.sso_sessions, SIMILAR)
    if near:
        step = f" If you mean {near[0]!r}, write that."
    step = config.header_hints.get(name.casefold(), step)
    what = f"{owner} is missing in {config.path}.{step}"
    return Failure("sso_session_not_found", what)


def check_session_setting(
    config: AwsConfig, owner: str, setting: SessionSetting, settings: Json
) -> None:
    """Raise Failure if a setting is missing or cannot be right."""
    value = text_value(settings, setting.key)
    if value is None:
        what = f"{owner} has no {setting.key}. Add it with `aws configure sso`."
        raise Failure("sso_incomplete", what)
    if re.fullmatch(setting.pattern, value):
        return
    right_value = f"{setting.example}, for example"
    inside = re.search(setting.pattern, value[:512])
    if inside:  # the value is right but for what is around it
        right_value = f"{inside[0]} (without quotes and comments)"
    raise Failure(
        "sso_invalid",
        f"{owner} has an invalid {setting.key} in {config.path}: {value[:48]!r}. "
        f"Write: {setting.key} = {right_value}.",
    )


def profiles_by_session(config: AwsConfig) -> dict[SsoSession, list[SsoProfile]]:
    """Return {session: its profiles}.

    Left out are profiles that take the settings of another profile, and misconfigured ones.
    """
    profiles: dict[SsoSession, list[SsoProfile]] = {}
    for name in config.profiles:
        try:
            profile = find_sso_profile(config, name)
        except Failure:
            continue
        if profile.login_profile == name:
            profiles.setdefault(profile.session, []).append(profile)
    return profiles


# The profile that a command names
#
# Commands come as a line of a shell, as an argv joined by tabs (an MCP server's entry,
# a credential_process), or as a line of Python, PowerShell or JavaScript. None of them
# is parsed: they are scanned from left to right for the few words that matter. All
# repetitions are bounded, or cannot begin within themselves, so that the time grows with
# the length and not with its square.

MAX_CHARACTERS = 16 << 10  # looked at of a command, and at the end of its output
UNKNOWN_PROFILE = "$"  # a profile is named, but only a shell could say which

# How far a mention of a profile counts: the least number wins.
BY_AWS_TOOL = 0  # an option, or a call, that only tools for AWS have
BY_VARIABLE = 1  # AWS_PROFILE: an option of an AWS tool overrules it
BY_OTHER_PROGRAM = 2  # `--profile` of a program that may mean something else by it

WORD_START = r"(?<![\w-])"  # so `--profile` is not found in `--no--profile`
AWS_VARIABLE = r"\bAWS_(?:DEFAULT_)?PROFILE"


class NamingRule(NamedTuple):
    """Words behind which a profile's name stands."""

    name: str  # also the name of the pattern's group
    sample: str  # a command in which the rule finds the profile `dev`
    pattern: str  # of the words, up to where the name begins; case does not matter
    belief: int


# The first rule that fits at a place counts.
NAMING_RULES = (
    NamingRule(
        "aws_option",
        "sops --aws-profile dev -d secrets.yaml",
        WORD_START + r"--aws-?profile[\s:=]+",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "profile_name_option",
        "Get-S3Bucket -ProfileName dev",  # also: some-server --profile-name=dev
        WORD_START + r"--?profile-?name[\s:=]+",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "boto3",
        "boto3.Session(profile_name='dev')",
        r"\bprofile_name[\"']?[\s:=(]{1,3}",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "javascript_sdk",
        "fromSSO({ profile: 'dev' })",
        r"\bfrom[a-z]{2,30}\(\{[^{}]{0,80}?\bprofile:\s?",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "go_sdk",
        'config.WithSharedConfigProfile("dev")',
        r"\bWithSharedConfigProfile\(",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "aws_sso_exec",
        "aws-sso exec -p dev -- terraform plan",
        WORD_START + r"aws-sso(?:\.exe)?\s+exec\s+-p[\s=]+",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "aws_wrapper",
        "aws-vault exec --no-session dev -- terraform plan",  # also: granted export dev
        WORD_START
        + r"(?:aws-\w+|granted)(?:\.exe)?\s+ex(?:ec|port)\s+(?:--?[\w=-]+\s+){0,4}",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "assume",
        "assume --export dev",
        WORD_START + r"(?:assume|awsume)\s+(?:--?[\w=-]+\s+){0,4}",
        BY_AWS_TOOL,
    ),
    NamingRule(
        "terraform_variable",
        "terraform init -backend-config='profile=dev'",
        WORD_START + r"--?(?:var|backend-config)[\s=][\"']?(?:aws_)?profile=",
        BY_VARIABLE,
    ),
    NamingRule(
        "option",  # the AWS CLI's, but other programs have one too
        "./deploy.sh --profile dev",
        WORD_START + r"--profile(?:[\s=]+|[\"'],\s?)",
        BY_OTHER_PROGRAM,
    ),
    NamingRule(
        "variable",
        "AWS_PROFILE=dev make",  # also: os.environ["AWS_PROFILE"]="dev"
        AWS_VARIABLE + r"[\"']?\]?=",
        BY_VARIABLE,
    ),
    NamingRule(
        "spaced_variable",
        "$env:AWS_PROFILE = 'dev'; cdk deploy",  # also: with-env { AWS_PROFILE: dev }
        AWS_VARIABLE + r"[\"']?\]?(?:\s=|\s?:)\s?",
        BY_VARIABLE,
    ),
    NamingRule(
        "variable_as_argument",
        "os.environ.setdefault('AWS_PROFILE', 'dev')",
        AWS_VARIABLE + r"[\"'],\s?",
        BY_VARIABLE,
    ),
    NamingRule(
        "set_command",
        "set -gx AWS_PROFILE dev",  # fish; Windows: setx AWS_PROFILE dev
        rf"\bset(?:x|env)?\s+(?:-\w{{1,3}}\s+){{0,3}}{AWS_VARIABLE}\s+",
        BY_VARIABLE,
    ),
)

PROGRAM_START = r"(?<![^\s\"'(=])(?:[^\s\"'=:]{0,99}[/\\])?"  # maybe with its folder
PROGRAM_END = r"(?=[\s\"'.@])"


class ProgramRule(NamedTuple):
    """Words that tell whose options follow."""

    name: str
    sample: str  # a command that the rule fits
    pattern: str


END, AWS, PRINTER, OTHER = "end", "aws", "printer", "other"
PROGRAM_RULES = (
    # the end of a simple command
    ProgramRule(END, "cd x && y", r"[;&|(){}\n]|\s--\s"),
    ProgramRule(AWS, "/usr/bin/aws s3 ls", rf"{PROGRAM_START}aws[\w-]*{PROGRAM_END}"),
    # programs that only show their arguments
    ProgramRule(PRINTER, "echo x", rf"{PROGRAM_START}(?:echo|printf){PROGRAM_END}"),
    # programs whose `--profile` has nothing to do with AWS
    ProgramRule(
        OTHER,
        "docker compose up",
        rf"{PROGRAM_START}(?:docker(?:-compose)?|podman|kubectl|minikube){PROGRAM_END}",
    ),
    ProgramRule(
        OTHER + "_build",
        "cargo build",
        rf"{PROGRAM_START}(?:bazel|cargo|eas|gradlew?|mvnw?|nix|rustup){PROGRAM_END}",
    ),
    ProgramRule(
        OTHER + "_cloud",
        "dbt run",
        rf"{PROGRAM_START}(?:dbt|oci|skaffold){PROGRAM_END}",
    ),
)

# A value: in an argv joined by tabs it may hold blanks, else it ends at its quote (which
# may be escaped), or where a shell ends a word. What begins with `-` is the next option.
PROFILE_VALUE = (
    r"(?!-)(?:"
    r"(?<=\t)[^\t]*"
    r"|\\{0,3}\"[^\"\\]{0,512}\\{0,3}\""
    r"|\\{0,3}'[^'\\]{0,512}\\{0,3}'"
    r"|[^\s;&|(){}<>\"',]*"
    r")|"
)


class Mention(NamedTuple):
    """A place in a command that names a profile."""

    profile: str  # UNKNOWN_PROFILE where only a shell could say
    belief: int


def profile_in_command(line: str) -> str | None:
    """Return the profile that a command names, None without one.

    It is UNKNOWN_PROFILE where only a shell could say which, or where there are two.
    """
    mentions = mentions_in_command(line)
    if not mentions:
        return None
    best = min(mention.belief for mention in mentions)
    profiles = {mention.profile for mention in mentions if mention.belief == best}
    return profiles.pop() if len(profiles) == 1 else UNKNOWN_PROFILE


def mentions_in_command(line: str) -> list[Mention]:
    """Return the places of a command that name a profile, in their order."""
    mentions: list[Mention] = []
    program: str = END  # the kind of the program whose arguments we are in
    line = line[:MAX_CHARACTERS]
    for found in re.finditer(command_pattern(), line, re.IGNORECASE):
        rule = naming_rule(found)
        if rule is None:
            program = str(found.lastgroup)
            continue
        belief = belief_in(rule, program)
        if found["value"] and belief is not None:
            mentions.append(Mention(literal_profile(found["value"]), belief))
    return mentions


def command_pattern() -> str:
    """Return the pattern for all rules; each is the group of its name."""
    naming = [f"(?P<{rule.name}>{rule.pattern})" for rule in NAMING_RULES]
    programs = [f"(?P<{rule.name}>{rule.pattern})" for rule in PROGRAM_RULES]
    named_profile = f"(?:{'|'.join(naming)})(?P<value>{PROFILE_VALUE})"
    return "|".join([named_profile, *programs])


def naming_rule(found: re.Match[str]) -> NamingRule | None:
    """Return the naming rule that a match is of, None for that of a program."""
    for rule in NAMING_RULES:
        if found[rule.name] is not None:
            return rule
    return None


def belief_in(rule: NamingRule, program: str) -> int | None:
    """Return how far a mention counts in a program's arguments, None for not at all."""
    if program == PRINTER:
        return None
    if rule.name == "option" and program == AWS:
        return BY_AWS_TOOL
    if rule.name == "option" and program.startswith(OTHER):
        return None
    return rule.belief


def literal_profile(value: str) -> str:
    """Return the name in a value; UNKNOWN_PROFILE where it has yet to be expanded."""
    profile = value.strip("\\\"'")
    return profile if re.fullmatch(LITERAL_NAME, profile) else UNKNOWN_PROFILE


# --- Token cache ------------------------------------------------------------------------
#
# ~/.aws/sso/cache, and the AWS CLI's role credentials in ~/.aws/cli/cache. The AWS CLI
# names these files after the SHA-1 of what they are for.


class Token(NamedTuple):
    """What a token file says about its token. Never the token itself."""

    expires_at: float  # epoch seconds
    is_refreshable: (
        bool  # there is a refresh token, with a client that still may use it
    )
    written_at: float  # epoch seconds
    fingerprint: int  # tells two tokens apart; means nothing in another process


def cache_file_name(key: str) -> str:
    import hashlib

    digest = hashlib.sha1(key.encode("utf-8", "replace"), usedforsecurity=False)
    return digest.hexdigest() + ".json"


def token_path(session: SsoSession) -> Path:
    """Return the token file: named after the session's name, or its exact start URL."""
    return aws_folder(
        "sso", "cache", cache_file_name(session.name or session.start_url)
    )


def role_credentials_path(profile: SsoProfile) -> Path:
    """Return the file where the AWS CLI caches a role's credentials.

    The name is that of botocore.credentials.SSOCredentialFetcher.
    """
    key: Json = {"accountId": profile.account_id, "roleName": profile.role_name}
    if profile.session.name:
        key["sessionName"] = profile.session.name
    else:
        key["startUrl"] = profile.session.start_url
    text = json.dumps(key, sort_keys=True, separators=(",", ":"))
    return aws_folder("cli", "cache", cache_file_name(text))


def client_registration_path(session: SsoSession) -> Path:
    """Return the file of the OAuth client that the AWS CLI has registered for a session.

    The name is that of botocore.utils.SSOTokenFetcherAuth.
    """
    scopes = re.findall(r"[^\s,]+", session.scopes)
    key = {
        "tool": "botocore",
        "startUrl": session.start_url,
        "region": session.region,
        "scopes": scopes or None,
        "session_name": session.name,
    }
    return aws_folder("sso", "cache", cache_file_name(json.dumps(key, sort_keys=True)))


def read_json(path: Path, kind: str = "aws_cache") -> Json | None:
    """Return the object in a JSON file; {} if it is damaged, None if there is no file."""
    try:
        content = read_file(path, kind)
        if content is None:
            return None
        return object_at(json.loads(content))
    except (Failure, ValueError, RecursionError):
        return {}


def read_token(session: SsoSession) -> Token | None:
    """Return the session's token; None if there is none, or its file is damaged."""
    path = token_path(session)
    content = read_json(path)
    for _ in range(2):
        if content == {}:  # the AWS CLI writes in place: this may be half a file
            time.sleep(0.05)
            content = read_json(path)
    if not content or text_value(content, "accessToken") is None:
        return None
    expires_at = parse_time(content.get("expiresAt"))
    if expires_at is None:
        return None
    return Token(
        expires_at,
        is_refreshable(content),
        modified_at(path),
        hash((content["accessToken"], content["expiresAt"])),
    )


def is_refreshable(content: Json) -> bool:
    """Return whether a token file has all that the AWS CLI needs to refresh the token."""
    for key in ("refreshToken", "clientId", "clientSecret"):
        if text_value(content, key) is None:
            return False
    client_expires_at = parse_time(content.get("registrationExpiresAt"))
    return client_expires_at is not None and client_expires_at > time.time()


# 2026-11-22T19:10:29Z, as AWS's tools write it: with a fraction, `UTC` or an offset.
ISO_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|UTC|([+-]\d\d:\d\d))"


def parse_time(text: Any) -> float | None:
    """Return the epoch seconds of a time in a token file; None if it is no such time."""
    from datetime import datetime

    if not isinstance(text, str):
        return None
    parts = re.fullmatch(ISO_TIME, text)
    if parts is None:
        return None
    offset = parts[2] or "+00:00"
    try:
        return datetime.fromisoformat(parts[1] + offset).timestamp()
    except (
        ValueError,
        OverflowError,
    ):  # a 13th month, the year 9999 in another time zone
        return None


def is_other_token(token: Token | None, other: Token | None) -> bool:
    """Return whether two tokens, or their absence, differ."""
    if token is None or other is None:
        return token is not other
    return token.fingerprint != other.fingerprint


def token_state(token: Token | None) -> str:
    """Return how good a token is.

    valid        good for long enough
    refreshable  expired or soon to expire; the refresh token can renew it
    expiring     good for a few minutes, and no refresh token
    expired
    absent
    """
    if token is None:
        return "absent"
    seconds_left = token.expires_at - time.time()
    if token.is_refreshable:
        if seconds_left > 15 * 60:  # with less, AWS's SDKs refresh a token
            return "valid"
        return "refreshable"
    if seconds_left > 5 * 60:
        return "valid"
    if seconds_left > 0:
        return "expiring"
    return "expired"


RECENTLY_S = 7 * 24 * 60 * 60
LAST_MINUTES_S = 5 * 60  # a token with less is as good as expired: SDKs refresh it


def is_unusable(token: Token | None) -> bool:
    """Return whether a token is absent, expired, or expires within 5 minutes."""
    return token is None or token.expires_at - time.time() < LAST_MINUTES_S


def is_used_recently(token: Token) -> bool:
    """Return whether a token was written in the last 7 days."""
    return time.time() - token.written_at < RECENTLY_S


def expired_recent_sessions(sessions: Iterable[SsoSession]) -> list[SsoSession]:
    """Return the sessions that were used recently, and whose token is unusable now."""
    expired = []
    for session in sessions:
        token = read_token(session)
        if token is not None and is_used_recently(token) and is_unusable(token):
            expired.append(session)
    return expired


def expiry_keys(token: Token | None) -> Json:
    """Return `expiresAt` (UTC) and `minutesLeft` for an answer; {} if it has expired."""
    if token is None:
        return {}
    seconds_left = token.expires_at - time.time()
    if seconds_left <= 0:
        return {}
    return {
        "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires_at)),
        "minutesLeft": int(seconds_left) // 60,
    }


def most_recent_profile(profiles: Sequence[SsoProfile]) -> SsoProfile:
    """Return the profile whose role credentials were cached last; the first without any."""
    last_used = profiles[0]
    last_time = 0.0
    for profile in profiles:
        cached_at = modified_at(role_credentials_path(profile))
        if cached_at > last_time:
            last_used = profile
            last_time = cached_at
    return last_used


def damaged_cache_failure(profile: SsoProfile) -> Failure | None:
    """Return the Failure that names a damaged cache file of a profile, if there is one.

    The AWS CLI names no file: it prints the key that it did not find, or 40 hexadecimal
    digits.
    """
    registration = client_registration_path(profile.session)
    content = read_json(registration)
    if content is not None and text_value(content, "expiresAt") is None:
        return damaged_file(registration)
    role_credentials = role_credentials_path(profile)
    content = read_json(role_credentials)
    if content is not None:
        credentials = object_at(content, "Credentials")
        if text_value(credentials, "Expiration") is None:
            return damaged_file(role_credentials)
    return None


def damaged_file(path: Path) -> Failure:
    what = f"A cached file is damaged. Ask the user to delete {path}, then try again."
    return Failure("damaged_cache", what)


# --- MCP clients ------------------------------------------------------------------------
#
# The profile that another MCP server runs with, from the configuration of its client. Only
# the files of CLIENT_FILES are read, and the env files that their entries name.


class ClientFile(NamedTuple):
    """One file of one client, by its name and where it is."""

    client: str
    folders: str  # where the pattern begins, one word a folder; see `client_folders`
    pattern: str  # path from there; one `*` in a part stands for any text
    servers: str  # where the servers stand; one word a place; see `servers_in`
    format: str = "json"  # with comments and trailing commas; or "toml", "extension"


STANDARD = "mcpServers"  # the key that most clients use
KIRO = "mcpServers powers/mcpServers"
VS_CODE = "servers mcpServers"
EDITOR_SETTINGS = "mcp/servers amp.mcpServers"  # VS Code's own, and Amp's extension
PLUGIN = "mcpServers *"  # some plugins leave the outer key away
CONTAINER = (
    "customizations/vscode/mcp/servers "  # the first is documented, the second in use
    "customizations/vscode/settings/mcp/servers"
)
CLAUDE_STATE = "mcpServers projects/./mcpServers"  # for all projects, and for this one

# fmt: off
CLIENT_FILES = (
    ClientFile("Claude Code", "~ $CLAUDE_CONFIG_DIR", ".claude.json", CLAUDE_STATE),
    ClientFile("Claude Code", "~ .", ".mcp.json", VS_CODE),
    ClientFile("Claude Code", "CLAUDE", "plugins/cache/*/*/*/.mcp.json", PLUGIN),
    ClientFile("Claude Code", "CLAUDE", "plugins/cache/*/*/*/mcp.json", STANDARD),
    ClientFile("Claude Code", "CLAUDE", "plugins/cache/*/*/*/.claude-plugin/plugin.json", STANDARD),
    ClientFile("Claude Code", "MACHINE", "claude-code/managed-mcp.json", STANDARD),
    ClientFile("Claude Code", "MACHINE", "ClaudeCode/managed-mcp.json", STANDARD),
    ClientFile("Claude Desktop", "APPS", "Claude/claude_desktop_config.json", STANDARD),
    ClientFile(
        "Claude Desktop",
        "APPS",
        "Claude/Claude Extensions/*/manifest.json",
        STANDARD,
        "extension",
    ),
    ClientFile(
        "Claude Desktop",  # from the Microsoft Store
        "$LOCALAPPDATA",
        "Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
        STANDARD,
    ),
    ClientFile("Codex", "~ .", ".codex/config.toml", "mcp_servers", "toml"),
    ClientFile("Codex", "$CODEX_HOME", "config.toml", "mcp_servers", "toml"),
    ClientFile("Codex", "~", ".codex/plugins/cache/*/*/*/.mcp.json", PLUGIN),
    ClientFile("Cursor", "~ .", ".cursor/mcp.json", STANDARD),
    ClientFile("VS Code", "EDITORS", "mcp.json", VS_CODE),
    ClientFile("VS Code", "EDITORS", "settings.json", EDITOR_SETTINGS),
    ClientFile("VS Code", "EDITORS", "profiles/*/mcp.json", VS_CODE),
    ClientFile("VS Code", "EDITORS", "profiles/*/settings.json", EDITOR_SETTINGS),
    ClientFile("VS Code", ".", ".vscode/mcp.json", VS_CODE),
    ClientFile("VS Code", ".", ".vscode/settings.json", EDITOR_SETTINGS),
    ClientFile("Dev Containers", ".", ".devcontainer/devcontainer.json", CONTAINER),
    ClientFile("Dev Containers", ".", ".devcontainer/*/devcontainer.json", CONTAINER),
    ClientFile("Dev Containers", ".", ".devcontainer.json", CONTAINER),
    ClientFile("Visual Studio", ".", ".vs/mcp.json", VS_CODE),
    ClientFile("GitHub Copilot", "~ .", ".copilot/mcp-config.json", STANDARD),
    ClientFile("GitHub Copilot", "$COPILOT_HOME", "mcp-config.json", STANDARD),
    ClientFile("GitHub Copilot", "~", ".copilot/installed-plugins/*/*/.mcp.json", PLUGIN),
    ClientFile("GitHub Copilot", ".", ".github/mcp.json", STANDARD),
    ClientFile("GitHub Copilot", "~", ".config/github-copilot/*/mcp.json", VS_CODE),
    ClientFile("GitHub Copilot", "$LOCALAPPDATA", "github-copilot/*/mcp.json", VS_CODE),
    ClientFile("Kiro", "~ .", ".kiro/settings/mcp.json", KIRO),
    ClientFile("Kiro", "~ .", ".kiro/agents/*.json", KIRO),
    ClientFile("Kiro", "~", ".kiro/powers/*/*/mcp.json", KIRO),
    ClientFile("Amazon Q", "~", ".aws/amazonq/mcp.json", STANDARD),
    ClientFile("Amazon Q", "~", ".aws/amazonq/agents/*.json", STANDARD),
    ClientFile("Amazon Q", "~", ".aws/amazonq/cli-agents/*.json", STANDARD),
    ClientFile("Amazon Q", ".", ".amazonq/*.json", STANDARD),
    ClientFile("Amazon Q", ".", ".amazonq/agents/*.json", STANDARD),
    ClientFile("Amazon Q", ".", ".amazonq/cli-agents/*.json", STANDARD),
    ClientFile("Gemini CLI", "~ .", ".gemini/settings.json", STANDARD),
    ClientFile("Gemini CLI", "~ .", ".gemini/extensions/*/gemini-extension.json", STANDARD),
    ClientFile("Antigravity", "~", ".gemini/antigravity/mcp_config.json", STANDARD),
    ClientFile("Antigravity", "~", ".gemini/antigravity-cli/mcp_config.json", STANDARD),
    ClientFile("Antigravity", "~", ".gemini/config/mcp_config.json", STANDARD),
    ClientFile("Antigravity", ".", ".agents/mcp_config.json", STANDARD),
    ClientFile("Qwen Code", "~ .", ".qwen/settings.json", STANDARD),
    ClientFile("Qwen Code", "~ .", ".qwen/extensions/*/qwen-extension.json", STANDARD),
    ClientFile("Windsurf", "~", ".codeium/windsurf/mcp_config.json", STANDARD),
    ClientFile("Windsurf", "~", ".codeium/windsurf-next/mcp_config.json", STANDARD),
    ClientFile("Windsurf", "~", ".codeium/mcp_config.json", STANDARD),
    ClientFile("Windsurf", "~", ".config/devin/mcp_config.json", STANDARD),
    ClientFile("Windsurf", "$APPDATA", "devin/mcp_config.json", STANDARD),
    ClientFile(
        "Cline",
        "EDITORS",
        "globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        STANDARD,
    ),
    ClientFile("Cline", "~", ".cline/mcp.json", STANDARD),
    ClientFile("Cline", "~", ".cline/data/settings/cline_mcp_settings.json", STANDARD),
    ClientFile(
        "Roo Code",
        "EDITORS",
        "globalStorage/rooveterinaryinc.roo-cline/settings/*mcp_settings.json",
        STANDARD,
    ),
    ClientFile("Roo Code", ".", ".roo/mcp.json", STANDARD),
    ClientFile(
        "Kilo Code",
        "EDITORS",
        "globalStorage/kilocode.kilo-code/settings/mcp_settings.json",
        STANDARD,
    ),
    ClientFile("Kilo Code", "~", ".kilocode/cli/global/settings/mcp_settings.json", STANDARD),
    ClientFile("Kilo Code", ".", ".kilocode/mcp.json", STANDARD),
    ClientFile("Kilo Code", "~", ".config/kilo/kilo.json", "mcp"),
    ClientFile("Kilo Code", "~", ".config/kilo/kilo.jsonc", "mcp"),
    ClientFile("Kilo Code", ".", "kilo.json", "mcp"),
    ClientFile("Kilo Code", ".", "kilo.jsonc", "mcp"),
    ClientFile("Kilo Code", ".", ".kilo/kilo.json", "mcp"),
    ClientFile("Kilo Code", ".", ".kilo/kilo.jsonc", "mcp"),
    ClientFile("opencode", "~", ".config/opencode/config.json", "mcp"),
    ClientFile("opencode", "~", ".config/opencode/opencode.json", "mcp"),
    ClientFile("opencode", "~", ".config/opencode/opencode.jsonc", "mcp"),
    ClientFile("opencode", ".", "opencode.json", "mcp"),
    ClientFile("opencode", ".", "opencode.jsonc", "mcp"),
    ClientFile("opencode", ".", ".opencode/opencode.json", "mcp"),
    ClientFile("opencode", ".", ".opencode/opencode.jsonc", "mcp"),
    ClientFile("Zed", "~", ".config/zed/settings.json", "context_servers"),
    ClientFile("Zed", "$APPDATA", "Zed/settings.json", "context_servers"),
    ClientFile("Zed", ".", ".zed/settings.json", "context_servers"),
    ClientFile("Amp", "~", ".config/amp/settings.json", "amp.mcpServers"),
    ClientFile("Amp", "~", ".config/amp/settings.jsonc", "amp.mcpServers"),
    ClientFile("Amp", ".", ".amp/settings.json", "amp.mcpServers"),
    ClientFile("Amp", ".", ".amp/settings.jsonc", "amp.mcpServers"),
    ClientFile("Amp", "MACHINE", "ampcode/managed-settings.json", "amp.mcpServers"),
    ClientFile("Crush", "~", ".config/crush/crush.json", "mcp"),
    ClientFile("Crush", "~", ".local/share/crush/crush.json", "mcp"),
    ClientFile("Crush", "$LOCALAPPDATA", "crush/crush.json", "mcp"),
    ClientFile("Crush", ".", "crush.json", "mcp"),
    ClientFile("Crush", ".", ".crush.json", "mcp"),
    ClientFile("Crush", ".", ".crush/crush.json", "mcp"),
    ClientFile("Warp", "~ .", ".warp/.mcp.json", STANDARD),
    ClientFile("mcphub.nvim", "~", ".config/mcphub/servers.json", VS_CODE),
    ClientFile("mcphub.nvim", ".", ".mcphub/servers.json", VS_CODE),
    ClientFile("LM Studio", "~", ".lmstudio/mcp.json", STANDARD),
    ClientFile("LM Studio", "~", ".cache/lm-studio/mcp.json", STANDARD),
    ClientFile("Junie", "~ .", ".junie/mcp/mcp.json", STANDARD),
    ClientFile("Factory Droid", "~ .", ".factory/mcp.json", STANDARD),
    ClientFile("Augment", "~ .", ".augment/settings.json", STANDARD),
    ClientFile("Continue", "~ .", ".continue/mcpServers/*.json", STANDARD),
    ClientFile("Continue", "~", ".continue/config.json", STANDARD),
    ClientFile("Trae", "~ .", ".trae/mcp.json", STANDARD),
    ClientFile("Rovo Dev", "~", ".rovodev/mcp.json", STANDARD),
)
# fmt: on

# The folder where apps keep their settings, and where an administrator keeps them: by
# `sys.platform`, Linux and all others last.
APP_FOLDERS = {"darwin": "~/Library/Application Support", "win32": "$APPDATA"}
APP_FOLDER_ELSEWHERE = "~/.config"
MACHINE_FOLDERS = (
    ("darwin", "/Library/Application Support"),
    ("win32", "$ProgramFiles"),
    ("", "/etc"),
)
# VS Code and its forks, as their folders are called; then the remote side of a window
# that they opened over SSH or in WSL.
EDITORS = (
    "Code", "Code - Insiders", "Code - OSS", "VSCodium", "VSCodium - Insiders",
    "Cursor", "Windsurf", "Kiro", "Antigravity", "Positron", "Trae", "Trae CN",
)  # fmt: skip
EDITOR_SERVERS = (
    ".vscode-server", ".vscode-server-insiders", ".vscodium-server", ".cursor-server",
    ".windsurf-server", ".kiro-server", ".antigravity-server", ".trae-server",
)  # fmt: skip

MAX_ENTRIES = 50  # of servers whose name fits equally well
MAX_OTHER_NAMES = 200  # of servers, to choose the nearest from
MAX_NAME_CHARACTERS = 256
MAX_NAME_PARTS = 4  # of a tool's name: client, server, tool
MAX_TOML_CHARACTERS = 256 << 10  # Python's own reader takes a second for 2 MB
MAX_TOML_KEY_PARTS = 100  # its time is quadratic to their number
VS_CODE_NAME_CHARACTERS = 13  # kept of a server's name in the name of a tool

# Strings are matched to be kept: what looks like a comment in one is none.
JSON_PART = (
    r'(?s)(?P<string>"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z))'
    r"|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<blank>\s+)"
    r"|(?P<comma>,)"
    r"|(?P<other>[^\s\"/,]+|/)"
)

# What a client has yet to expand: ${NAME}, ${env:NAME}, $NAME, {{NAME}}, opencode's
# {env:NAME} and {file:PATH}. The first two may have a default, as in ${NAME:-default}.
CLIENT_VARIABLE = (
    r"(?i)\$\{(?:env:)?(?P<braced>\w+)(?::-(?P<default>[^{}$]*))?\}"
    r"|\$(?!env:)(?P<bare>\w+)"
    r"|\{env:(?P<opencode>\w+)\}"
    r"|\{file:[^{}]*\}"
    r"|\{\{[^{}]*\}\}"
)

# The variables that name a profile. The first two are those of AWS's own servers
# (awslabs.aws-api-mcp-server, mcp-proxy-for-aws), which look there first.
AWS_API_MCP_PROFILE = "AWS_API_MCP_PROFILE_NAME"
AWS_MCP_PROXY_PROFILES = "AWS_MCP_PROXY_PROFILES"  # several, the default one first
COMMON_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
PROFILE_VARIABLES = (
    AWS_API_MCP_PROFILE,
    AWS_MCP_PROXY_PROFILES,
    *COMMON_PROFILE_VARIABLES,
)
ENV_LINE = r"[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=(.*)"


class ServerProfile(NamedTuple):
    """The profile that an MCP server runs with."""

    profile: str
    found: str  # how it was found, as an answer says it


class ServerEntry(NamedTuple):
    """One server in one file of a client."""

    place: str  # the file as an answer may show it: as CLIENT_FILES has it
    name: str
    values: Json


class FoundServers(NamedTuple):
    """What a search for a server found."""

    entries: list[ServerEntry]  # those whose name fits best, all equally well
    other_names: list[str]  # of other servers, in files of the user
    unread_files: list[str]  # as answers may show them


class Place(NamedTuple):
    """A row of CLIENT_FILES in one folder."""

    row: ClientFile
    folder: Path
    shown: str  # folder and pattern, as an answer may show them
    is_project: bool  # comes from whoever wrote the project, not from the user


def profile_of_server(
    config: AwsConfig, server: str, is_cancelled: Callable[[], bool] | None = None
) -> ServerProfile:
    """Return the profile that an MCP server runs with, and how it was found.

    `server` is its name as a client shows it, alone or within the name of a tool.
    Raises Failure `server_not_found`, `server_ambiguous`, `server_without_profile` or
    `cancelled`.
    """
    budget = SearchBudget(is_cancelled)
    project = project_folder()
    found = find_servers(server, project, budget)
    if not found.entries:
        raise server_not_found(server, found, budget)
    inherited = inherited_profile(config)
    places: dict[str | None, str] = {}  # by profile; None: it cannot be known
    is_inherited = False
    for entry in entries_in_use(found.entries):
        if places and not budget.has_time():
            break
        profile = profile_of_entry(entry.values, project, budget)
        if profile is None:
            profile = inherited
            is_inherited = True
        if profile == UNKNOWN_PROFILE:
            profile = None
        places.setdefault(profile, entry.place)
    if len(places) > 1:
        raise server_ambiguous(config, server, places)
    [profile] = places
    name = sanitize(server)
    if profile is None:
        return profile_of_expired_session(config, name)
    if is_inherited:
        how = f"from the environment of MCP server {name!r}, whose entry has none"
        return ServerProfile(profile, how)
    return ServerProfile(profile, f"configured for MCP server {name!r}")


def entries_in_use(entries: list[ServerEntry]) -> list[ServerEntry]:
    """Return the entries that are not switched off, all of them if every one is."""
    in_use = []
    for entry in entries:
        is_enabled = entry.values.get("enabled", True)
        if is_enabled and not entry.values.get("disabled"):
            in_use.append(entry)
    if in_use:
        return in_use
    return entries


def inherited_profile(config: AwsConfig) -> str | None:
    """Return the SSO profile of a process that nobody gave one, None without any.

    Its client hands on the environment that we got too. AWS_SSO_MCP_PROFILE is ours
    alone.
    """
    profile = "default"
    for variable in reversed(COMMON_PROFILE_VARIABLES):
        value = get_variable(variable)
        if value is not None:
            profile = value
    try:
        find_sso_profile(config, profile)
    except Failure as failure:
        # Other faults of a profile are for the answer to tell.
        if failure.reason in ("profile_not_found", "not_sso"):
            return None
    return profile


def profile_of_expired_session(config: AwsConfig, server: str) -> ServerProfile:
    """Return the profile that a server most likely uses, where nothing names one.

    Never one whose token is good while others are not: its "valid" would tell nothing
    about the server. Raises Failure `server_without_profile`.
    """
    sessions = profiles_by_session(config)
    expired = expired_recent_sessions(sessions)
    if len(expired) == 1:
        profile = most_recent_profile(sessions[expired[0]])
        how = "of the only SSO session in use whose token has expired"
    elif len(sessions) == 1:
        [profiles] = sessions.values()
        profile = most_recent_profile(profiles)
        how = "of the only SSO session"
    else:
        candidates = [profiles[0].name for profiles in sessions.values()]
        raise Failure(
            "server_without_profile",
            f"Nothing tells which profile MCP server {server!r} uses. Call again with "
            "`profile`. The user can set AWS_PROFILE in the `env` of that server's "
            "entry.",
            candidates=candidates[:MAX_SHOWN],
        )
    return ServerProfile(
        profile.name, f"{how}, as nothing tells which one MCP server {server!r} uses"
    )


def server_not_found(server: str, found: FoundServers, budget: SearchBudget) -> Failure:
    """Return the Failure that offers similar names, and says what was not read."""
    near = similar_names(server, found.other_names)
    unread = ["any YAML", *found.unread_files]
    if budget.is_spent:
        unread.append("some, as there are too many or they are too large")
    message = f"No MCP client here has a server {sanitize(server)!r}. "
    if near:
        message += f"Servers with similar names: {quote_names(near)}. "
    message += f"(Not read: {', '.join(unread)[:500]}.) Call again with `profile`."
    return Failure("server_not_found", message)


def similar_names(server: str, names: list[str]) -> list[str]:
    """Return the names that are similar to a server's, or to a part of a tool's."""
    # One that sanitizing would change could be a sentence for the model.
    plain = [name for name in names if sanitize(name) == name]
    similar: list[str] = []
    parts = re.split(r"__|[/:@]", server[:MAX_NAME_CHARACTERS])
    for part in (server, *parts[:MAX_NAME_PARTS]):
        similar += closest_names(part, plain, SIMILAR)
    return list(dict.fromkeys(similar))[:5]


def server_ambiguous(
    config: AwsConfig, server: str, places: dict[str | None, str]
) -> Failure:
    """Return the Failure that names the profile in each place."""
    parts = []
    candidates = []
    for profile, place in places.items():
        if profile is None:
            parts.append(f"none in {place}")
            continue
        parts.append(f"{sanitize(profile, config.profiles)} in {place}")
        if profile in config.profiles:
            candidates.append(profile)
    return Failure(
        "server_ambiguous",
        f"MCP server {sanitize(server)!r} has different profiles: "
        f"{', '.join(parts)[:500]}. Call again with the right one as `profile`.",
        candidates=candidates[:MAX_SHOWN],
    )


def find_servers(server: str, project: Path, budget: SearchBudget) -> FoundServers:
    """Return the entries whose name is the longest that stands in `server`.

    Files of the user come first, so that no project can use up the budget before.
    """
    found = FoundServers([], [], [])
    given = words_of(server)
    best_fit = 1
    for place in client_places(project):
        for entry in entries_at(place, project, budget, found.unread_files):
            if not budget.has_time():
                break
            fit = fit_of_name(entry.name, given)
            if fit > best_fit:
                best_fit = fit
                found.entries.clear()
            if fit == best_fit and len(found.entries) < MAX_ENTRIES:
                found.entries.append(entry)
            if fit > 0 or place.is_project:
                continue
            if len(found.other_names) < MAX_OTHER_NAMES:
                found.other_names.append(entry.name)
    exact = [entry for entry in found.entries if entry.name == server]
    if exact:
        return found._replace(entries=exact)
    return found


def fit_of_name(name: str, given: str) -> int:
    """Return how many characters of the given words a configured name explains.

    It fits where it stands in them as whole words, whatever the case and the
    separators. 0 where it does not.
    """
    words = words_of(name)
    if not words.strip():
        return 0
    if words in given:
        return len(words)
    if len(name) > VS_CODE_NAME_CHARACTERS:
        shortened = words_of(f"mcp_{name[:VS_CODE_NAME_CHARACTERS]}")
        if given.startswith(shortened):
            return len(shortened)
    return 0


def words_of(text: str) -> str:
    """Return the words of a name in lower case, with one blank on each side of each."""
    return re.sub(r"[\W_]+", " ", f" {text[:MAX_NAME_CHARACTERS]} ").casefold()


def project_folder() -> Path:
    """Return the folder that the client works in."""
    folder = working_folder()
    project = get_variable("CLAUDE_PROJECT_DIR")
    if project:
        folder /= project
    return folder


def client_places(project: Path) -> list[Place]:
    """Return each row of CLIENT_FILES in each of its folders, the user's first."""
    folders = client_folders(project)
    places = []
    project_places = []
    for row in CLIENT_FILES:
        for name in row.folders.split():
            for folder, shown in folders.get(name, []):
                place = Place(row, folder, f"{shown}/{row.pattern}", name == ".")
                if place.is_project:
                    project_places.append(place)
                else:
                    places.append(place)
    return places + project_places


def client_folders(project: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return the folders of CLIENT_FILES here, and how an answer shows each."""
    apps = APP_FOLDERS.get(sys.platform, APP_FOLDER_ELSEWHERE)
    machine = ""
    for name, folder in reversed(MACHINE_FOLDERS):
        if sys.platform.startswith(name):
            machine = folder
    editors = [f"{apps}/{editor}/User" for editor in EDITORS]
    editors += [f"~/{server}/data/User" for server in EDITOR_SERVERS]
    written = {
        "~": ["~"],
        "APPS": [apps],
        "MACHINE": [machine],
        "EDITORS": [*editors, "~/.local/share/code-server/User"],
        "CLAUDE": ["~/.claude", "$CLAUDE_CONFIG_DIR"],
    }
    for row in CLIENT_FILES:
        for name in row.folders.split():
            if name.startswith("$"):
                written[name] = [name]
    folders = {".": [(project, ".")]}
    for name, texts in written.items():
        folders[name] = []
        for text in texts:
            path = expand_path(text)
            if path.is_absolute():  # else its variable is not set
                folders[name].append((path, text))
    return folders


def entries_at(
    place: Place, project: Path, budget: SearchBudget, unread_files: list[str]
) -> Iterator[ServerEntry]:
    """Yield the servers in the files of one place.

    Where a file cannot be read, the place is added to `unread_files`.
    """
    for path in matching_files(place.folder, place.row.pattern, budget):
        try:
            content = read_client_file(path, place.row.format, budget)
        except ValueError:
            if place.shown not in unread_files:
                unread_files.append(place.shown)
            continue
        for name, values in servers_in(content, place.row.servers, project):
            yield ServerEntry(place.shown, name, values)


def read_client_file(path: Path, file_format: str, budget: SearchBudget) -> Json:
    """Return the object in a client's file, {} without a file. Raises ValueError."""
    text = budget.read_client_text(path)
    if not text.strip():
        return {}
    try:
        if file_format == "toml":
            return parse_toml(text)
        content = parse_json_with_comments(text, budget)
    except RecursionError:
        raise ValueError("It is nested too deeply") from None
    if file_format == "extension":
        return read_extension(path, content, budget)
    return content


def parse_toml(text: str) -> Json:
    """Return the object in TOML. Raises ValueError."""
    if len(text) > MAX_TOML_CHARACTERS:
        raise ValueError("It is too long")
    for line in text.split("\n"):
        if line.count(".") > MAX_TOML_KEY_PARTS:
            raise ValueError("A key has too many parts")
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib.loads(text)
    raise ValueError("Python 3.11 is the first that reads TOML")


def parse_json_with_comments(text: str, budget: SearchBudget) -> Json:
    """Return the object in JSON, {} for other JSON. Raises ValueError."""
    try:
        # Old Pythons take a time for a long integer that is quadratic to its length.
        return object_at(json.loads(text, parse_int=float))
    except ValueError:
        return object_at(json.loads(plain_json(text, budget), parse_int=float))


def plain_json(text: str, budget: SearchBudget) -> str:
    """Return JSON without its comments and without commas before a closing bracket."""
    kept: list[str] = []
    last_comma = -1  # its index in `kept`, while only blanks and comments follow it
    for count, token in enumerate(re.finditer(JSON_PART, text)):
        if count % 1000 == 0 and not budget.allows_more():
            raise ValueError("There was no time to read it")
        if token.lastgroup in ("comment", "blank"):
            kept.append(" ")
            continue
        if last_comma >= 0 and token[0].startswith(("}", "]")):
            kept[last_comma] = ""
        last_comma = -1
        if token.lastgroup == "comma":
            last_comma = len(kept)
        kept.append(token[0])
    return "".join(kept)


def read_extension(path: Path, manifest: Json, budget: SearchBudget) -> Json:
    """Return a Claude Desktop extension's server as if it stood below `mcpServers`.

    `${user_config.NAME}` in it is what the user chose, from the extension's settings.
    """
    folder = path.parent
    settings_folder = folder.parent.parent / "Claude Extensions Settings"
    text = budget.read_client_text(settings_folder / f"{folder.name}.json")
    settings = {}
    if text.strip():
        settings = parse_json_with_comments(text, budget)
    values = dict(object_at(manifest, "server", "mcp_config"))
    chosen = {}
    for name, option in object_at(manifest, "user_config").items():
        chosen[name] = object_at(option).get("default")
    chosen.update(object_at(settings, "userConfig"))
    environment = {}
    for name, value in object_at(values, "env").items():
        environment[name] = with_user_config(value, chosen)
    values["env"] = environment
    arguments = values.get("args")
    if isinstance(arguments, list):
        values["args"] = [with_user_config(argument, chosen) for argument in arguments]
    values["enabled"] = settings.get("isEnabled", True)
    servers = {}
    for key in ("name", "display_name"):
        server = text_value(manifest, key)
        if server:
            servers[server] = values
    return {"mcpServers": servers}


def with_user_config(value: Any, chosen: Json) -> Any:
    """Return a value with what the user of an extension chose for its variables."""
    if not isinstance(value, str):
        return value

    def choice(found: re.Match[str]) -> str:
        return text_value(chosen, found[1]) or UNKNOWN_PROFILE

    return re.sub(r"\$\{user_config\.(\w+)\}", choice, value)


def servers_in(content: Json, places: str, project: Path) -> Iterator[tuple[str, Json]]:
    """Yield names and values of the servers in a client's file.

    A place is a path of keys. The key `.` is the project's folder, the place `*` the
    top of the file. A few clients have a list there, of servers with a `name` each.
    """
    for place in places.split():
        if place == "*":
            table = {}
            for name, values in content.items():
                keys = object_at(values).keys()
                if "command" in keys or "url" in keys:
                    table[name] = values
        else:
            table = value_below(content, place.split("/"), project)
        if isinstance(table, dict):
            rows = list(table.items())
        elif isinstance(table, list):
            rows = [(object_at(values).get("name"), values) for values in table]
        else:
            rows = []
        for name, values in rows:
            if isinstance(name, str) and isinstance(values, dict):
                yield name, values


def value_below(content: Any, keys: list[str], project: Path) -> Any:
    """Return what stands below these keys, None where nothing does."""
    for key in keys:
        name = key
        if key == ".":
            name = str(project)
        content = object_at(content).get(name)
    return content


def profile_of_entry(values: Json, project: Path, budget: SearchBudget) -> str | None:
    """Return the profile that a server's own process uses, None where nothing says.

    UNKNOWN_PROFILE for one that something has yet to expand, and for a remote server.
    """
    values = dict(values)
    values.update(object_at(values, "command"))  # as in old versions of Zed
    values.update(object_at(values, "transport"))  # as Cline has it
    words = command_words(values)
    variables = entry_variables(values, words, project, budget)
    mentions = [
        variables.get(AWS_API_MCP_PROFILE),
        variables.get(AWS_MCP_PROXY_PROFILES, "").partition(" ")[0],
    ]
    in_command = profile_in_command("\t".join(words))
    mentions.append(in_command)
    if not in_command:  # one that nobody can tell still comes before these
        for name in COMMON_PROFILE_VARIABLES:
            mentions.append(variables.get(name))
    is_unknown = not words
    for profile in mentions:
        if profile and re.fullmatch(LITERAL_NAME, profile):
            return profile
        if profile and profile.strip():
            is_unknown = True
    if is_unknown:
        return UNKNOWN_PROFILE
    return None


def command_words(values: Json) -> list[str]:
    """Return command and arguments, each of which may be a text or a list, expanded."""
    words = []
    for key in ("command", "args"):
        part = values.get(key)
        if isinstance(part, str):
            words.append(expand_client_text(part))
        elif isinstance(part, list):
            for word in part:
                if isinstance(word, str):
                    words.append(expand_client_text(word))
    return words


def entry_variables(
    values: Json, words: list[str], project: Path, budget: SearchBudget
) -> dict[str, str]:
    """Return the variables of a server's entry that name a profile, expanded."""
    variables: dict[str, str] = {}
    for path in env_files(values, words):
        variables.update(read_env_file(path, project, budget))
    for key in ("environment", "env"):
        table = object_at(values, key)
        for name in PROFILE_VARIABLES:
            if isinstance(table.get(name), str):
                variables[name] = expand_client_text(table[name])
    return variables


def env_files(values: Json, words: list[str]) -> list[str]:
    """Return the env files that an entry or its command (`uv run --env-file`) names."""
    files = []
    if isinstance(values.get("envFile"), str):
        files.append(values["envFile"])
    for word, next_word in zip(words, [*words[1:], ""]):
        option, _, value = word.partition("=")
        if option == "--env-file":
            files.append(value or next_word)
    return files


def read_env_file(text: str, project: Path, budget: SearchBudget) -> dict[str, str]:
    """Return the variables in an env file that name a profile."""
    text = text.replace("${workspaceFolder}/", "").replace("${userHome}", "~")
    path = project / expand_path(text)
    variables: dict[str, str] = {}
    # `.env`, `aws.env`, `.env.local`. An entry cannot have any other file opened.
    if "env" not in path.name.split("."):
        return variables
    try:
        lines = budget.read_client_text(path).splitlines()
    except ValueError:
        return variables
    for line in lines:
        found = re.match(ENV_LINE, line)
        if found and found[1] in PROFILE_VARIABLES:
            value = found[2].partition(" #")[0].strip()
            variables[found[1]] = expand_client_text(value.strip("\"'"))
    return variables


def expand_client_text(text: str) -> str:
    """Return a client's text with its variables expanded, `$` for an unknown one.

    Only variables of profiles are known: no other value may reach an answer.
    """

    def value_of(found: re.Match[str]) -> str:
        name = found["braced"] or found["bare"] or found["opencode"] or ""
        if "PROFILE" in name.upper() and os.environ.get(name):
            return os.environ[name]
        return found["default"] or UNKNOWN_PROFILE

    return re.sub(CLIENT_VARIABLE, value_of, text)


# --- Choosing a profile -----------------------------------------------------------------


class Choice(NamedTuple):
    """The profile that a call uses, and why."""

    profile: str
    source: str  # as an answer's `profileSource`
    reason: str  # the same in words
    candidates: list[str]  # other profiles that may be meant


CHOSEN_BY_VARIABLES = ("AWS_SSO_MCP_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def choose_profile(
    config: AwsConfig,
    parameter: str | None,
    server: str | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Choice:
    """Return the profile to use, from the first place that names one. Raises Failure.

    `is_cancelled` ends the search for an MCP server.
    """
    if parameter is not None:
        return choice_of_parameter(config, parameter)
    if server is not None:
        found = profile_of_server(config, server, is_cancelled)
        return Choice(found.profile, "server", found.found, [])
    for variable in CHOSEN_BY_VARIABLES:
        profile = get_variable(variable)
        if profile is not None:
            return Choice(profile, "environment", f"from ${variable}", [])
    return default_choice(config)


def choice_of_parameter(config: AwsConfig, parameter: str) -> Choice:
    """Return the profile of this name, else the first profile of a session.

    The session is the one with this name or this start URL.
    """
    if parameter not in config.profiles:
        wanted = parameter.rstrip("/#")
        for session, profiles in profiles_by_session(config).items():
            if wanted in (session.name, session.start_url.rstrip("/#")):
                reason = (
                    f"the first profile of SSO session {parameter!r}"
                    " (there is no profile with that name)"
                )
                return Choice(profiles[0].name, "parameter", reason, [])
    return Choice(parameter, "parameter", "as requested", [])


def default_choice(config: AwsConfig) -> Choice:
    """Return the profile for a call that names none.

    The session whose token was written last; of its profiles, the one whose role
    credentials the AWS CLI cached last. Without any token, the only session's first
    profile, else `default`.
    """
    sessions = profiles_by_session(config)
    written_at: dict[SsoSession, float] = {}
    for session in sessions:
        token = read_token(session)
        if token is not None:
            written_at[session] = token.written_at
    used = sorted(written_at, key=lambda session: written_at[session], reverse=True)
    candidates = []
    for session in (used or list(sessions))[:MAX_SHOWN]:
        candidates.append(sessions[session][0].name)

    if used:
        profile = most_recent_profile(sessions[used[0]])
        reason = "the SSO profile used last"
        return Choice(profile.name, "most_recent", reason, candidates[1:])
    if len(sessions) == 1:
        reason = "the first profile of the only SSO session"
        return Choice(candidates[0], "only", reason, [])
    reason = "because no profile was given"
    return Choice("default", "default", reason, candidates)


# --- Failures ---------------------------------------------------------------------------
#
# What the commands that we run print when they fail, what it means, and what to do.


class KnownFailure(NamedTuple):
    """A way in which the AWS CLI fails."""

    reason: str
    # Any of these in one line of stderr. "..." stands for anything in between.
    phrases: tuple[str, ...]
    meaning: str  # what happened, and the next step


FAILURES = (  # the first one that fits counts
    KnownFailure(
        "session_expired",
        (
            "token from sso",
            "loading SSO Token",
            "SSO session associated with this profile",
            "Session token not found",
        ),
        "AWS rejects the SSO token. Refresh it; if AWS still rejects it, refresh with"
        " force.",
    ),
    KnownFailure(
        "role_not_assigned",
        ("ForbiddenException... No access", "NotFoundException)...GetRole"),
        "The role is not assigned to this user. Choose another profile, or ask an"
        " administrator.",
    ),
    KnownFailure(
        "denied",
        (
            "AccessDeniedException) when calling the CreateToken",
            "Failed to retrieve an authorization code",
        ),
        "The sign-in request was denied. If that was a mistake, refresh again.",
    ),
    KnownFailure(
        "wrong_state",
        ("State parameter does not match",),
        "The answer came from an old sign-in page. Close all old ones, then try again.",
    ),
    KnownFailure(
        "login_expired",
        (
            "an SSO token has expired",
            "InvalidGrant",
            "ExpiredTokenException...CreateToken",
        ),
        "The sign-in request timed out: nobody approved it. Refresh again when the user"
        " can approve it.",
    ),
    KnownFailure(
        "wrong_start_url",
        (
            "InvalidRequest...RegisterClient",
            "InvalidRequest...StartDeviceAuthorization",
            "InvalidRequest...CreateToken",
            "start URL",
            "https scheme",
        ),
        "AWS does not know this start URL in this region. Check sso_start_url and"
        " sso_region.",
    ),
    KnownFailure(
        "client_registration",
        ("InvalidClientException)", "UnauthorizedClientException)"),
        "AWS rejects the cached client registration. In ~/.aws/sso/cache, delete the"
        " files that have a clientSecret but no accessToken, then try again.",
    ),
    KnownFailure(
        "static_keys",
        ("(InvalidClientTokenId", "(UnrecognizedClientException", "(ExpiredToken"),
        "AWS rejects the credentials. Check AWS_* variables, ~/.aws/credentials, the"
        " region and the clock.",
    ),
    KnownFailure(
        "proxy",
        ("Failed to connect to proxy URL",),
        "The proxy cannot be reached. Check HTTPS_PROXY and the VPN; a login does not"
        " help.",
    ),
    KnownFailure(
        "certificate",
        ("SSL validation failed",),
        "The certificate is not trusted. Set AWS_CA_BUNDLE to your company's"
        " certificates.",
    ),
    KnownFailure(
        "network",
        (
            "Could not connect",
            "timeout on endpoint",
            "HTTP Client",
            "onnection was closed",  # before we received a valid response
            "response stream",
        ),
        "AWS cannot be reached. Check the network, the VPN and sso_region; a login does"
        " not help.",
    ),
    KnownFailure(
        "callback_port",
        ("OAuth 2.0",),  # authorization callback handler
        "The AWS CLI could not listen on a local port. Set AWS_SSO_MCP_LOGIN=device.",
    ),
    KnownFailure(
        "config_changed",
        (
            "parse config file",
            "could not be found",
            "session does not exist",
            "SSO configur",
        ),
        "The AWS config has no such profile, or the profile is incomplete. Check the name"
        " and the file.",
    ),
    KnownFailure(
        "cache_not_writable",
        (
            "[Errno 1]",  # not permitted
            "[Errno 5]",  # input/output error
            "[Errno 13]",  # permission denied
            "[Errno 17]",  # a file where a folder should be
            "[Errno 20]",  # not a folder
            "[Errno 21]",  # a folder where a file should be
            "[Errno 28]",  # no space left
            "[Errno 30]",  # read-only file system
            "[Errno 40]",  # links that lead in a circle
            "[Errno 69]",  # quota exceeded on macOS
            "[Errno 116]",  # stale NFS handle
            "[Errno 122]",  # quota exceeded on Linux
        ),
        "The AWS CLI cannot write to ~/.aws/sso/cache or ~/.aws/cli/cache. Check owner,"
        " permissions and free disk space.",
    ),
    KnownFailure(
        "aws_error",
        (
            "max retries",
            "InternalServer",
            "Unavailable",
            "SlowDown",
            "TooManyRequests",
            "Throttl",
            "(429)",
            "<html",
            "Unable to parse response",
        ),
        "AWS, a captive portal or a VPN answered with an error. Try again later.",
    ),
)
# More signs of `aws_error`: an HTTP status, or the bare name of a key that the AWS CLI
# did not find in an answer ("aws: [ERROR]: 'clientSecretExpiresAt'").
HTTP_SERVER_ERROR = r"\(5\d\d\)"
MISSING_KEY = r"(?:^|: )'[A-Za-z]+'$"

MAX_QUOTED = 200  # characters
LONG_WORD = r"[A-Za-z0-9+/=_.~%-]{40,}"  # may be a secret: tokens are long


def failure_for(reason: str) -> Failure:
    """Return the Failure of this reason as FAILURES describes it."""
    for known in FAILURES:
        if known.reason == reason:
            return Failure(reason, known.meaning)
    raise KeyError(reason)


def cli_failure(process: Process) -> Failure:
    """Return the Failure for a command of the AWS CLI that has failed."""
    errors = process.output[STDERR]
    quotation = last_line_quoted(errors)
    reason = failure_reason(errors)
    if reason is not None:
        return Failure(reason, f"{failure_for(reason)}{quotation}")
    words = []
    for argument in process.argv[1:]:
        if not argument.startswith("--no-"):
            words.append(argument)
    return Failure(
        "aws_cli_failed",
        f"`aws {' '.join(words)}` failed (exit code {process.exit_code})."
        f" Run it in a terminal to see more.{quotation}",
    )


def failure_reason(errors: str) -> str | None:
    """Return the reason that the stderr of the AWS CLI tells; None if it is unknown."""
    lines = errors.splitlines()
    for known in FAILURES:
        for phrase in known.phrases:
            if any(contains_phrase(line, phrase) for line in lines):
                return known.reason
    for line in lines:
        if re.search(HTTP_SERVER_ERROR, line) or re.search(MISSING_KEY, line):
            return "aws_error"
    return None


def contains_phrase(line: str, phrase: str) -> bool:
    """Return whether the parts of a phrase, between its "...", stand in this order."""
    position = 0
    for part in phrase.split("..."):
        found_at = line.find(part, position)
        if found_at < 0:
            return False
        position = found_at + len(part)
    return True


def last_line_quoted(errors: str) -> str:
    """Return the last line of stderr as a sentence in brackets; "" if there is none."""
    lines = errors.strip().splitlines()
    if not lines:
        return ""
    line = lines[-1].strip().removeprefix("aws: [ERROR]:").lstrip()
    line = re.sub(LONG_WORD, "[...]", line)[:MAX_QUOTED]
    if line == "":
        return ""
    return f" (The AWS CLI said: {line.rstrip('.')}.)"


# --- Login ------------------------------------------------------------------------------
#
# Three layers, each independent of the next: a command of the AWS CLI (`run_aws`), an
# operation that many calls wait for (`Operation`), and the steps of a login (`Login`).

# Commands of the AWS CLI

if IS_POSIX:
    AWS_NAMES: tuple[str, ...] = ("aws",)
    # Beside PATH, which is nearly empty for a client that a desktop has started.
    AWS_PLACES: tuple[str, ...] = (
        "/usr/local/bin/aws",
        "/opt/homebrew/bin/aws",
        "/usr/bin/aws",
        "/snap/bin/aws",
        "~/.local/bin/aws",
        "/home/linuxbrew/.linuxbrew/bin/aws",
        "~/.local/share/mise/shims/aws",
        "~/.nix-profile/bin/aws",
        "/run/current-system/sw/bin/aws",
        "~/.asdf/shims/aws",
    )
else:
    AWS_NAMES = ("aws.exe", "aws.cmd")
    AWS_PLACES = (
        "%ProgramFiles%\\Amazon\\AWSCLIV2\\aws.exe",
        "C:\\Program Files\\Amazon\\AWSCLIV2\\aws.exe",
    )
INSTALL_STEP = (
    "Install version 2 (https://aws.amazon.com/cli), or set AWS_SSO_MCP_AWS_CLI to its"
    " path."
)
IS_VERSION_1 = "is version 1, which has no `aws sso login`"
VERSION_1_USAGE_ERROR = (
    2  # its exit code for an unknown command; that of version 2 is 252
)
BATCH_FILES = (".cmd", ".bat")
SPECIAL_IN_BATCH_FILES = set('%&^<>|"')  # cmd.exe acts on these in arguments

# Each `aws` that has shown itself to be version 1: its path, and when it was written.
_version_1_clis: set[tuple[Path, float]] = set()


def find_aws_cli() -> Path:
    """Return the first `aws` that is trusted and not known as version 1. Raises Failure."""
    chosen = get_setting("AWS_SSO_MCP_AWS_CLI")
    if chosen is not None:
        path = expand_path(chosen)
        problem = path_problem(path, chosen_by_user=True)
        programs: Iterable[tuple[Path, str | None]] = [(path, problem)]
    else:
        programs = find_programs(AWS_NAMES, AWS_PLACES)

    problems: dict[Path, str] = {}
    for path, problem in programs:
        if (path, modified_at(path)) in _version_1_clis:
            problems[path] = IS_VERSION_1
        elif problem is not None:
            problems[path] = problem
        else:
            return path

    reason = "aws_cli_not_found"
    if IS_VERSION_1 in problems.values():
        reason = "aws_cli_v1"
    found = "none on PATH or in the usual folders"
    if problems:
        found = "; ".join(f"{path} {problem}" for path, problem in problems.items())
    what = f"No usable AWS CLI v2 was found: {found}. {INSTALL_STEP}"
    raise Failure(reason, what)


def run_aws(
    command: str,
    values: Mapping[str, str],
    keep_going: Callable[[str], bool],
    limit_s: float = COMMAND_LIMIT_S,
    **options: Any,
) -> Process:
    """Run a command of COMMANDS with the AWS CLI v2, and return it finished.

    `keep_going(stdout)` is called at least four times a second: when it returns False, or
    raises Failure, the command is killed. `options` are those of Process.
    Raises Failure, also `timeout` after `limit_s` seconds.
    """
    while True:
        aws = find_aws_cli()
        process = run_once(aws, command, values, keep_going, limit_s, options)
        if is_version_1(process):
            # The next round finds another one, or fails.
            _version_1_clis.add((aws, modified_at(aws)))
        elif lacks_device_code_option(process):
            # Older than 2.22, which has no other way than a device code.
            command = "sso_login"
        else:
            return process


def run_once(
    aws: Path,
    command: str,
    values: Mapping[str, str],
    keep_going: Callable[[str], bool],
    limit_s: float,
    options: Mapping[str, Any],
) -> Process:
    is_special = SPECIAL_IN_BATCH_FILES.intersection("".join(values.values()))
    if aws.suffix.lower() in BATCH_FILES and is_special:
        what = f"{aws} is a batch file and cannot be called with this profile name."
        raise Failure("aws_cli_failed", f"{what} {INSTALL_STEP}")
    deadline = time.monotonic() + limit_s
    process = Process(command, aws, values, **options)
    try:
        while process.wait(POLL_INTERVAL_S) and keep_going(process.output[STDOUT]):
            if time.monotonic() > deadline:
                raise no_answer(command)
    finally:
        process.finish()
    return process


def no_answer(command: str) -> Failure:
    words = " ".join(COMMANDS[command].arguments[:2])
    what = f"`aws {words}` does not answer. Check the network and the proxy, then try again."
    return Failure("timeout", what)


def is_version_1(process: Process) -> bool:
    """Return whether the output is that of version 1 of the AWS CLI.

    It does not know the option that all our commands have, or not the command itself.
    """
    for line in process.output[STDERR].splitlines():
        if line.startswith("Unknown options: ") and "--no-cli-auto" in line:
            return True
        if line.startswith("aws: ") and "nvalid choice" in line:
            return process.exit_code == VERSION_1_USAGE_ERROR
    return False


def lacks_device_code_option(process: Process) -> bool:
    errors = process.output[STDERR]
    is_unknown = "Unknown options: --use-device-code" in errors
    return is_unknown and process.exit_code not in (None, 0)


# Operations: calls that want the same share one (single flight)

# The one condition guards what several threads change: `_operations`, the fields of
# Operation, and those of Call that end its wait. Whoever changes what `Operation.wait`
# waits for (outcome, progress, is_cancelled, is_hurried) notifies all. Reading a single
# field needs no lock. It is held for moments only: never during I/O, nor while a thread or
# a program starts. It is reentrant (a Condition has an RLock unless it is given another
# lock), because `forget` is called with and without it.
SHARED_STATE = threading.Condition()
_operations: dict[Any, Operation] = {}  # those that a call can join, by key

REPORT_INTERVAL_S = 10.0  # between two progress reports that say the same
OUTCOME_IS_KEPT_S = 10 * 60  # the outcome of a login waits so long for a call


class Progress(NamedTuple):
    """What can be told of an operation now."""

    text: str  # for the user
    url: str | None = None  # of the sign-in page
    user_code: str | None = None  # that the page must show
    needs_user: bool = False  # nobody sees the page unless the user is told now
    may_be_offered: bool = False  # the client may be asked to show the page


class Call:
    """One call of a tool, as the tool sees it. Any thread may end its wait."""

    def __init__(
        self,
        report_progress: Callable[[str], object],
        offer_page: Callable[[str, str], bool] | None = None,
    ) -> None:
        """`offer_page(url, message)` asks the client to show a page.

        It returns whether the call goes on waiting while the client shows it.
        """
        self.report_progress = report_progress
        self.offer_page = offer_page
        self.is_cancelled = False  # the client does not want an answer any more
        self.is_hurried = False  # the client wants the answer that there is now
        # What its user already knows. Only the thread of the call uses it.
        self.seen_progress: Progress | None = None

    def has_been_cancelled(self) -> bool:
        return self.is_cancelled

    def stop_waiting(self, *, cancelled: bool) -> None:
        with SHARED_STATE:
            self.is_hurried = True
            if cancelled:
                self.is_cancelled = True
            SHARED_STATE.notify_all()


class Operation:
    """Work that runs in a thread of its own, and the calls that wait for its outcome.

    Calls with the same key join the same operation. SHARED_STATE guards the fields.
    A login stays joinable until a call has taken its outcome, and its calls may leave
    before the end. Any other operation is forgotten as soon as it has ended.
    """

    def __init__(
        self, key: Any, work: Callable[[Operation], Any], login: Login | None = None
    ) -> None:
        """`work(operation)` returns the outcome, or raises Failure."""
        self.key = key
        self.work = work
        self.login: Any = login  # a Login, if the operation is one
        self.progress = Progress("Running the AWS CLI ...")
        self.outcome: Any = None  # what `work` returned, or the Failure that it raised
        self.ended_at = 0.0  # time.monotonic()
        # A forced call got `pending`, and was told to call again without `force`.
        self.expects_unforced_call = False
        self._waiting_calls = 0
        self._abandoned_at: float | None = (
            None  # when the last waiting call was cancelled
        )
        self._is_offered = False  # a client was asked to show the page

    def join(self, call: Call) -> Operation:
        """Start this operation, or join the one of the same key; return that one."""
        with SHARED_STATE:
            running = _operations.get(self.key)
            if running is None:
                _operations[self.key] = self
            else:
                call.seen_progress = running.progress
        if running is not None:
            return running
        call.seen_progress = self.progress
        try:
            # It ends with the work; `wait` waits for the outcome.
            start_thread(self._run)
        except Failure as failure:
            self._end(failure)
        return self

    def _run(self) -> None:
        try:
            outcome = self.work(self)
        except Failure as failure:
            outcome = failure
        except Exception as error:  # noqa: BLE001 - a bug must not leave calls waiting
            outcome = internal_error(error)
        self._end(outcome)

    def _end(self, outcome: Any) -> None:
        with SHARED_STATE:
            self.outcome = outcome
            self.ended_at = time.monotonic()
            if self.login is None:
                self.forget()
            SHARED_STATE.notify_all()

    def forget(self) -> None:
        """Let the next call of this key start a new operation."""
        with SHARED_STATE:
            if _operations.get(self.key) is self:
                del _operations[self.key]

    def update(self, progress: Progress) -> None:
        """Tell the waiting calls how far it is."""
        with SHARED_STATE:
            if progress != self.progress:
                self.progress = progress
                SHARED_STATE.notify_all()

    def wait(self, call: Call, deadline: float) -> Any:
        """Return the outcome; None if it has not come until `deadline` (monotonic).

        Raises the operation's Failure, or `cancelled`.
        """
        with SHARED_STATE:
            self._waiting_calls += 1
            self._abandoned_at = None
        while not self._is_over(call) and time.monotonic() < deadline:
            progress = self.progress
            call.report_progress(progress.text)
            if progress.needs_user and progress != call.seen_progress:
                call.seen_progress = progress
                if not self._offer_page(call, progress):
                    # End this call now: its answer tells the user of the page.
                    call.stop_waiting(cancelled=False)
            self._wait_for_change(call, progress, deadline)
        return self._leave(call)

    def _is_over(self, call: Call) -> bool:
        if self.outcome is not None or call.is_cancelled:
            return True
        return self.login is not None and call.is_hurried

    def _offer_page(self, call: Call, progress: Progress) -> bool:
        """Ask one client to show the page; return whether the call goes on waiting."""
        with SHARED_STATE:
            is_first = not self._is_offered
            self._is_offered = True
        if not is_first or not progress.may_be_offered or progress.url is None:
            return False
        return call.offer_page is not None and call.offer_page(
            progress.url, progress.text
        )

    def _wait_for_change(self, call: Call, progress: Progress, deadline: float) -> None:
        def has_changed() -> bool:
            return self._is_over(call) or self.progress != progress

        seconds_left = deadline - time.monotonic()
        with SHARED_STATE:
            SHARED_STATE.wait_for(has_changed, min(seconds_left, REPORT_INTERVAL_S))

    def _leave(self, call: Call) -> Any:
        with SHARED_STATE:
            self._waiting_calls -= 1
            if call.is_cancelled:
                self._abandoned_at = time.monotonic()
                raise Failure(
                    "cancelled", "The client cancelled this call."
                )  # nobody reads it
            self._abandoned_at = None
            if self.outcome is not None:
                self.forget()
            if isinstance(self.outcome, Failure):
                raise self.outcome
            return self.outcome

    def check_wanted(self) -> None:
        """Raise Failure `abandoned` if no call has wanted the outcome for 30 s."""
        with SHARED_STATE:
            if self._waiting_calls > 0 or self._abandoned_at is None:
                return
            if time.monotonic() - self._abandoned_at <= UNWANTED_AFTER_S:
                return
            self.forget()
        raise Failure("abandoned", "It was stopped because no call was waiting for it.")

    def keep_going(self, _stdout: str) -> bool:
        """Let a command run as long as it is wanted. Raises Failure `abandoned`."""
        self.check_wanted()
        return True


def ask_aws(
    call: Call,
    deadline: float,
    command: str,
    values: Mapping[str, str],
    token: Token | None,
) -> Process:
    """Run a command that does not wait for the user, or join one that is the same.

    With another `token` it is another command. It may take five seconds, also after
    `deadline`. Raises Failure.
    """

    def work(operation: Operation) -> Process:
        return run_aws(command, values, operation.keep_going)

    key = (command, *values.items(), token and token.fingerprint)
    operation = Operation(key, work).join(call)
    process: Process | None = operation.wait(call, max(deadline, time.monotonic() + 5))
    if process is None:
        raise no_answer(command)
    return process


# The sign-in page

URL_LINE = r"https?://\S+"
USER_CODE = r"[A-Z0-9]{4}-[A-Z0-9]{4}"
# Only characters that need no quotes in a shell or a message: no blanks, quotes, angle
# brackets, backslashes.
SAFE_URL = r"https://([A-Za-z0-9.-]+)(?::\d{1,5})?(?:[/?#][!#-;=?-Z_a-z~%\[\]]*)?"

# AWS's own pages, in all partitions of botocore 1.44.8 (November 2026). Customers have
# pages below amazonaws.com, api.aws and on.aws too, so the beginning of the host counts.
REGIONAL_HOSTS = ("oidc", "oidc-fips", "device.sso", "device.sso-fips", "portal.sso",
                  "portal.sso-fips")  # fmt: skip
REGIONAL_DOMAINS = (
    "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws",
    "api.amazonwebservices.com.cn", "api.amazonwebservices.eu",
    "c2s.ic.gov", "csp.hci.ic.gov", "api.aws.ic.gov", "api.aws.hci.ic.gov",
    "sc2s.sgov.gov", "api.aws.scloud", "api.cloud-aws.adc-e.uk", "cloud.adc-e.uk",
)  # fmt: skip
REGION = r"[a-z0-9-]+"
# The access portals: NAME.awsapps.com, NAME.REGION.portal.amazonaws.com
PORTAL_DOMAINS = (
    "awsapps.com", "awsapps.cn", "app.aws", "signin.aws", "signin.aws.amazon.com",
    "portal.amazonaws.com", "portal.amazonaws.com.cn", "portal.amazonaws.eu",
    "app.amazonwebservices.com.cn",
)  # fmt: skip
PORTAL_NAME = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*"


def parse_login_output(text: str) -> tuple[str | None, str | None]:
    """Return the URL to open and the user code that `aws sso login` has printed so far.

    With PKCE, or with the code filled in, the URL has a query. A bare URL counts once its
    code is there: the user types it.
    """
    whole_lines = text[: text.rfind("\n") + 1].split("\n")
    url = None
    url_with_query = None
    user_code = None
    for line in whole_lines:
        if re.fullmatch(URL_LINE, line):
            url = line
            if "?" in line:
                url_with_query = line
        elif re.fullmatch(USER_CODE, line) and user_code is None:
            user_code = line
    if url_with_query is not None:
        return url_with_query, user_code
    if user_code is None:
        return None, None
    return url, user_code


def is_aws_page(url: str) -> bool:
    """Return whether a URL leads to a page of AWS's own."""
    parts = re.fullmatch(SAFE_URL, url)
    if parts is None:
        return False
    host = parts[1].lower()
    for domain in REGIONAL_DOMAINS:
        if host.endswith(f".{domain}"):
            name, _, region = host.removesuffix(f".{domain}").rpartition(".")
            if name in REGIONAL_HOSTS and re.fullmatch(REGION, region):
                return True
    for domain in PORTAL_DOMAINS:
        if host.endswith(f".{domain}"):
            name = host.removesuffix(f".{domain}")
            if re.fullmatch(PORTAL_NAME, name):
                return True
    return False


class Browser(NamedTuple):
    """Where the user's browser is, as far as we can guess."""

    is_here: bool  # on this machine: the AWS CLI can hear from its page (PKCE)
    can_be_opened: bool  # by us


CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def find_browser() -> Browser:
    variables = set()
    for name, value in {**client_environment(), **os.environ}.items():
        if value:
            variables.add(name)
    wish = get_setting("AWS_SSO_MCP_LOGIN")
    if wish is None:
        is_here = not is_remote(variables)
    else:
        is_here = wish == "browser"
    # A remote editor sets BROWSER to a program that opens the page on the user's machine.
    return Browser(is_here, is_here or "BROWSER" in variables)


def is_remote(variables: Collection[str]) -> bool:
    """Return whether variables, or the system, say that the user sits elsewhere."""
    if IS_POSIX and any(exists(to_path(mark)) for mark in CONTAINER_MARKS):
        return True
    if any(name in variables for name in REMOTE_VARIABLES):
        return True
    if sys.platform == "linux":
        return not any(name in variables for name in SCREEN_VARIABLES)
    return False


def open_page(url: str) -> None:
    """Open a URL in the browser. Nothing tells whether a page has appeared."""
    with contextlib.suppress(Failure):  # the answer carries the URL
        process = Process("open_page", to_path(sys.executable), {"url": url})
        process.wait(30)
        process.finish()


# The login

REFRESHED, LOGGED_IN = (
    "refreshed",
    "logged_in",
)  # how a new token came; `status` of answers
RESTARTABLE_AFTER_S = 30  # a younger login is not started anew by `force`
NO_PAGE_AFTER_S = 60  # the AWS CLI needs seconds to print the sign-in page


class SharedPage(NamedTuple):
    """What the lock file tells other processes. Each field is checked by its pattern."""

    url: str | None = None
    user_code: str | None = None
    host: str | None = None  # that has asked for the login
    is_denied: bool = False  # the user has denied the request


HOST_NAME_PATTERN = r"[\w.-]{1,255}"

# Ends of a silent refresh after which the refresh token may still be good.
NOT_TRIED = ("timeout", "network", "proxy", "certificate", "aws_error", "abandoned")
# Settings of a profile that say how AWS is reached.
CONNECTION_KEYS = ("ca_bundle", "use_fips_endpoint", "use_dualstack_endpoint")

# The AWS CLI looks at the token only when it needs new role credentials, and it caches
# those for hours. So we ask for those of a role that nobody has: AWS refuses it, but the
# token has been refreshed.
REFRESH_PROFILE = "refresh"
REFRESH_CONFIG = """\
[profile {profile}]
sso_session = {name}
sso_account_id = 000000000000
sso_role_name = none-{unique}
{connection}[sso-session {quoted_name}]
sso_region = {region}
sso_start_url = {start_url}
"""


def own_host() -> str:
    """Return this machine's name, for the user to recognize."""
    if IS_POSIX:
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "localhost")


class Login:
    """Gets a new token for one SSO session: the work of an operation.

    1. Wait for the lock. Done, if another process has got a new token meanwhile.
    2. Refresh the token silently, if it has a refresh token. Done, unless AWS refuses it.
    3. Let the user log in on the sign-in page. `force` starts this step anew.

    Other processes see the lock, and in its file the page, or that the user has denied
    it. The token file tells them whether it has succeeded; a page that is left in the lock
    file, that it has failed.
    """

    def __init__(
        self, profile: SsoProfile, seen_token: Token | None, *, try_refresh: bool
    ) -> None:
        """`seen_token` is not good enough: any other token is what we want.

        `try_refresh`: whether its refresh token is worth a try.
        """
        self.session = profile.session
        self.profile = profile.login_profile
        self.seen_token = seen_token
        self.try_refresh = try_refresh
        self.lock = FileLock(lock_path(profile.session))
        self.lock_problem = ""  # for the answer: why there is no lock
        self.browser = find_browser()
        self.page = SharedPage()  # of the login that runs
        self._printed = ""  # by that login, when we looked last
        self._started_at = time.time()  # goes on while a laptop sleeps
        self.restart_wanted = False  # guarded by SHARED_STATE

    def run(self, operation: Operation) -> str:
        """Return how the new token came, REFRESHED or LOGGED_IN. Raises Failure."""
        try:
            how_others_did = self._wait_for_lock(operation)
            if how_others_did is not None:
                return how_others_did
            if self.try_refresh and self._refresh(operation):
                return REFRESHED
            self._log_in(operation)
        except Failure as failure:
            if failure.reason == "denied":
                self._share(SharedPage(is_denied=True))
            elif failure.reason == "abandoned":
                self._share(SharedPage())  # who waits for the lock starts a login
            raise
        finally:
            self.lock.release()
        return LOGGED_IN

    def has_new_token(self) -> bool:
        """Return whether there is another token than at first, and a good one."""
        token = read_token(self.session)
        if token is None or token.expires_at <= time.time():
            return False
        return is_other_token(token, self.seen_token)

    def request_restart(self) -> None:
        """Let a login that is not young any more end, and start it anew."""
        with SHARED_STATE:
            self.restart_wanted = self._age_s() > RESTARTABLE_AFTER_S

    def _age_s(self) -> float:
        return time.time() - self._started_at

    # Other processes

    def _wait_for_lock(self, operation: Operation) -> str | None:
        """Take the lock. Return how another process has got the token, if one has."""
        their_page = SharedPage()
        while not self._take_lock():
            if self.has_new_token():
                return self._how_others_did()
            their_page = self._read_shared()
            operation.update(self._progress(their_page, is_ours=False))
            operation.check_wanted()
            if self._age_s() > LOGIN_LIMIT_S:
                raise failure_for("login_expired")
            time.sleep(POLL_INTERVAL_S)
        if self.has_new_token():  # by the process that has just released the lock
            return self._how_others_did()
        if their_page == SharedPage():  # they had no page, or there were none
            self._share(SharedPage())  # remove what an earlier login has left
            return None
        # They had a page, and it has brought no token.
        end_of_theirs = self._read_shared()
        if end_of_theirs.is_denied:
            raise failure_for("denied")
        if end_of_theirs.url is not None:
            what = "The login of another program failed. Try again."
            raise Failure("ended_elsewhere", what)
        return None

    def _take_lock(self) -> bool:
        try:
            return self.lock.acquire()
        except OSError as error:  # go on without a lock
            self.lock_problem = (
                " (Other programs may also open a sign-in page,"
                f" because the lock file cannot be used: {error}.)"
            )
            return True

    def _how_others_did(self) -> str:
        if self._read_shared().url is not None:
            return LOGGED_IN
        return REFRESHED

    def _share(self, page: SharedPage) -> None:
        """Tell other processes, if we hold the lock."""
        if self.lock.fd is None:
            return
        content = {}
        if page.url is not None:
            content = {"url": page.url, "code": page.user_code, "host": page.host}
        elif page.is_denied:
            content = {"outcome": "denied"}
        with contextlib.suppress(OSError):  # a full disk: the lock still holds
            write_file("lock", lock_hash(self.session), json.dumps(content))

    def _read_shared(self) -> SharedPage:
        """Return what the lock file tells, as far as it has the right form."""
        content = read_json(self.lock.path, "lock") or {}
        return SharedPage(
            checked_text(content, "url", SAFE_URL),
            checked_text(content, "code", USER_CODE),
            checked_text(content, "host", HOST_NAME_PATTERN),
            content.get("outcome") == "denied",
        )

    # Without the user

    def _refresh(self, operation: Operation) -> bool:
        """Let the AWS CLI use the refresh token; return whether there is a new token.

        Raises Failure if the refresh token was not tried.
        """
        profile = REFRESH_PROFILE
        variables = {
            "AWS_CONFIG_FILE": str(own_path("refresh_config", lock_hash(self.session))),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        try:
            write_file(
                "refresh_config", lock_hash(self.session), self._refresh_config()
            )
        except OSError:
            # The user's own configuration does it too, unless role credentials are cached.
            profile = self.profile
            variables = {}
        try:
            process = run_aws(
                "export_credentials",
                {"profile": profile},
                operation.keep_going,
                variables=variables,
            )
            failure = cli_failure(process)  # it always fails: nobody has that role
        except Failure as raised:
            failure = raised
        if self.has_new_token():
            return True
        if failure.reason in NOT_TRIED:
            raise failure
        return False

    def _refresh_config(self) -> str:
        import shlex

        values = read_aws_config().profiles.get(self.profile, {})
        connection = ""
        for key in CONNECTION_KEYS:
            value = text_value(values, key)
            if value is not None:
                connection += f"{key} = {value}\n"
        name = self.session.name or ""
        return REFRESH_CONFIG.format(
            profile=REFRESH_PROFILE,
            name=name,
            unique=time.time_ns(),  # the AWS CLI caches refusals too
            connection=connection,
            quoted_name=shlex.quote(name),
            region=self.session.region,
            start_url=self.session.start_url,
        )

    # With the user

    def _log_in(self, operation: Operation) -> None:
        """Run `aws sso login`, again if a restart is wanted. Raises Failure."""
        command = "sso_login_with_device_code"
        if self.browser.is_here:
            command = "sso_login"
        while True:
            with SHARED_STATE:
                self.restart_wanted = False
                self._started_at = time.time()
            self.page = SharedPage()
            self._share(self.page)
            operation.update(self._progress(self.page))
            process = run_aws(
                command,
                {"profile": self.profile},
                partial(self._login_keeps_going, operation),
                2 * LOGIN_LIMIT_S,  # a last resort: `_login_keeps_going` ends it before
                inherited_fds=self._lock_for_child(),
            )
            if self.has_new_token():
                return
            if not self.restart_wanted:
                raise self._login_failure(process)

    def _lock_for_child(self) -> list[int]:
        """Return the lock's descriptor for the AWS CLI to inherit.

        So the lock is held until the login ends, also if this process is killed.
        """
        if self.lock.fd is None or not IS_POSIX:
            return []
        return [self.lock.fd]

    def _login_failure(self, process: Process) -> Failure:
        if process.exit_code != 0:
            return cli_failure(process)
        return Failure(
            "no_token",
            "`aws sso login` ended without a new token. Check ~/.aws/cli/alias and the"
            " clock.",
        )

    def _login_keeps_going(self, operation: Operation, stdout: str) -> bool:
        """Show the page once it is printed; return whether the login may run on."""
        if self.has_new_token():
            # If it is young, it may be this login's: let that end by itself.
            token_age_s = abs(time.time() - modified_at(token_path(self.session)))
            return token_age_s < GRACE_S
        operation.check_wanted()
        if self.page.url is None and self._age_s() > NO_PAGE_AFTER_S:
            raise failure_for("network")
        if self._age_s() > LOGIN_LIMIT_S:
            raise failure_for("login_expired")
        self._look_for_page(operation, stdout)
        return not self.restart_wanted

    def _look_for_page(self, operation: Operation, stdout: str) -> None:
        url, user_code = parse_login_output(stdout)
        is_settled = stdout == self._printed  # nothing was printed since the last look
        self._printed = stdout
        if url is None or url == self.page.url:
            return
        if is_settled or "?" in url:  # no better URL will follow
            self._show(operation, SharedPage(url, user_code, own_host()))

    def _show(self, operation: Operation, page: SharedPage) -> None:
        """Open the sign-in page, and tell calls and processes of it. Raises Failure."""
        url = page.url or ""
        if not re.fullmatch(SAFE_URL, url):
            raise Failure(
                "untrusted_url",
                "The URL of the sign-in page is not https. Check sso_start_url, and whether"
                " a captive portal answers.",
            )
        is_first_page = self.page.url is None
        self.page = page
        self._take_lock()  # the lock file may have been deleted meanwhile
        self._share(page)
        operation.update(self._progress(page))
        if is_first_page and self.browser.can_be_opened and is_aws_page(url):
            with contextlib.suppress(Failure):  # no thread: the answer carries the URL
                # It ends when the browser has been started; nobody waits for it.
                start_thread(open_page, url)

    def _progress(self, page: SharedPage, *, is_ours: bool = True) -> Progress:
        """Return what the user can be told now."""
        if page.url is None:
            who = "The AWS CLI"
            if not is_ours:
                who = "Another program"
            return Progress(
                f"{who} is refreshing the token or requesting a sign-in page."
            )
        is_safe = is_aws_page(page.url)
        opens_by_itself = self.browser.can_be_opened and is_safe
        return Progress(
            sign_in_text(page, opens_by_itself=opens_by_itself),
            page.url,
            page.user_code,
            needs_user=not opens_by_itself,
            may_be_offered=is_safe and is_ours,
        )


def checked_text(content: Json, key: str, pattern: str) -> str | None:
    """Return a value if it is text of this form."""
    value = text_value(content, key)
    if value is None or not re.fullmatch(pattern, value):
        return None
    return value


def sign_in_text(page: SharedPage, *, opens_by_itself: bool) -> str:
    """Return how the user gets to the sign-in page, and when to approve it."""
    where = f"a browser on the machine {page.host}"
    check = ""
    if page.user_code is not None:
        where = "any browser"
        check = (
            f" Approve it only if it shows the code {page.user_code}"
            f" (requested by {page.host})."
        )
    if not is_aws_page(page.url or ""):
        return f"Warning: {page.url} is not an AWS address. Open it only if you know it.{check}"
    if opens_by_itself:
        approve = check or " Approve it there."
        return (
            f"A sign-in page should have opened in the browser.{approve}"
            f" If you do not see it, open {page.url} in {where}."
        )
    if check:
        return f"Open {page.url} in {where}.{check}"
    return f"Open {page.url} in {where} and approve the request."


def lock_hash(session: SsoSession) -> str:
    return token_path(session).stem


def lock_path(session: SsoSession) -> Path:
    return own_path("lock", lock_hash(session))


def find_login(session: SsoSession) -> Operation | None:
    """Return the session's login that runs, or that has ended and no call has heard of."""
    with SHARED_STATE:
        operation = _operations.get(lock_path(session))
    if operation is None or operation.outcome is None:
        return operation
    is_old = time.monotonic() - operation.ended_at > OUTCOME_IS_KEPT_S
    has_failed = isinstance(operation.outcome, Failure)
    # A token that is gone again: `aws sso logout`.
    is_undone = not has_failed and not operation.login.has_new_token()
    if is_old or is_undone:
        operation.forget()
        return None
    return operation


# --- Tools ------------------------------------------------------------------------------

MAX_STATUS_CHARACTERS = 3800  # of a status as JSON, for a model
NO_PROFILE = (
    "There is no usable SSO profile yet. Create one in a terminal with"
    " `aws configure sso`."
)
RETRY = (
    " Retry what failed. If an MCP server still fails, reconnect it: it may use old"
    " credentials."
)


def refresh_aws_sso_token(
    call: Call,
    profile: str | None = None,
    server: str | None = None,
    force: bool = False,
    wait_s: float | None = None,
) -> Json:
    """Get a usable SSO token for a profile, with the fewest clicks.

    Returns the answer; raises nothing. `wait_s` replaces AWS_SSO_MCP_WAIT_SECONDS.
    """
    if wait_s is None:
        wait_s = float(get_setting("AWS_SSO_MCP_WAIT_SECONDS") or 0)
    keys: Json = {}  # of the answer, whatever happens
    config = None
    target = None
    profile_sentence = ""
    try:
        config = read_aws_config()
        choice = choose_profile(config, profile, server, call.has_been_cancelled)
        name = sanitize(choice.profile, config.profiles)
        profile_sentence = f" Profile: {name!r}, {choice.reason}."
        keys["profile"] = name
        keys["profileSource"] = choice.source
        if choice.candidates:
            keys["candidates"] = choice.candidates
        target = with_probe_profile(config, find_sso_profile(config, choice.profile))
        check_token_file(target.session)
        if target.login_profile != target.name:
            keys["loginProfile"] = target.login_profile
        keys["ssoSession"] = target.session.name
        keys["startUrl"] = target.session.start_url
        check_ca_bundle()
        answer = get_usable_token(call, target, force=force, wait_s=wait_s)
    except Failure as failure:
        explained = explain_failure(failure, target)
        answer = failure_answer(explained, config, keys.get("candidates", []))
    answer["message"] += " ".join([profile_sentence, *setting_warnings()])
    return {**keys, **answer}


def with_probe_profile(config: AwsConfig, target: SsoProfile) -> SsoProfile:
    """Return the profile with one that has a role: itself, or another of its session."""
    candidates = [target]
    if target.role_name is None:
        candidates = profiles_by_session(config).get(target.session, [])
    for candidate in candidates:
        if candidate.role_name is not None:
            return target._replace(probe_profile=candidate)
    return target


def check_token_file(session: SsoSession) -> None:
    """Raise Failure if the token file cannot be read, or is no file."""
    read_file(token_path(session), "aws_cache")


def check_ca_bundle() -> None:
    """Raise Failure if the AWS CLI could not reach AWS because of AWS_CA_BUNDLE."""
    value = get_variable("AWS_CA_BUNDLE")
    if value is None:
        return
    path = absolute_path(value)
    content = None
    with contextlib.suppress(Failure):
        content = read_file(path, "ca_bundle")
    if content is None or b"CERTIFICATE-----" not in content:
        raise Failure(
            "certificate",
            f"AWS_CA_BUNDLE is set to {path}, which is not a readable PEM file."
            " Set it to your company's certificates, or unset it.",
        )


def explain_failure(failure: Failure, target: SsoProfile | None) -> Failure:
    """Return a better Failure if a damaged cache file explains an error of the AWS CLI."""
    if target is None or failure.reason not in ("aws_cli_failed", "aws_error"):
        return failure
    return damaged_cache_failure(target) or failure


def failure_answer(
    failure: Failure, config: AwsConfig | None = None, candidates: Sequence[str] = ()
) -> Json:
    """Return the answer for a Failure; for a profile that cannot be used, with others."""
    answer: Json = {
        "success": False,
        "status": "failed",
        "message": str(failure),
        "reason": failure.reason,
    }
    if failure.candidates:
        answer["candidates"] = list(failure.candidates)
    if config is None or failure.unusable_profile is None:
        return answer
    usable = []
    for profiles in profiles_by_session(config).values():
        for profile in profiles:
            usable.append(profile.name)
    offered = closest_names(failure.unusable_profile, usable, SIMILAR)
    if not offered:
        offered = list(candidates)
    if offered:
        answer["candidates"] = offered
        names = quote_names(offered)
        step = f" If you meant another profile, try again with one of: {names}."
    elif usable:
        step = " The status lists all SSO profiles."
    else:
        step = first_profile_step(config)
    if step not in answer["message"]:
        answer["message"] += step
    return answer


def first_profile_step(config: AwsConfig) -> str:
    """Return what to do where no SSO profile can be used."""
    hints = list(config.header_hints.values())[:MAX_SHOWN]
    if hints:
        return "".join(hints)
    return f" {NO_PROFILE} The status shows what is wrong."


def get_usable_token(
    call: Call, target: SsoProfile, *, force: bool, wait_s: float
) -> Json:
    """Return the answer of the way to a good token that costs the fewest clicks.

    No login if the token is good; else the session's running login, or a new one.
    Raises Failure.
    """
    deadline = time.monotonic() + wait_s
    token = read_token(target.session)
    operation = find_login(target.session)
    if operation is not None:
        call.seen_progress = operation.progress
        if force and isinstance(operation.outcome, Failure):
            operation.forget()
    if operation is None or not must_join(operation, token):
        if token_state(token) == "valid" and not force:
            answer = valid_token_answer(call, target, deadline)
            if answer is not None:
                return answer
        # This joins the session's login, if there is one.
        try_refresh = token_state(token) == "refreshable" and not force
        login = Login(target, token, try_refresh=try_refresh)
        operation = Operation(login.lock.path, login.run, login).join(call)
    login = operation.login
    if force:
        login.request_restart()
    outcome = operation.wait(call, deadline)
    if outcome is None:
        return pending_answer(operation, force=force)
    identity, note = identity_after_login(call, target, deadline)
    note += same_expiry_note(login) + login.lock_problem
    return usable_answer(outcome, target, identity, note)


def must_join(operation: Operation, token: Token | None) -> bool:
    """Return whether a call has to wait for a login, even if it has found a good token.

    Not for one that has failed: a good token counts more than a failure that no call has
    heard of. Nor for one that was forced before this token came.
    """
    if isinstance(operation.outcome, Failure):
        return False
    if operation.expects_unforced_call:
        return True
    # The login has just got this token, or will replace it.
    return is_other_token(token, operation.login.seen_token)


def valid_token_answer(call: Call, target: SsoProfile, deadline: float) -> Json | None:
    """Return the answer for a good token; None if AWS rejects it. Raises Failure."""
    try:
        proof = check_identity(call, target, deadline)
    except Failure as failure:
        if failure.reason == "session_expired":
            return None
        raise
    return usable_answer(VALID, target, proof)


class Proof(NamedTuple):
    """Whether AWS accepts the token, as `aws sts get-caller-identity` has shown."""

    is_accepted: bool  # False: nobody knows
    identity: Json | None = None  # account and arn, if they are those of the profile


def check_identity(call: Call, target: SsoProfile, deadline: float) -> Proof:
    """Ask AWS who the caller is. Raises Failure if it rejects the token or the role.

    A profile without a role is proved through another one of its session.
    """
    probe = target.probe_profile
    if probe is None:
        return Proof(is_accepted=False)
    process = run_get_caller_identity(call, probe, deadline)
    identity = parse_identity(process)
    if identity is not None:
        if target.role_name is None:  # the identity is that of another profile
            return Proof(is_accepted=True)
        return Proof(is_accepted=True, identity=identity)
    failure = cli_failure(process)
    if target.role_name is not None or failure.reason == "session_expired":
        raise failure
    # AWS has accepted the token if it only refuses the other profile's role.
    return Proof(is_accepted=failure.reason == "role_not_assigned")


def run_get_caller_identity(call: Call, probe: SsoProfile, deadline: float) -> Process:
    values = {"profile": probe.login_profile}
    token = read_token(probe.session)
    process = ask_aws(call, deadline, "get_caller_identity", values, token)
    if "[Errno 17]" in process.output[STDERR]:
        # Before 2.31, two of them could fail when both made ~/.aws/cli/cache.
        process = ask_aws(call, deadline, "get_caller_identity", values, token)
    return process


def parse_identity(process: Process) -> Json | None:
    """Return account and ARN from the output; None if it has failed."""
    if process.exit_code != 0:
        return None
    try:
        found = json.loads(process.output[STDOUT])
        return {"account": str(found["Account"]), "arn": str(found["Arn"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def identity_after_login(
    call: Call, target: SsoProfile, deadline: float
) -> tuple[Proof, str]:
    """Return what AWS says of a new token, and a note if it could not be asked.

    Raises Failure if AWS rejects the token or the role.
    """
    try:
        return check_identity(call, target, deadline), ""
    except Failure as failure:
        if failure.reason == "session_expired":
            raise Failure(
                failure.reason,
                "AWS rejects even the new token. Check sso_region and sso_start_url, ask"
                " the user to sign out in the portal (startUrl), then refresh once with"
                " force.",
            ) from None
        explained = explain_failure(failure, target)
        if explained.reason in ("role_not_assigned", "damaged_cache"):
            raise
        note = f" The caller identity could not be checked: {failure}"
        return Proof(is_accepted=False), note


VALID = "valid"
DONE = {
    VALID: "The SSO token is good and AWS accepts it. No login was needed.",
    REFRESHED: "The SSO token was refreshed. No login was needed.",
    LOGGED_IN: "Logged in. There is a new SSO token.",
}
VALID_WITHOUT_PROOF = (
    "The SSO token has not expired. It was not checked with AWS, because no profile with a"
    " role could be used."
)


def usable_answer(
    status: str, target: SsoProfile, proof: Proof, note: str = ""
) -> Json:
    """Return the answer for a token that can be used."""
    done = DONE[status]
    if status == VALID and not proof.is_accepted:
        done = VALID_WITHOUT_PROOF
    answer = {
        "success": True,
        "status": status,
        "message": f"{done}{note}{RETRY}{environment_keys_warning()}",
        **expiry_keys(read_token(target.session)),
    }
    if proof.identity is not None:
        answer["identity"] = proof.identity
    return answer


def same_expiry_note(login: Login) -> str:
    """Return a note for a login that has brought no more time, or will be needed often."""
    old = login.seen_token
    new = read_token(login.session)
    if old is not None and new is not None:
        was_written_later = new.written_at > old.written_at + 2 * 60
        expires_later = new.expires_at > old.expires_at + 60
        if was_written_later and not expires_later:
            return (
                " It expires when the old one did, because the session of the AWS access"
                " portal is the same. If AWS still rejects it, ask the user to sign out in"
                " the portal (startUrl), then refresh with force."
            )
    if login.session.name is None:
        return (
            " (A profile with an [sso-session] section can usually be refreshed without a"
            " login.)"
        )
    return ""


def environment_keys_warning() -> str:
    """Return a warning if keys in the environment override every profile."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return " AWS_ACCESS_KEY_ID is set here and overrides AWS_PROFILE. Unset it."
    return ""


def pending_answer(operation: Operation, *, force: bool) -> Json:
    """Return the answer for a login that waits for the user."""
    with SHARED_STATE:
        progress = operation.progress
        if force:
            operation.expects_unforced_call = True
    again = "with the same arguments"
    if force:
        again = "without `force`"
    message = (
        f"Waiting for the user to approve. {progress.text} Then call"
        f" refresh_aws_sso_token again {again}: it joins this login and does not open a"
        " second page."
    )
    if progress.url is None:
        message = (
            f"{progress.text} Call refresh_aws_sso_token again {again}: it joins this login"
            " and does not open a second page."
        )
    if operation.login.page.url is not None:
        message += " If the page shows an error, call it with `force`: true to start a new login."
    answer: Json = {
        "success": False,
        "status": "pending",
        "message": message + operation.login.lock_problem,
    }
    if progress.url is not None:
        answer["loginUrl"] = progress.url
    if progress.user_code is not None:
        answer["userCode"] = progress.user_code
    return answer


# Status


def get_aws_sso_status(_call: Call, profile: str | None = None) -> Json:
    """Return the state of every SSO session, or of a profile's, from files only."""
    try:
        config = read_aws_config()
    except Failure as failure:
        return failure_answer(failure)
    choice = choose_profile(config, profile)
    target = None
    try:
        target = find_sso_profile(config, choice.profile)
    except Failure as failure:
        if profile is not None:
            return failure_answer(failure, config)
    name = sanitize(choice.profile, config.profiles)
    rows = session_rows(config, target)
    if target is not None and profile is not None:  # only this profile was asked for
        rows = rows[:1]
        rows[0]["profiles"] = rows[0]["profiles"][:1]
        config = only_profile(config, target)
    usable_count = 0
    for row in rows:
        if "expiresAt" in row:
            usable_count += 1
    message = f"SSO sessions that can be used: {usable_count} of {len(rows)}."
    message += f" A refresh would use profile {name!r}, {choice.reason}"
    if target is None:
        message += ", and fail: see the problems. Choose another profile."
    else:
        message += "."
    if not rows:
        message = NO_PROFILE

    used_profile = choice.profile
    if target is not None:
        used_profile = target.login_profile
    return {
        "success": True,
        "message": message,
        "sessions": rows,
        "next": {"profile": name, "profileSource": choice.source},
        "awsCli": aws_cli_status(),
        "problems": config_problems(config, used_profile),
    }


def only_profile(config: AwsConfig, target: SsoProfile) -> AwsConfig:
    """Return the configuration as if it had no other profile."""
    values = config.profiles[target.login_profile]
    return config._replace(profiles={target.login_profile: values}, header_hints={})


def aws_cli_status() -> Json:
    try:
        return {"path": str(find_aws_cli()), "problem": None}
    except Failure as failure:
        return {"path": None, "problem": str(failure)}


def session_rows(config: AwsConfig, target: SsoProfile | None) -> list[Json]:
    """Return a row for each session: first that of `target`, then the longest valid."""
    sessions = profiles_by_session(config)
    first_rows = []
    if target is not None:
        others = []
        for profile in sessions.pop(target.session, []):
            if profile != target:
                others.append(profile)
        first_rows.append(session_row(target.session, [target, *others]))
    rows = []
    for session, profiles in sessions.items():
        rows.append(session_row(session, profiles))
    rows.sort(key=lambda row: str(row.get("expiresAt", "")), reverse=True)
    return first_rows + rows


def session_row(session: SsoSession, profiles: Sequence[SsoProfile]) -> Json:
    token = read_token(session)
    operation = find_login(session)
    runs_here = operation is not None and operation.outcome is None
    profile_rows = []
    for profile in profiles:
        profile_rows.append(
            {
                "profile": profile.name,
                "accountId": profile.account_id,
                "roleName": profile.role_name,
            }
        )
    return {
        "ssoSession": session.name,
        "startUrl": session.start_url,
        "state": token_state(token),
        **expiry_keys(token),
        "profileCount": len(profiles),
        "profiles": profile_rows,
        "loginInProgress": runs_here or is_locked(lock_path(session)),
    }


def config_problems(config: AwsConfig, used_profile: str) -> list[str]:
    """Return what is wrong with the environment, the configuration and the token files.

    `used_profile` is the one that a refresh would log in with. Other profiles without SSO
    settings are no problem.
    """
    problems = [environment_keys_warning(), *config.header_hints.values()]
    checks: list[Callable[[], object]] = [check_ca_bundle]
    for name in dict.fromkeys([used_profile, *config.profiles]):
        checks.append(partial(find_sso_profile, config, name))
    for session in profiles_by_session(config):
        checks.append(partial(check_token_file, session))
    for check in checks:
        try:
            check()
        except Failure as failure:
            is_other_kind = failure.reason == "not_sso"
            if not is_other_kind or failure.unusable_profile == used_profile:
                problems.append(str(failure))
    problems += setting_warnings()
    found = []
    for problem in problems:
        sentence = problem.strip()
        if sentence != "" and sentence not in found:
            found.append(sentence)
    return found


def shorten_status(answer: Json) -> Json:
    """Return an answer without what of a status is too much for a model."""
    sessions = answer.get("sessions", [])
    problems = answer.get("problems", [])
    lists = [sessions, problems]
    for row in sessions:
        lists.append(row["profiles"])
    count = len(sessions) + len(problems)
    for each in lists:  # at once: one by one, thousands would take long
        del each[MAX_SHOWN:]
    while any(lists) and len(json.dumps(answer)) > MAX_STATUS_CHARACTERS:
        max(lists, key=len).pop()
    if len(sessions) + len(problems) < count:
        answer["message"] += " The list is shortened. Use `profile` to see one session."
    return answer


# The table of tools


class Tool(NamedTuple):
    """What MCP shows of a tool, and the function that does its work."""

    definition: Json  # as in MCP's tools/list
    function: Callable[..., Json]  # (call, **arguments) -> answer; raises nothing


REFRESH_DEFINITION: Json = {
    "name": "refresh_aws_sso_token",
    "title": "Refresh AWS SSO token",
    "description": (
        "Refreshes an expired or missing AWS SSO (IAM Identity Center) token so"
        " that AWS commands work again. Call it when a command, SDK or MCP server"
        " that failed says that an SSO token, session or login is expired, invalid,"
        " missing or cannot be refreshed, or tells you to run `aws sso login`. Do"
        " not call it for AccessDenied, static keys or network errors. If the token"
        " is still good or can be refreshed silently, the user does nothing;"
        " otherwise one sign-in page opens for the user. If `status` is `pending`,"
        " show the user `loginUrl` (and `userCode`), then call again without"
        " `force`: that joins the same login. Then retry what failed."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "profile": {
                "type": "string",
                "description": (
                    "AWS profile of the command that failed, or else the profile or"
                    " SSO session that its error message names. Default:"
                    " $AWS_PROFILE, or else the SSO profile used last."
                ),
            },
            "server": {
                "type": "string",
                "description": (
                    "Use instead of `profile`: the name of the MCP server whose call"
                    " failed (or its full tool name). The profile in the"
                    " configuration of that server is used."
                ),
            },
            "force": {
                "type": "boolean",
                "description": (
                    "Log in again even if the token looks good. Use it when AWS"
                    " still rejects the token, or when the sign-in page of a pending"
                    " login shows an error."
                ),
            },
        },
        "additionalProperties": False,
    },
    "annotations": {
        "readOnlyHint": False,
        "destructiveHint": False,
        "idempotentHint": True,
    },
}

STATUS_DEFINITION: Json = {
    "name": "get_aws_sso_status",
    "title": "AWS SSO status",
    "description": (
        "Shows which AWS SSO sessions and profiles are configured, whether their"
        " tokens are valid and for how long, and which profile"
        " refresh_aws_sso_token would use. Read-only: does not log in and changes"
        " nothing."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "profile": {
                "type": "string",
                "description": "Show only the session of this profile.",
            }
        },
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}

TOOLS = {
    "refresh_aws_sso_token": Tool(REFRESH_DEFINITION, refresh_aws_sso_token),
    "get_aws_sso_status": Tool(STATUS_DEFINITION, get_aws_sso_status),
}


PYTHON_TYPES = {"string": str, "boolean": bool}


def check_arguments(definition: Json, arguments: Json) -> Json:
    """Return the arguments of a call, without empty ones. Raises Failure `bad_argument`."""
    properties = definition["inputSchema"]["properties"]
    checked = {}
    for name, value in arguments.items():
        if name not in properties:
            known = quote_names(properties)
            what = f"Unknown argument {name[:50]!r}. Known arguments: {known}."
            raise Failure("bad_argument", what)
        kind = properties[name]["type"]
        if not isinstance(value, PYTHON_TYPES[kind]):
            raise Failure("bad_argument", f"`{name}` must be a {kind}.")
        if kind == "string" and not re.fullmatch(ANY_NAME, str(value)):
            what = f"`{name}` must have at most 512 characters, all printable."
            raise Failure("bad_argument", what)
        if value != "":
            checked[name] = value
    return checked


# --- Hook -------------------------------------------------------------------------------
#
# A host runs `aws_sso_mcp.py hook` with an event as JSON on stdin: a tool failed, or a
# session starts. What a failed command printed is only a trigger. Whether a token has
# expired, the token cache tells. So the tables below may be loose: while the token is good,
# the hook is silent, whatever an output says.
#
# A model trusts a hook more than the output of a command. So nothing of that output is
# passed on: the only names that the hook says are those of profiles configured here.


class AwsSentence(NamedTuple):
    """What an AWS tool prints when it has no good SSO token."""

    words: str  # the part that never varies, in lower case
    sample: str
    source: str  # the tools that print it


# The token has expired, is missing, or cannot be loaded.
EXPIRED_SENTENCES = (
    AwsSentence(
        "error when retrieving token from sso",
        "Error when retrieving token from sso: Token has expired and refresh failed",
        "AWS CLI, boto3: botocore/exceptions.py, TokenRetrievalError",
    ),
    AwsSentence(
        "token has expired and refresh failed",
        "[leg unavailable: TokenRetrievalError: Token has expired and refresh failed]",
        "AWS CLI, boto3: botocore/tokens.py, SSOTokenProvider",
    ),
    AwsSentence(
        "error loading sso token",
        "Error loading SSO Token: Token for corp does not exist",
        "AWS CLI, boto3: botocore/exceptions.py, SSOTokenLoadError",
    ),
    AwsSentence(
        "the sso session associated with this profile",
        "The SSO session associated with this profile is invalid. To refresh this",
        "JavaScript v3: credential-provider-sso; PHP: CredentialProvider",
    ),
    AwsSentence(
        "the sso session token associated with profile",
        "The SSO session token associated with profile=dev was not found",
        "JavaScript v3: token-providers",
    ),
    AwsSentence(
        "token is expired. to refresh this sso session",
        "Token is expired. To refresh this SSO session run 'aws sso login' with",
        "JavaScript v3: token-providers",
    ),
    AwsSentence(
        "in sso token. cannot refresh",
        "Value not present for 'refreshToken' in SSO Token. Cannot refresh.",
        "JavaScript v3: token-providers",
    ),
    AwsSentence(
        "cached credentials not found under",
        "Cached credentials not found under dev profile. Please make sure you log in",
        "JavaScript v2: SsoCredentials",
    ),
    AwsSentence(
        "cached token not found. please log in",
        'Cached token not found. Please log in using "aws sso login"',
        "JavaScript v2: SSOTokenProvider",
    ),
    AwsSentence(
        "the sso session has expired",
        "refresh cached credentials, the SSO session has expired or is invalid",
        "Go v1 and v2: ssocreds; Terraform, Pulumi; Kotlin: SsoCredentialsProvider",
    ),
    AwsSentence(
        "cached sso token",
        "refresh cached SSO token failed, unable to refresh SSO token, operation error",
        "Go v2: ssocreds; PHP: SsoTokenProvider; Rust: aws-config",
    ),
    AwsSentence(
        "unable to load sso token",
        "SdkClientException: Unable to load SSO token",
        "Java v2: SsoOidcTokenProvider",
    ),
    AwsSentence(
        "exception: token is expired",
        "software.amazon.awssdk.core.exception.SdkClientException: Token is expired",
        "Java v2: SsoOidcTokenProvider",
    ),
    AwsSentence(
        "cached sso credentials returned",
        "CredentialsException: Cached SSO credentials returned expired credentials",
        "PHP: CredentialProvider",
    ),
    AwsSentence(
        "unable to read token file at",
        "TokenException: Unable to read token file at /home/x/.aws/sso/cache/0a.json",
        "PHP: SsoTokenProvider",
    ),
    AwsSentence(
        "no valid sso token could be found",
        "AmazonClientException: No valid SSO Token could be found.",
        ".NET and PowerShell: SSOTokenManager",
    ),
    AwsSentence(
        "sso token has expired",
        "SSO Token has expired. Please login by running Invoke-AWSSSOLogin.",
        "PowerShell: AWS.Tools; .NET: SSOTokenManager; Rust: aws-config",
    ),
    AwsSentence(
        "ssocredentialsprovider",
        "[ERROR] SSOCredentialsProvider [140737] Cached Token expired at 2026-03-01",
        "C++: SSOCredentialsProvider; JavaScript v2: SsoCredentialsProviderFailure",
    ),
    AwsSentence(
        "sso token for sso-session",
        "InvalidSsoTokenException: SSO token for sso-session: corp is expired",
        "Kotlin: SsoTokenProvider",
    ),
    AwsSentence(
        "session token not found or invalid",
        "InvalidRequest: Session token not found or invalid",
        "the SSO portal, through every SDK",
    ),
    AwsSentence(
        "sso access token has either expired",
        "The SSO access token has either expired or is otherwise invalid.",
        "AWS CLI 2.0: botocore/exceptions.py",
    ),
    AwsSentence(
        "expired or invalid aws credentials",
        "Tool call 'x' failed due to expired or invalid AWS credentials.",
        "mcp-proxy-for-aws: tool_error_middleware",
    ),
    AwsSentence(
        "aws credentials expired or invalid",
        "AWS credentials expired or invalid. Run aws sso login --profile dev",
        "Claude Code with Amazon Bedrock",
    ),
)

# AWS may refuse a token that has not expired: its session was ended. The hook then speaks
# although the token is good, so only whole sentences count here.
REFUSED_SENTENCES = (
    AwsSentence(
        "exception: session token not found or invalid",
        "UnauthorizedException: Session token not found or invalid",
        "the SSO portal, through the SDKs for Go, Java, JavaScript, .NET and Rust",
    ),
    AwsSentence(
        "operation: session token not found or invalid",
        "(UnauthorizedException) when calling the GetRoleCredentials operation: "
        "Session token not found or invalid",
        "the SSO portal, through the AWS CLI and boto3",
    ),
    AwsSentence(
        "session token not found or invalid status code: 401",
        "Session token not found or invalid status code: 401, request id: x",
        "the SSO portal, through Go v1",
    ),
    AwsSentence(
        'exception","message":"session token not found or invalid',
        '{"__type":"UnauthorizedException",'
        '"message":"Session token not found or invalid"}',
        "the SSO portal itself",
    ),
    AwsSentence(
        "expired or is otherwise invalid. to refresh this sso session run aws sso login",
        "The SSO session associated with this profile has expired or is otherwise "
        "invalid. To refresh this SSO session run aws sso login with the corresponding",
        "AWS CLI, boto3: UnauthorizedSSOTokenError; Ruby: SSOCredentials; C++; Java v2",
    ),
)

# `aws login` is another product, and refuses a profile that uses SSO.
LOGIN_REFUSALS = (
    AwsSentence(
        "already configured with sso credentials",
        "Profile 'dev' is already configured with SSO credentials.",
        "AWS CLI: awscli/customizations/login/login.py",
    ),
)

# The command that a hint in any language names.
LOGIN_COMMANDS = ("sso login", "invoke-awsssologin")

# Other words for it: one of SSO near one of failure.
# (AWSReservedSSO_Developer is the role that a good token brought.)
SSO_WORD = r"(?<!Reserved)SSO|Sso|(?<![a-z])sso|(?i:identity center|access portal)"


class FailureWords(NamedTuple):
    """Words of failure in a language."""

    language: str
    pattern: str  # the beginnings of the words; case does not matter
    sample: str


FAILURE_WORDS = (
    FailureWords(
        "English",
        r"expir|invalid|missing|not |n't |no |unable|cannot|requir|lapsed|stale|timed out"
        r"|fail|error|denied|reject|refus|revok|unauth|re-?auth|log ?in|sign ?in",
        "your AWS SSO session is gone: sign in again",
    ),
    FailureWords(
        "Spanish, Portuguese",
        r"caduc|vencid|venció|venceu|inválid|não |falt",
        "La sesión de SSO ha caducado",
    ),
    FailureWords(
        "French, Italian",
        r"périm|non valid|introuvable|échou|scadut",
        "La session SSO est introuvable",
    ),
    FailureWords(
        "German, Dutch",
        r"abgelaufen|gültig|fehl|nicht|kein|verlopen|ongeldig",
        "Die SSO-Sitzung ist abgelaufen",
    ),
    FailureWords(
        "Nordic languages",
        r"gått ut|utløpt|udløb|ogiltig|ugyldig|vanhent",
        "SSO-sessionen har gått ut",
    ),
    FailureWords(
        "Polish, Czech, Hungarian",
        r"wygas|nieważn|vyprš|neplatn|lejárt|érvénytelen",
        "Sesja SSO wygasła",
    ),
    FailureWords(
        "Russian, Ukrainian",
        r"истек|истёк|просроч|недейств|не |закінч|минув",
        "Срок действия сессии SSO истек",
    ),
    FailureWords(
        "Turkish, Greek, Arabic, Hebrew, Hindi",
        r"süresi|geçersiz|έληξε|λήξει|انتهت|פג|समाप्त",
        "SSO oturumunun süresi doldu",
    ),
    FailureWords(
        "Vietnamese, Indonesian, Thai",
        r"hết hạn|kedaluwarsa|tidak|หมดอายุ",
        "Phiên SSO đã hết hạn",
    ),
    FailureWords(
        "Japanese", r"期限|失効|無効|切れ|失敗|ません", "SSOトークンが無効です"
    ),
    FailureWords("Chinese", r"过期|過期|失效|无效|無效|失败|失敗", "SSO 会话已过期"),
    FailureWords("Korean", r"만료|유효|실패", "SSO 세션이 만료되었습니다"),
)
NEAR = 120  # characters between the two words

# What a trigger was.
EXPIRED, REFUSED, LOGIN_REFUSED, HINT = "expired", "refused", "login refused", "hint"
COLOUR = r"\x1b?\[[\d;:]{0,20}[mK]"
FRAMES = str.maketrans("│┃║|", "    ")  # of a box around a message


def find_trigger(output: str) -> str | None:
    """Return what an output says of an SSO token: one of the words above, or None."""
    text = fold(output)
    lower = text.lower()
    for trigger, sentences in (
        (LOGIN_REFUSED, LOGIN_REFUSALS),
        (REFUSED, REFUSED_SENTENCES),
        (EXPIRED, EXPIRED_SENTENCES),
    ):
        for sentence in sentences:
            if sentence.words in lower:
                return trigger
    for command in LOGIN_COMMANDS:
        if command in lower:
            return HINT
    is_about_sso = any(
        word in lower for word in ("sso", "identity center", "access portal")
    )
    if is_about_sso and says_sso_failure(text):
        return HINT
    return None


def fold(output: str) -> str:
    """Return an output as one line, without colours and frames."""
    text = re.sub(COLOUR, "", output)
    text = text.replace("\\n", " ")  # a line break in JSON
    return " ".join(text.translate(FRAMES).split())


def says_sso_failure(text: str) -> bool:
    """Return whether a word of SSO stands near a word of failure."""
    failure_words = "|".join(words.pattern for words in FAILURE_WORDS)
    pattern = f"(?P<sso>{SSO_WORD})|(?P<failure>(?i:{failure_words}))"
    last_end = {"sso": -NEAR - 1, "failure": -NEAR - 1}
    for found in re.finditer(pattern, text):
        other = "failure" if found.lastgroup == "sso" else "sso"
        if found.start() - last_end[other] <= NEAR:
            return True
        last_end[str(found.lastgroup)] = found.end()
    return False


# The event

FAILURE_EVENTS = (
    "PostToolUseFailure",  # Claude Code, Copilot CLI
    "PostToolUse",  # Codex; Copilot CLI for a shell
    "AfterTool",  # Gemini CLI
)
OUTPUT_KEYS = ("error", "tool_response", "tool_result")
COMMAND_KEYS = ("command", "cmd", "cli_command", "script", "code")
PROFILE_KEYS = ("profile", "aws_profile", "profile_name", "awsProfile", "profileName")
SHELL_TOOLS = ("bash", "powershell", "shell", "local_shell", "run_shell_command")

START_LEFT_S = 30 * 60  # at the start of a session
PLUGIN_PROFILE = "CLAUDE_PLUGIN_OPTION_PROFILE"  # the option of the plugin, in a hook


def hook_answer(event_text: bytes) -> Json | None:
    """Return what a host prints for the model about an event, None for nothing.

    Whatever the event holds, and whatever the files hold, it raises nothing.
    """
    try:
        event = object_at(json.loads(event_text))
        name = event.get("hook_event_name")
        if name == "SessionStart":
            text = session_start_text()
        elif name in FAILURE_EVENTS:
            text = failure_text(event)
        else:
            text = None
    # No JSON, or a config that no AWS tool can read. Nobody asked the hook anything, so
    # it does not complain: the failed command does.
    except (Failure, OSError, ValueError, RecursionError, MemoryError):
        return None
    if text is None:
        return None
    output = {"hookEventName": name, "additionalContext": text}
    answer: Json = {"hookSpecificOutput": output}
    # Copilot CLI wants the text here. Its events have a time and no transcript. Others
    # get no such key, as Codex refuses an answer with a key that it does not know.
    if "timestamp" in event and "transcript_path" not in event:
        answer["additionalContext"] = text
    return answer


def failure_text(event: Json) -> str | None:
    """Return what the model should know about a tool that failed. Raises Failure."""
    tool = text_value(event, "tool_name") or ""
    if tool.endswith(tuple(TOOLS)):  # our own tools say themselves what to do
        return None
    output = output_of(event)
    damaged = damaged_cache_file(output)
    if damaged:
        return damaged_file_text(damaged)
    trigger = find_trigger(output)
    if trigger is None:
        return None
    config = read_aws_config()
    profile = profile_of_failure(event, output, config)
    if profile is not None:
        return token_text(profile, trigger)
    if trigger in (EXPIRED, REFUSED):
        return NO_PROFILE_HERE
    return None


def output_of(event: Json) -> str:
    """Return the end of what a failed tool has printed."""
    texts: list[str] = []
    for key in OUTPUT_KEYS:
        value = event.get(key)
        if isinstance(value, str):
            texts.append(value)
        elif value is not None:
            texts.append(json.dumps(value, ensure_ascii=False))
    return "\n".join(texts)[-MAX_CHARACTERS:]


# Damaged files

# The AWS CLI ends with a KeyError, which shows the name of the file and nothing else.
DAMAGED_FILE = r"(?m)^(?:aws: \[ERROR\]: )?'([0-9a-f]{40})'\r?$"


def damaged_cache_file(output: str) -> str | None:
    """Return the path, from `~` on, of a damaged file that an output names, or None."""
    found = re.search(DAMAGED_FILE, output)
    if found is None:
        return None
    for folder in ("sso", "cli"):
        content = read_json(aws_folder(folder, "cache", f"{found[1]}.json"))
        if content == {}:
            return f"~/.aws/{folder}/cache/{found[1]}.json"
    return None


def damaged_file_text(path: str) -> str:
    return (
        f"The AWS CLI failed because its cached file {path} is damaged. The user can "
        "delete it: the next command, or the MCP tool refresh_aws_sso_token, brings a new "
        "one."
    )


# The profile


def sso_names(config: AwsConfig) -> dict[str, SsoProfile]:
    """Return the SSO profiles by their names, and by those of their SSO sessions.

    Only these names are ever said. A profile comes before a session of the same name.
    """
    by_profile: dict[str, SsoProfile] = {}
    by_session: dict[str, SsoProfile] = {}
    for name in config.profiles:
        if not re.fullmatch(LITERAL_NAME, name):
            continue
        try:
            profile = find_sso_profile(config, name)
        except Failure:  # it has static keys, or is misconfigured
            continue
        by_profile[name] = profile
        if profile.login_profile == name:
            session = profile.session
            by_session.setdefault(
                session.name or session.start_url.rstrip("/#"), profile
            )
    return {**by_session, **by_profile}


def profile_of_failure(
    event: Json, output: str, config: AwsConfig
) -> SsoProfile | None:
    """Return the SSO profile of a failed tool, from the first source that names one.

    A name that is no SSO profile here is passed over: `docker --profile web`.
    """
    names = sso_names(config)
    profile = profile_of_arguments(object_at(event, "tool_input"), names)
    if profile is None:
        profile = profile_of_hints(output, names)
    if profile is None:
        profile = profile_of_failed_server(event, config, names)
    if profile is None:
        profile = profile_without_words(config, names)
    return profile


def profile_of_arguments(
    arguments: Json, names: dict[str, SsoProfile]
) -> SsoProfile | None:
    """Return the SSO profile that the arguments of a failed tool name."""
    for key in PROFILE_KEYS:
        name = text_value(arguments, key)
        if name in names:
            return names[name]
    mentions: list[Mention] = []
    for key in COMMAND_KEYS:
        mentions += mentions_in_command(command_line(arguments.get(key)))
    for belief in (BY_AWS_TOOL, BY_VARIABLE, BY_OTHER_PROGRAM):
        mentioned = [each.profile for each in mentions if each.belief == belief]
        profiles = [names[name] for name in mentioned if name in names]
        if profiles:
            return first_unusable(profiles)
        if UNKNOWN_PROFILE in mentioned:
            return None
    return None


def command_line(value: Any) -> str:
    """Return a command as one text: it may be a line, or a list of arguments."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\t".join(word for word in value if isinstance(word, str))
    return ""


def first_unusable(profiles: Sequence[SsoProfile]) -> SsoProfile:
    """Return the first profile whose token is unusable, else the first one."""
    for profile in profiles:
        if is_unusable(read_token(profile.session)):
            return profile
    return profiles[0]


class HintRule(NamedTuple):
    """Words in an output behind which a profile, or an SSO session, stands."""

    sample: str  # an output in which the rule finds `dev`
    pattern: str  # of the words; case does not matter


# Any word may stand there: it counts only if it is the name of an SSO profile here.
HINTED_NAME = r"[\"'`]?([\w.@+/:-]{1,128})"
HINT_RULES = (
    HintRule(
        "Please run: aws sso login --profile dev",
        r"sso login[^;&|]{0,60}?--(?:profile|sso-session)[ =]",
    ),
    HintRule("Invoke-AWSSSOLogin -ProfileName dev", r"-ProfileName[ =]"),
    HintRule(
        'SSO token for profile "dev" has expired',  # also: profile=dev, perfil dev
        r"(?:profile?|perfil|profilo)[ =:]{1,2}",
    ),
    HintRule(
        "Error loading SSO Token: Token for dev does not exist",
        r"\btoken for (?:sso-session: )?",
    ),
)


def profile_of_hints(output: str, names: dict[str, SsoProfile]) -> SsoProfile | None:
    """Return the SSO profile that a failed tool's output names."""
    text = fold(output)
    for rule in HINT_RULES:
        for found in re.finditer(rule.pattern + HINTED_NAME, text, re.IGNORECASE):
            name = found[1].rstrip(".:/")
            if name in names:
                return names[name]
    return None


def profile_of_failed_server(
    event: Json, config: AwsConfig, names: dict[str, SsoProfile]
) -> SsoProfile | None:
    """Return the SSO profile of the MCP server whose tool failed, None without one."""
    server = server_of_event(event)
    if server is None:
        return None
    try:
        found = profile_of_server(config, server)
    except Failure:  # no MCP client has such a server
        return None
    return names.get(found.profile)


def server_of_event(event: Json) -> str | None:
    """Return the name of the MCP server whose tool failed, None for a shell."""
    tool = text_value(event, "tool_name")
    if tool is None or tool.lower() in SHELL_TOOLS:
        return None
    named_by_claude = text_value(object_at(event, "mcp_server"), "name")
    if named_by_claude:
        return named_by_claude
    named_by_gemini = text_value(object_at(event, "mcp_context"), "server_name")
    if named_by_gemini:
        return named_by_gemini
    return tool  # the server's name is part of it


def profile_without_words(
    config: AwsConfig, names: dict[str, SsoProfile]
) -> SsoProfile | None:
    """Return the profile that a refresh takes, or the one other with a bad token."""
    choice = choice_of_refresh(config)
    profile = names.get(choice.profile)
    if profile is None and choice.source == "environment":  # one with static keys
        profile = names.get(default_choice(config).profile)
    if profile is None or is_unusable(read_token(profile.session)):
        return profile
    sessions = profiles_by_session(config)
    expired = expired_recent_sessions(sessions)
    if len(expired) == 1:
        return sessions[expired[0]][0]
    return profile


def choice_of_refresh(config: AwsConfig) -> Choice:
    """Return what a refresh takes that names no profile."""
    option = get_variable(PLUGIN_PROFILE)
    if option:
        return Choice(option, "environment", "from the plugin's option", [])
    return choose_profile(config, None)


# The fact, and its words


def seconds_left(token: Token) -> float:
    return token.expires_at - time.time()


def is_damaged(session: SsoSession) -> bool:
    """Return whether the file of a session's token holds something else."""
    return read_json(token_path(session)) is not None and read_token(session) is None


NO_PROFILE_HERE = (
    "AWS tools say that of an SSO token that has expired or is missing, but no SSO profile "
    "that it could belong to is configured here. The MCP tool refresh_aws_sso_token with {} "
    "tells which profile it would take, and what is missing."
)
KEEP_PROFILE = "The profile uses SSO: nothing has to be removed from it."
RETRY_COMMAND = "It does not need `aws login`. What failed before can be retried."


def token_text(profile: SsoProfile, trigger: str) -> str | None:
    """Return what is true of a token, and the call that helps; None for nothing."""
    token = read_token(profile.session)
    if is_damaged(profile.session):
        return None
    if token is None or is_unusable(token):
        text = f"{unusable_text(profile, token)} The {call_text(profile)}"
        if trigger == LOGIN_REFUSED:
            return f"{text} {KEEP_PROFILE}"
        return text
    left = duration(seconds_left(token))
    whose = f"the AWS SSO token of profile {profile.name!r}"
    good = f"By its expiry, {whose} is good for {left}."
    if trigger == REFUSED:
        call = call_text(profile, force=True)
        return f"{good} If AWS refuses it all the same, the {call}"
    if trigger == LOGIN_REFUSED:
        return f"{good} {KEEP_PROFILE} {RETRY_COMMAND}"
    return None


def unusable_text(profile: SsoProfile, token: Token | None) -> str:
    """Return a sentence about a token that is missing, has expired or ends soon."""
    if token is None:
        return f"There is no AWS SSO token for profile {profile.name!r}."
    left = seconds_left(token)
    if left > 0:
        end = f"expires in {duration(left)}"
    else:
        end = f"expired {duration(-left)} ago"
    return f"The AWS SSO token of profile {profile.name!r} {end}."


def call_text(profile: SsoProfile, *, force: bool = False) -> str:
    arguments: Json = {"profile": profile.name}
    if force:
        arguments["force"] = True
    call = f"refresh_aws_sso_token with {json.dumps(arguments)}"
    return f"MCP tool {call} gets a new one, with at most one click."


def duration(seconds: float) -> str:
    """Return a time in words: `1 minute`, `2 hours`, `3 days`."""
    minutes = max(1, int(seconds / 60))
    if minutes < 2 * 60:
        count = minutes
        unit = "minute"
    elif minutes < 2 * 24 * 60:
        count = minutes // 60
        unit = "hour"
    else:
        count = minutes // (24 * 60)
        unit = "day"
    if count == 1:
        return f"1 {unit}"
    return f"{count} {unit}s"


# The start of a session


def session_start_text() -> str | None:
    """Return a warning for the start of a session, None where the token lasts.

    So that the user logs in while still at the keyboard, not in the middle of a long
    job. Raises Failure.
    """
    config = read_aws_config()
    choice = choice_of_refresh(config)
    profile = sso_names(config).get(choice.profile)
    if profile is None or is_damaged(profile.session):
        return None
    token = read_token(profile.session)
    if not is_in_use(token, choice) or lasts(token):
        return None
    text = unusable_text(profile, token)
    if is_unusable(token):
        return f"{text} The {call_text(profile)}"
    return (
        f"{text} Before a long job, the {call_text(profile, force=True)} "
        "It brings no more time if the user's AWS portal session ends then, too."
    )


def is_in_use(token: Token | None, choice: Choice) -> bool:
    """Return whether the user works with the profile of a choice these days."""
    if choice.source == "environment":
        return True
    return token is not None and is_used_recently(token)


def lasts(token: Token | None) -> bool:
    """Return whether a session can start with a token: it is good, or refreshed silently."""
    if token is None:
        return False
    return token.is_refreshable or seconds_left(token) > START_LEFT_S


# --- MCP --------------------------------------------------------------------------------
#
# JSON-RPC messages, one a line. Two eras of the protocol are served at the same time. In
# the legacy one (2024-11-05 to 2025-11-25) the client sends `initialize` first. In the
# modern one (2026-07-28) there is no handshake: each request has an envelope in its
# `_meta`, which also shows its era.

LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN_VERSION = "2026-07-28"
SUPPORTED_VERSIONS = (MODERN_VERSION, *LEGACY_VERSIONS)

PREFIX = "io.modelcontextprotocol/"
PROTOCOL_VERSION_KEY = PREFIX + "protocolVersion"
CLIENT_CAPABILITIES_KEY = PREFIX + "clientCapabilities"
SERVER_INFO_KEY = PREFIX + "serverInfo"
ENVELOPE_KEYS = (PROTOCOL_VERSION_KEY, CLIENT_CAPABILITIES_KEY)

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNSUPPORTED_VERSION = -32022

SERVER_INFO = {"name": "aws-sso-mcp", "title": "AWS SSO", "version": __version__}
ABOUT: Json = {
    "capabilities": {"tools": {}},
    "instructions": (
        "Refreshes expired AWS SSO (IAM Identity Center) tokens. When a command, SDK or"
        " another MCP server fails and says that an SSO token, session or login is expired,"
        " invalid, missing or cannot be refreshed (such as 'Token has expired and refresh"
        " failed' or 'Error loading SSO Token'), or tells you to run 'aws sso login', call"
        " refresh_aws_sso_token with the `profile` that failed, or with the name of the MCP"
        " `server` that failed. Then retry. Do not run `aws sso login` yourself: the user"
        " would not see its sign-in page. Do not call it for AccessDenied, static keys, or"
        " network and certificate errors: a login does not fix them."
    ),
}
# Modern clients may keep an answer that never changes for an hour.
CACHE_HINTS = {"ttlMs": 3_600_000, "cacheScope": "public"}
MAX_LOG_LINES = (
    20  # on stderr: a client may never read it, and a full pipe would block us
)


class Request:
    """A request of the client. `McpServer._lock` guards which requests run."""

    def __init__(self, request_id: str | int, method: str, params: Any) -> None:
        self.id = request_id
        self.method = method
        self.params = object_at(params)
        self.meta = object_at(params, "_meta")
        self.is_modern = any(key in self.meta for key in ENVELOPE_KEYS)
        self.progress_count = 0
        self.call: Call | None = None  # of a tools/call
        self.elicitation: Json = {}  # what the client was asked to show


class McpServer:
    """Answers the messages of one client.

    Threads: the main thread calls `handle_line` and never waits for a tool. Each tool runs
    in a daemon thread, which sends the answer. `_lock` guards the list of running requests
    and everything that is written. A request that was answered or cancelled is not in the
    list, and nothing more is sent for it.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._running: list[Request] = []
        self._is_initialized = False
        self._legacy_capabilities: Json = {}  # of the client, from `initialize`
        self._log_lines = 0
        self._legacy_methods: dict[str, Callable[[Request], Json | None]] = {
            "initialize": self._initialize,
            "ping": self._ping,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }
        self._modern_methods: dict[str, Callable[[Request], Json | None]] = {
            "server/discover": self._discover,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    # Messages in

    def handle_line(self, line: bytes) -> None:
        """Handle one line from the client. Raises nothing, whatever it holds.

        What is no request is not answered: an error without an id ends some clients.
        """
        try:
            message = json.loads(line.decode("utf-8"))
            if isinstance(message, list) and self._is_initialized:
                # A batch (2025-03-26). Each member is answered by itself.
                for member in message:
                    self._handle_message(member)
            else:
                self._handle_message(message)
        except Exception as error:  # noqa: BLE001 - no input may end the server
            self.log(f"ignored a message: {type(error).__name__}")

    def _handle_message(self, message: Any) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self._handle_response(message)
        elif "id" not in message:
            self._handle_notification(message)
        elif not is_request_id(message["id"]):
            self.log("ignored a request whose id is neither a string nor an integer")
        else:
            self._handle_request(message)

    def _handle_notification(self, message: Json) -> None:
        if message["method"] == "notifications/cancelled":
            request_id = object_at(message, "params").get("requestId")
            self._cancel(request_id)

    def _handle_request(self, message: Json) -> None:
        params = message.get("params")
        request = Request(message["id"], message["method"], params)
        with self._lock:
            self._running.append(request)
        try:
            if params is not None and not isinstance(params, dict):
                raise JsonRpcError(INVALID_PARAMS, "params must be an object")
            result = self._find_method(request)(request)
        except JsonRpcError as error:
            self._send(request, {"id": request.id, "error": error.body})
            return
        if result is not None:  # else a thread answers
            self._send_result(request, result)

    def _find_method(self, request: Request) -> Callable[[Request], Json | None]:
        """Return the method that answers a request. Raises JsonRpcError."""
        if request.is_modern:
            check_envelope(request)
            methods = self._modern_methods
        else:
            self._check_legacy(request)
            methods = self._legacy_methods
        if request.method not in methods:
            what = f"Method not found: {request.method[:100]}"
            raise JsonRpcError(METHOD_NOT_FOUND, what)
        return methods[request.method]

    def _check_legacy(self, request: Request) -> None:
        """Raise JsonRpcError for a request that lacks the envelope, or `initialize`.

        A modern method needs the envelope. A method of both eras needs one of them. `ping`
        and unknown methods need neither.
        """
        is_modern_only = request.method not in self._legacy_methods
        if request.method in self._modern_methods and (
            is_modern_only or not self._is_initialized
        ):
            what = f"Send initialize first, or _meta with: {', '.join(ENVELOPE_KEYS)}"
            raise JsonRpcError(INVALID_PARAMS, what)

    # Methods: they return the result, or None if a thread answers

    def _initialize(self, request: Request) -> Json:
        version = request.params.get("protocolVersion")
        if not isinstance(version, str):
            raise JsonRpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
        if version not in LEGACY_VERSIONS:
            version = LEGACY_VERSIONS[0]
        self._legacy_capabilities = object_at(request.params, "capabilities")
        self._is_initialized = True
        return {"protocolVersion": version, "serverInfo": SERVER_INFO, **ABOUT}

    def _discover(self, _request: Request) -> Json:
        return {"supportedVersions": SUPPORTED_VERSIONS, **ABOUT, **CACHE_HINTS}

    def _ping(self, _request: Request) -> Json:
        return {}

    def _list_tools(self, request: Request) -> Json:
        result: Json = {"tools": [tool.definition for tool in TOOLS.values()]}
        if request.is_modern:
            result.update(CACHE_HINTS)
        return result

    def _call_tool(self, request: Request) -> None:
        """Start the tool in a thread, which sends the answer. Raises JsonRpcError."""
        name = request.params.get("name")
        arguments = request.params.get("arguments")
        if not isinstance(name, str) or name not in TOOLS:
            what = f"Unknown tool. Known tools: {quote_names(TOOLS)}"
            raise JsonRpcError(INVALID_PARAMS, what)
        if arguments is not None and not isinstance(arguments, dict):
            raise JsonRpcError(INVALID_PARAMS, "arguments must be an object")
        request.call = Call(
            partial(self._report_progress, request), partial(self._offer_page, request)
        )
        if request.is_modern and "inputResponses" in request.params:
            # The user has been asked, by our answer to an earlier request. Only after a
            # yes does this call wait for the login.
            answer = object_at(request.params, "inputResponses", "login")
            request.call.is_hurried = answer.get("action") != "accept"
            # The first request has started the login anew. This one joins it.
            arguments = {**(arguments or {}), "force": False}
        if len(self._running) > MAX_CALLS:
            what = f"Too many calls at once (limit: {MAX_CALLS})"
            raise JsonRpcError(INTERNAL_ERROR, what)
        try:
            # It ends with its answer; nobody waits for it.
            start_thread(
                self._run_tool, request, request.call, TOOLS[name], arguments or {}
            )
        except Failure as failure:
            raise JsonRpcError(INTERNAL_ERROR, str(failure)) from None

    def _run_tool(
        self, request: Request, call: Call, tool: Tool, arguments: Json
    ) -> None:
        """Run a tool and send its answer."""
        try:
            checked = check_arguments(tool.definition, arguments)
            answer = shorten_status(tool.function(call, **checked))
        except Failure as failure:
            answer = failure_answer(failure)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the client waiting
            answer = failure_answer(internal_error(error))
            self.log(answer["message"])
        self._send_answer(request, answer)

    def _send_answer(self, request: Request, answer: Json) -> None:
        is_pending = answer.get("status") == "pending"
        if request.elicitation and request.is_modern and is_pending:
            # Let the client show the page, then call again with the user's response.
            question = {"method": "elicitation/create", "params": request.elicitation}
            result: Json = {
                "resultType": "input_required",
                "inputRequests": {"login": question},
            }
            self._send_result(request, result)
            return
        if request.elicitation and not request.is_modern and not is_pending:
            elicitation_id = request.elicitation["elicitationId"]
            self._send(
                request,
                {
                    "method": "notifications/elicitation/complete",
                    "params": {"elicitationId": elicitation_id},
                },
            )
        text = json.dumps(answer, ensure_ascii=False)
        result = {
            "content": [{"type": "text", "text": text}],
            "structuredContent": answer,
            "isError": not answer["success"] and not is_pending,
        }
        self._send_result(request, result)

    # Elicitation in URL mode: the client shows the sign-in page, if the user agrees. Legacy
    # (client/elicitation): we send a request of our own. Modern (basic/patterns/mrtr): our
    # answer asks. After a no, or an error, the client gets the plain answer.

    def _offer_page(self, request: Request, url: str, message: str) -> bool:
        """Ask a client that can to show a page; return whether the call waits meanwhile."""
        capabilities = self._legacy_capabilities
        if request.is_modern:
            capabilities = object_at(request.meta, CLIENT_CAPABILITIES_KEY)
        if "url" not in object_at(capabilities, "elicitation"):
            return False
        elicitation: Json = {"mode": "url", "url": url, "message": message}
        if request.is_modern:
            request.elicitation = elicitation
            return False
        elicitation["elicitationId"] = os.urandom(8).hex()
        request.elicitation = elicitation
        self._send(
            request,
            {
                "id": elicitation["elicitationId"],
                "method": "elicitation/create",
                "params": elicitation,
            },
        )
        return True

    def _handle_response(self, message: Any) -> None:
        """Handle the answer to a legacy elicitation: without a yes, the call ends."""
        response_id = object_at(message).get("id")
        asking = None
        with self._lock:
            for request in self._running:
                if request.elicitation.get("elicitationId") == response_id:
                    asking = request
        if response_id is None or asking is None or asking.call is None:
            self.log("ignored a message without a method")
        elif object_at(message, "result").get("action") != "accept":
            asking.call.stop_waiting(cancelled=False)

    # Cancellation and progress

    def _cancel(self, request_id: Any) -> None:
        """Stop the call of this id: nothing more is sent for it."""
        cancelled = []
        with self._lock:
            for request in list(self._running):
                # 1, "1" and True are three ids.
                if repr(request.id) == repr(request_id):
                    self._running.remove(request)
                    cancelled.append(request)
        for request in cancelled:
            if request.call is not None:
                request.call.stop_waiting(cancelled=True)

    def _report_progress(self, request: Request, message: str) -> None:
        """Send a progress notification, if the client has asked for it."""
        token = request.meta.get("progressToken")
        if not is_request_id(token):
            return
        request.progress_count += 1
        params = {
            "progressToken": token,
            "progress": request.progress_count,
            "message": message,
        }
        self._send(request, {"method": "notifications/progress", "params": params})

    # Messages out

    def _send_result(self, request: Request, result: Json) -> None:
        if request.is_modern:
            meta = {SERVER_INFO_KEY: SERVER_INFO}
            result = {"resultType": "complete", **result, "_meta": meta}
        self._send(request, {"id": request.id, "result": result})

    def _send(self, request: Request, message: Json) -> None:
        """Send a message that belongs to a running request; its response ends it."""
        line = to_ascii_json({"jsonrpc": "2.0", **message})
        with self._lock:
            if request in self._running:
                self._write(line + b"\n")
                if "method" not in message:
                    self._running.remove(request)

    def log(self, text: str) -> None:
        """Write a line to stderr, but not too many."""
        self._log_lines += 1
        if self._log_lines <= MAX_LOG_LINES:
            write_stderr(f"aws-sso-mcp: {text}\n")


def check_envelope(request: Request) -> None:
    """Raise JsonRpcError if the envelope of a modern request is wrong."""
    version = request.meta.get(PROTOCOL_VERSION_KEY)
    capabilities = request.meta.get(CLIENT_CAPABILITIES_KEY)
    if not isinstance(version, str) or not isinstance(capabilities, dict):
        what = f"_meta needs {' and '.join(ENVELOPE_KEYS)}"
        raise JsonRpcError(INVALID_PARAMS, what)
    if version != MODERN_VERSION:
        data = {"supported": SUPPORTED_VERSIONS, "requested": version[:100]}
        raise JsonRpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def is_request_id(value: Any) -> bool:
    """Return whether a value can be a request id or a progress token; 0 and "" can."""
    if isinstance(value, str):
        # A lone surrogate could not be sent back to the client.
        return re.search("[\ud800-\udfff]", value) is None
    return isinstance(value, int) and not isinstance(value, bool)


def to_ascii_json(message: Json) -> bytes:
    """Return a message as JSON in one line of ASCII.

    A lone surrogate becomes `?`: some clients cannot read it and would wait for ever.
    """
    line = json.dumps(message)
    if "\\ud" in line:  # a surrogate, maybe one of a pair
        text = json.dumps(json.loads(line), ensure_ascii=False)  # joins pairs
        line = json.dumps(json.loads(text.encode("utf-8", "replace")))
    return line.encode("ascii")


def serve(read: Callable[[], bytes], server: McpServer) -> None:
    """Give a server the lines of its client, until `read` returns nothing.

    A line that is too long is not kept in memory, and ignored.
    """
    line = bytearray()
    while True:
        chunk = read()
        if chunk == b"":
            break
        *ends_of_lines, rest = chunk.split(b"\n")
        for end_of_line in ends_of_lines:
            line += end_of_line
            handle_bounded(server, line)
            line.clear()
        line += rest
        del line[MAX_LINE_BYTES + 1 :]
    handle_bounded(server, line)  # the last line may lack its end


def handle_bounded(server: McpServer, line: bytearray) -> None:
    if len(line) > MAX_LINE_BYTES:
        server.log("ignored a message that is too long")
    elif line.strip():
        server.handle_line(bytes(line))


# --- Command line -----------------------------------------------------------------------

USAGE = """\
AWS SSO MCP {version}: an MCP server that refreshes expired AWS SSO tokens.
usage: {name} [COMMAND | help | --version]    without a command: serve MCP
  status [[--profile] NAME] [--json]    show the SSO sessions and their time left
  refresh [[--profile] NAME] [--force]  get a usable token: no click, or one page
  hook                                  explain a failure to an MCP host (JSON)
Add it to a client:
  claude mcp add -s user aws-sso -- {command}
  codex mcp add aws-sso -- {command}
  other clients: {entry}
Environment:
{settings}
Exit codes: 0 a token can be used, 1 no token can be used, 2 wrong usage,
  128 + n ended by signal n"""

EXIT_OK = 0
EXIT_NO_TOKEN = 1
EXIT_USAGE = 2

PROFILE_OPTION = "--profile NAME"
COMMAND_OPTIONS = {  # what each command takes
    "status": (PROFILE_OPTION, "--json"),
    "refresh": (PROFILE_OPTION, "--force"),
    "hook": (),
    "help": (),
}
REFRESH_WAIT_S = 600  # for one round: in a terminal no client gives up


class UsageError(Exception):
    """A command line that cannot be understood."""


class CommandLine(NamedTuple):
    """A command line that has been understood."""

    command: str  # a key of COMMAND_OPTIONS, or "version"
    profile: str | None
    as_json: bool
    force: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Serve MCP, or do what the command line says; return the exit code."""
    if argv is None:
        argv = sys.argv[1:]
    words = [word for word in argv if word != ""]  # such as "$PROFILE" when it is unset
    is_at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if not words and not is_at_terminal:
        serve_client()  # does not return

    handle_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name may have characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="replace")
    try:
        line = parse_command_line(words)
    except UsageError as error:
        print_text(f"{error}\nSee --help.", sys.stderr)
        return EXIT_USAGE
    if line.command == "status":
        return print_status(line.profile, as_json=line.as_json)
    if line.command == "refresh":
        return print_refresh(line.profile, force=line.force)
    if line.command == "hook":
        return print_hook()
    if line.command == "version":
        print_text(f"aws-sso-mcp {__version__}")
        return EXIT_OK
    print_text(usage())
    return EXIT_OK


def serve_client() -> NoReturn:
    """Serve MCP on stdin and stdout until the client closes them."""
    pipes = ClientPipes()
    handle_signals(pipes)
    serve(pipes.read, McpServer(pipes.write))
    exit_now(0)


def parse_command_line(words: Sequence[str]) -> CommandLine:
    """Return what a command line says. Raises UsageError."""
    found, unknown_words = command_line_parser().parse_known_intermixed_args(words)
    if found.help:
        return CommandLine("help", None, as_json=False, force=False)
    if found.version and not unknown_words:
        return CommandLine("version", None, as_json=False, force=False)
    if found.command not in COMMAND_OPTIONS:
        raise unknown_word("command", found.command, list(COMMAND_OPTIONS))
    options = COMMAND_OPTIONS[found.command]
    if found.json and "--json" not in options:
        unknown_words.append("--json")
    if found.force and "--force" not in options:
        unknown_words.append("--force")

    profiles = [name for name in (found.profile, found.name) if name is not None]
    if "" in profiles:  # the AWS CLI would take the default profile
        raise UsageError("--profile needs a name")
    if PROFILE_OPTION in options:
        unknown_words += profiles[1:]
    else:
        unknown_words += profiles
    if unknown_words:
        known = [*options, "--help", "--version"]
        raise unknown_word("argument", unknown_words[0], known)
    profiles.append(None)
    return CommandLine(found.command, profiles[0], found.json, found.force)


def command_line_parser() -> argparse.ArgumentParser:
    """Return a parser that takes every option with every command."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(message)

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("command", nargs="?", default="help")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--profile")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--version", "-V", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    return parser


def unknown_word(kind: str, word: str, known: Sequence[str]) -> UsageError:
    suggestion = ""
    near = closest_names(word, known, SIMILAR)
    if near:
        suggestion = f", did you mean {near[0]}?"
    return UsageError(f"unknown {kind} {word[:40]!r}{suggestion}")


def usage() -> str:
    """Return the help. Its commands work where they are pasted."""
    import shlex

    path = working_folder() / sys.argv[0]
    python = "python3"
    quoted_path = shlex.quote(str(path))
    if not IS_POSIX:
        python = "python"
        quoted_path = f'"{path}"'
    program = str(path)  # a script that pip has made
    arguments: list[str] = []
    command = quoted_path
    if path.suffix == ".py":
        program = python
        arguments = ["-IS", str(path)]
        command = f"{python} -IS {quoted_path}"
    entry = {"mcpServers": {"aws-sso": {"command": program, "args": arguments}}}
    lines = []
    for setting in SETTINGS:
        text = setting.help
        if setting.default is not None:
            text += f" (default {setting.default})"
        lines.append(f"  {setting.name:25}  {text}")
    return USAGE.format(
        version=__version__,
        name=path.name,
        command=command,
        entry=json.dumps(entry),
        settings="\n".join(lines),
    )


# Printing

# Characters that could steer a terminal, or hide text in it.
UNPRINTABLE = r"[\0-\t\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
BOLD, GREEN, YELLOW, RED, PLAIN = (
    "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
)  # fmt: skip
STATE_COLOURS = {
    "valid": GREEN,
    "refreshable": GREEN,
    "expiring": YELLOW,
    "expired": RED,
    "absent": RED,
}
TABLE_HEAD = "SESSION"
# A URL or a user code between blanks: alone on its line it can be selected. But not the URL
# of a setting (`sso_start_url = https://...`), which is copied as a whole.
ALONE_ON_A_LINE = r"(?<!=) (https?://\S+|[A-Z0-9]{4}-[A-Z0-9]{4}) "
NO_BREAK = "\0"  # stands for a blank where a line must not break


def print_text(text: str, stream: TextIO | None = None) -> None:
    """Print text for people. Ends the process when nobody reads it."""
    text = re.sub(UNPRINTABLE, "?", text)
    if is_colourful():
        text = "\n".join(in_colour(line) for line in text.split("\n"))
    try:
        print(text, file=stream, flush=True)
    except OSError:
        exit_now(1)


def is_colourful() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout is not None and sys.stdout.isatty()


def in_colour(line: str) -> str:
    """Return a line of `status` with colours."""
    if line.startswith(f"{TABLE_HEAD} "):
        return f"{BOLD}{line}{PLAIN}"
    for state, colour in STATE_COLOURS.items():
        line = line.replace(f"  {state} ", f"{colour}  {state} {PLAIN}")
    return line


def print_wrapped(text: str, stream: TextIO | None = None) -> None:
    """Print text in lines that fit the terminal. Words, URLs and codes stay whole."""
    import shutil
    import textwrap

    width = shutil.get_terminal_size((9999, 0)).columns
    text = re.sub(ALONE_ON_A_LINE, r"\n\1\n", for_terminal(text))
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" -")))
        wrapped = textwrap.fill(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        print_text(wrapped.replace(NO_BREAK, " "), stream)


def for_terminal(text: str) -> str:
    """Return a message for a model in words for the user who reads it."""
    text = text.replace("Ask the user to delete", "Delete")
    return text.replace("ask the user to sign out", "sign out")


class ProgressPrinter:
    """Prints progress to stderr, each message once."""

    def __init__(self) -> None:
        self._last = ""

    def print(self, message: str) -> None:
        if message != self._last:
            self._last = message
            print_wrapped(message, sys.stderr)


def print_refresh(profile: str | None, *, force: bool) -> int:
    """Do what the tool does, until the user has approved or it has failed."""
    printer = ProgressPrinter()
    answer = refresh_aws_sso_token(
        Call(printer.print), profile, force=force, wait_s=REFRESH_WAIT_S
    )
    while answer["status"] == "pending":
        answer = refresh_aws_sso_token(
            Call(printer.print), profile, wait_s=REFRESH_WAIT_S
        )
    print_wrapped(answer["message"])
    if answer["success"]:
        return EXIT_OK
    return EXIT_NO_TOKEN


def print_status(profile: str | None, *, as_json: bool) -> int:
    """Print a table of the sessions and the problems."""
    with contextlib.suppress(Failure):
        # An `aws` that is version 1 shows itself, so the status can say so.
        run_aws("list_profiles", {}, lambda _stdout: True, limit_s=10)
    answer = get_aws_sso_status(Call(print_text), profile)
    sessions = answer.get("sessions", [])
    if as_json:
        print_text(json.dumps(answer, indent=2))
    else:
        lines = []
        if sessions:
            lines += status_table(sessions)
        lines.append(answer["message"])
        cli_problem = object_at(answer, "awsCli").get("problem")
        if cli_problem is not None:
            lines.append(f"- {cli_problem}")
        for problem in answer.get("problems", []):
            lines.append(f"- {problem}")
        print_wrapped("\n".join(lines))
    if any("expiresAt" in row for row in sessions):
        return EXIT_OK
    return EXIT_NO_TOKEN


def status_table(rows: Sequence[Json]) -> list[str]:
    """Return the lines of a table: a session each, with its profiles below."""
    titles = []
    for row in rows:
        title = row["ssoSession"] or row["startUrl"].removeprefix("https://")
        titles.append(title[:32])
    width = max(len(title) for title in [TABLE_HEAD, *titles])
    lines = [f"{TABLE_HEAD:{width}}  TOKEN        TIME LEFT     TO REFRESH"]
    for title, row in zip(titles, rows):
        time_left = "-"
        if "minutesLeft" in row:
            hours, minutes = divmod(row["minutesLeft"], 60)
            time_left = f"{hours} h {minutes} min"
        lines.append(
            f"{title:{width}}  {row['state']:11}  {time_left:12}  {refresh_effort(row)}"
        )
        names = []
        for profile in row["profiles"]:
            names.append(profile["profile"].replace(" ", NO_BREAK))
        lines.append("  " + ", ".join(names))
    lines.append("")
    return lines


def refresh_effort(row: Json) -> str:
    """Return what a refresh of a session costs the user."""
    if row["loginInProgress"]:
        return "login in progress"
    if row["state"] == "valid":
        return "nothing to do"
    if row["state"] == "refreshable":
        return "no click"
    return "one sign-in page"


def print_hook() -> int:
    """Answer the event of a host that is on stdin. Returns 0, whatever it is."""
    event = b""
    if sys.stdin is not None:
        event = sys.stdin.buffer.read(MAX_LINE_BYTES)
    answer = hook_answer(event)
    if answer is not None:
        print_text(json.dumps(answer))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
