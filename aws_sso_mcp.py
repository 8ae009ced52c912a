#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""AWS SSO MCP: when an assistant meets an expired AWS SSO token, one tool call mends it.

A Model Context Protocol server over stdio. Needs Python 3.9+ and the AWS CLI v2, nothing else.

    claude mcp add -s user aws-sso -- python3 -IS /path/to/aws_sso_mcp.py

In a terminal: `aws_sso_mcp.py status`, `aws_sso_mcp.py refresh [PROFILE]`, `--help`.

reads    ~/.aws/config, ~/.aws/credentials, and in ~/.aws/sso/cache the token files of the
         configured sessions (their expiry: no token is ever kept, shown or sent); to find the
         profile of an MCP server that is named, the config files of MCP clients; on Linux which
         display and which SSH session its client has (/proc/PPID/environ)
runs     aws sso login, aws configure export-credentials (its output thrown away),
         aws sts get-caller-identity; this Python, to open a page with `webbrowser`
writes   ~/.aws/sso/aws-sso-mcp/: a lock per session, so that all programs share one login;
         AWS's own CLI writes its token file
network  none: AWS's own CLI does every exchange of tokens

Sections, top to bottom, each using only those above it: Errors and settings, AWS configuration,
Token cache, MCP clients, Choosing a profile, AWS CLI, Failures, Login, Tools (a new tool goes
here), MCP, Command line.
"""

from __future__ import annotations

# Only what answering `initialize` and `tools/list` needs; the rest is imported where it is used.
import json
import os
import re
import signal
import sys
import threading
import time
from collections import namedtuple

if sys.version_info < (3, 9):  # noqa: UP036 - says so, instead of failing somewhere below
    sys.exit("aws_sso_mcp.py needs Python 3.9 or newer; this is " + sys.version.split()[0])

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from subprocess import Popen
    from typing import Any, BinaryIO, NoReturn, TextIO

    Json = dict[str, Any]
    Methods = dict[str, Callable[["Request"], Json | None]]

__version__ = "0.1.0"

MAX_FILE_BYTES = 16 << 20  # of a config file: 5,000 profiles take 1 MB
MAX_OUTPUT_BYTES = 64 << 10  # kept of what a command prints (a login: 1 kB), read of a token file
MAX_LINE_BYTES = 4 << 20  # of a message on stdin
MAX_NAME_CHARACTERS = 512  # of a profile name
MAX_CALLS = 256  # running at once
MAX_SHOWN = 10  # profiles, sessions, problems, candidates in one answer

MAX_STATUS_BYTES = 3800  # of an answer of get_aws_sso_status

ENOUGH_S = 15 * 60  # a token that can be renewed is renewed by AWS's SDKs when less is left
ENOUGH_FIXED_S = 5 * 60  # of a token that cannot be renewed
COMMAND_LIMIT_S = 30  # for a command that needs no person
LOGIN_LIMIT_S = 15 * 60  # AWS itself ends a login after 10 minutes
UNHEARD_S = 10 * 60  # how long the end of a login waits for a call that hears of it
ABANDONED_S = 30  # until a run ends that nobody waits for after a cancelled call
PAGE_LIMIT_S = 30  # for the process that opens a page
REPORT_EVERY_S = 10  # progress while waiting for a person
LOOK_EVERY_S = 0.25  # after a process that runs, a lock that another holds, a token that may come
TRIAL_S = 0.02  # longer than anybody has a lock to see whether it is taken
SAME_END_S = 60  # between the ends of two tokens that a session's end cut off
GRACE_S = 0.5  # for a login to end by itself once there is a token, for output after an end


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


def setting(name: str) -> str | None:
    """Return an environment variable; None when unset, empty, or a `${...}` left unexpanded."""
    value = os.environ.get(name, "")
    return None if not value or value.startswith("${") else value


def wait_seconds() -> float:
    """Return how long one tool call may wait for a person: below the 60 s that clients allow."""
    try:
        return min(max(float(setting("AWS_SSO_MCP_WAIT_SECONDS") or 50), 0), 3600)
    except ValueError:
        return 50


def bug(error: Exception) -> Failure:
    """Return the Failure that names the kind and place of a bug; its text could hold a secret."""
    where, trace = "?", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == __file__:  # the deepest line of ours
            where = f"line {trace.tb_lineno}"
        trace = trace.tb_next
    message = f"A bug in aws_sso_mcp.py, {where}: {type(error).__name__}. Report it, then go on."
    return Failure("internal_error", message)


# Patterns are compiled where they are first used: a start takes none.
NAME = rf"[^\0-\x1f\x7f\ud800-\udfff]{{0,{MAX_NAME_CHARACTERS}}}"  # of a profile or a server


def inner(content: Any, *keys: str) -> Json:
    """Return the object below these keys of parsed JSON, {} where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed, as worktrees are
        return os.devnull


def listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def nearest_names(name: str, names: Iterable[str]) -> list[str]:
    """Return names to choose from, those that look like `name` first."""
    from difflib import SequenceMatcher

    def likeness(other: str) -> float:
        return SequenceMatcher(None, name.casefold(), other.casefold()).ratio()

    return sorted(names, key=likeness, reverse=True)[:MAX_SHOWN]


# --- AWS configuration: ~/.aws/config and ~/.aws/credentials, as botocore reads them ----

AwsConfig = namedtuple("AwsConfig", "path profiles sso_sessions")  # by name: {key: text or dict}

# One login: an sso-session, or (name None) a start URL that stands in a profile itself.
SsoSession = namedtuple("SsoSession", "name start_url region")

# A profile that a login serves; `login_profile`, mostly itself, holds the SSO settings.
# Account and role are None where the profile only logs in.
SsoProfile = namedtuple("SsoProfile", "name login_profile session account_id role_name")


def aws_folder(*parts: str) -> Path:
    """Return `~/.aws` or something below it: caches are there whatever AWS_CONFIG_FILE says."""
    from pathlib import Path

    return Path("~", ".aws", *parts).expanduser()


def read_aws_config() -> AwsConfig:
    """Return what both files say, credentials over config, as botocore.session merges them.

    Raises Failure `config_unparsable`. A missing or unreadable file counts as empty.
    """
    path = config_path("AWS_CONFIG_FILE", "config")
    profiles: dict[str, Json] = {}
    sso_sessions: dict[str, Json] = {}
    for header, values in parse_ini(path).items():
        if header == "default":
            profiles[header] = values
        elif header.startswith("profile"):
            profiles.update(named_section(header, values))
        elif header.startswith("sso-session"):
            sso_sessions.update(named_section(header, values))
    credentials = parse_ini(config_path("AWS_SHARED_CREDENTIALS_FILE", "credentials"))
    for name, values in credentials.items():
        profiles[name] = {**profiles.get(name, {}), **values}
    return AwsConfig(path, profiles, sso_sessions)


def config_path(variable: str, name: str) -> Path:
    """Return where a config file is: `variable`, expanded as botocore does, else `~/.aws`."""
    from pathlib import Path

    value = os.environ.get(variable)
    return aws_folder(name) if value is None else Path(os.path.expandvars(value)).expanduser()


def named_section(header: str, values: Json) -> dict[str, Json]:
    """Return {name: values} of a header such as `profile "a b"`; empty unless it is two words."""
    import shlex

    is_plain = re.fullmatch(r"[!#-&(-\[\]-~ ]+", header)  # where shlex only splits, slowly
    try:
        _, name = header.split() if is_plain else shlex.split(header)
    except ValueError:
        return {}
    return {name: values}


def parse_ini(path: Path) -> dict[str, Json]:
    """Return {section: {key: value}} as botocore.configloader.raw_config_parse does."""
    import configparser

    parser = configparser.RawConfigParser()
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > MAX_FILE_BYTES:
            raise unparsable(path, None, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
        parser.read(path)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or getattr(error, "errors", [[None]])[0][0]
        twice = type(error).__name__.startswith("Duplicate")
        what = "a key or a section stands twice" if twice else "no [section] and no `key = value`"
        raise unparsable(path, line, what) from None
    except UnicodeDecodeError:
        raise unparsable(path, None, "it is not text in this machine's encoding") from None
    except (OSError, ValueError):  # unreadable, a NUL in the path
        return {}
    return {
        name: {
            key: parse_nested(path, text) if text.startswith("\n") else text
            for key, text in parser.items(name, raw=True)
        }
        for name in parser.sections()
    }


def parse_nested(path: Path, value: str) -> dict[str, str]:
    """Return the indented `key = value` lines under a key, such as those of `s3 =`."""
    pairs = {}
    for line in filter(None, map(str.strip, value.splitlines())):
        key, equals, text = line.partition("=")
        if not equals:
            lines = path.read_text(errors="replace").split("\n")
            number = next((n for n, each in enumerate(lines, 1) if line in each), None)
            raise unparsable(path, number, "an indented line lacks its `=`")
        pairs[key.strip()] = text.strip()
    return pairs


def unparsable(path: Path, line: int | None, what: str) -> Failure:
    """Return the Failure that names file and line, but not what it says: it may be a secret."""
    where = f"{path}, line {line}" if line else str(path)
    message = f"No AWS tool can read {where}: {what}. Mend it, then call again."
    return Failure("config_unparsable", message)


def text_of(values: Json, key: str) -> str | None:
    """Return a value that is text; None when it is missing, empty or something else."""
    value = values.get(key)
    return value if isinstance(value, str) and value else None


def sso_profile(config: AwsConfig, name: str) -> SsoProfile:
    """Return what a login for profile `name` takes, a role profile resolved to its source.

    Raises Failure when the profile is unknown, no SSO profile, or incomplete.
    """
    chain: list[str] = []
    source: str | None = name
    while source is not None:
        if source in chain:
            message = f"The source_profile of {listed(chain)} leads in a circle. Mend the config."
            raise Failure("profile_loop", message)
        if source not in config.profiles:
            of = f", the source_profile of {chain[-1]!r}," if chain else ""
            what = f"There is no profile {source!r}{of} in {config.path}."
            raise Failure("profile_not_found", what, unusable=source)
        chain.append(source)
        values = config.profiles[source]
        takes_role = "role_arn" in values and "web_identity_token_file" not in values
        source = text_of(values, "source_profile") if takes_role else None
    session = sso_session(config, chain[-1], values)
    role = text_of(values, "sso_account_id"), text_of(values, "sso_role_name")
    return SsoProfile(name, chain[-1], session, *(role if all(role) else (None, None)))


def sso_session(config: AwsConfig, profile: str, values: Json) -> SsoSession:
    """Return the SSO session that `profile` logs in to. Raises Failure when there is none."""
    name = values.get("sso_session")
    name = "" if isinstance(name, dict) else name
    if name is None and "sso_start_url" not in values:
        kind = next(what for key, what in NOT_SSO.items() if key in values or not key)
        what = f"No SSO login can mend profile {profile!r}: it {kind}"
        raise Failure("not_sso", what, unusable=profile)
    where = f"Profile {profile!r}"
    if name is not None:
        where = f"[sso-session {name}], which profile {profile!r} names,"
        if name not in config.sso_sessions:
            message = f"{where} is missing. Add it, with sso_start_url and sso_region."
            raise Failure("sso_session_not_found", message)
        values = config.sso_sessions[name]
    start_url, region = text_of(values, "sso_start_url"), text_of(values, "sso_region")
    if start_url is None or region is None:
        lacking = "sso_start_url" if start_url is None else "sso_region"
        message = f"{where} lacks {lacking}. Add it, or run in a terminal: aws configure sso"
        raise Failure("sso_incomplete", message)
    return SsoSession(name, start_url, region)


NOT_SSO = {  # the key that marks the kind: what the profile is, and what mends it instead
    "role_arn": "assumes a role without an SSO source. Renew what its credentials come from.",
    "login_session": "belongs to `aws login`. Run that in a terminal.",
    "credential_process": "gets its keys from another program. Use the login of that program.",
    "aws_access_key_id": "holds static keys. Those come from IAM.",
    "": "has no SSO settings.",
}


def sso_profile_names(config: AwsConfig) -> list[str]:
    """Return the profiles that hold SSO settings themselves, in the order of the file."""
    keys = {"sso_session", "sso_start_url"}
    return [name for name, values in config.profiles.items() if not keys.isdisjoint(values)]


# --- Token cache: ~/.aws/sso/cache ------------------------------------------------------

# What a token file tells: expiry in epoch seconds, whether a refresh token can renew it, and
# a stamp that changes whenever it is written. Never the token itself.
Token = namedtuple("Token", "expires_at refreshable stamp")

ISO_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|UTC|([+-]\d\d:\d\d))"


def cache_name(key: str) -> str:
    import hashlib

    return hashlib.sha1(key.encode("utf-8", "replace"), usedforsecurity=False).hexdigest() + ".json"


def token_path(session: SsoSession) -> Path:
    """Return the file of a session's token: SHA-1 of its name, or of its exact start URL."""
    return aws_folder("sso", "cache", cache_name(session.name or session.start_url))


def last_used(profile: SsoProfile) -> float:
    """Return when the AWS CLI cached role credentials of a profile (epoch seconds), 0 for never.

    The name of the file is that of botocore.credentials.SSOCredentialFetcher._create_cache_key.
    """
    session = profile.session
    key = {"accountId": profile.account_id, "roleName": profile.role_name}
    key.update({"sessionName": session.name} if session.name else {"startUrl": session.start_url})
    name = cache_name(json.dumps(key, sort_keys=True, separators=(",", ":")))
    try:
        return aws_folder("cli", "cache", name).stat().st_mtime
    except OSError:
        return 0


def read_token(session: SsoSession) -> Token | None:
    """Return the session's token; None when there is none or its file is no token.

    The AWS CLI writes the file in place, so one that does not parse is read again.
    """
    for pause_s in (0.05, 0.05, 0):
        try:
            with token_path(session).open("rb") as file:
                stamp, content = os.fstat(file.fileno()).st_mtime_ns, file.read(MAX_OUTPUT_BYTES)
            return parse_token(json.loads(content), stamp)
        except OSError:
            return None
        except (ValueError, RecursionError):
            time.sleep(pause_s)
    return None


def parse_token(content: Any, stamp: int) -> Token | None:
    """Return the Token of a parsed token file; client registrations and the like are none."""
    if not isinstance(content, dict) or not text_of(content, "accessToken"):
        return None
    expires_at = epoch(content.get("expiresAt"))
    parts = all(text_of(content, key) for key in ("refreshToken", "clientId", "clientSecret"))
    refreshable = parts and (epoch(content.get("registrationExpiresAt")) or 0) > time.time()
    return None if expires_at is None else Token(expires_at, refreshable, stamp)


def epoch(text: Any) -> float | None:
    """Return epoch seconds of any spelling of `expiresAt` that AWS's tools write, else None."""
    from datetime import datetime

    match = re.fullmatch(ISO_TIME, text) if isinstance(text, str) else None
    try:
        return match and datetime.fromisoformat(match[1] + (match[2] or "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None


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
CLIENT_FILES = """
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
""".split() + [  # noqa: SIM905 - and those of each kind of VS Code, here or on a remote host
    f"{user}/{file}"
    for user in ("CONFIG/*Cod*/User", "CONFIG/Cursor/User", "~/.*-server*/data/User")
    for file in ("mcp.json", "settings.json", "profiles/*/mcp.json",
                 "globalStorage/*/settings/*mcp_settings.json")  # Cline, Roo Code
]  # fmt: skip
SERVER_KEYS = [key.split("/") for key in (
    "mcpServers", "servers", "mcp_servers", "context_servers", "powers/mcpServers", "mcp/servers",
    "mcp",
)]  # fmt: skip
SETTINGS_FOLDERS = {"darwin": "~/Library/Application Support", "win32": "$APPDATA"}
MAX_CLIENT_BYTES = 1 << 20  # of a file that a project may bring
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
            file = path.replace(project + os.sep, "./", 1).replace(os.path.expanduser("~"), "~", 1)
            content = read_client_config(path)
            for place in *SERVER_KEYS, ["projects", project, "mcpServers"]:
                for name, entry in inner(content, *place).items():
                    if name not in ("servers", "inputs"):  # of VS Code's `mcp`
                        yield file, name, inner(entry)


def client_paths(pattern: str, project: str) -> list[str]:
    """Return the files on this system that a pattern of CLIENT_FILES stands for, at most 100."""
    import glob

    root, _, rest = pattern.partition("/")
    settings = os.path.expandvars(SETTINGS_FOLDERS.get(sys.platform, "~/.config"))
    places = {"~": ["~"], ".": [project], "@": ["~", project], "CONFIG": [settings]}
    places[""] = [] if sys.platform == "win32" else ["/"]
    folders = [each for each in places.get(root, [setting(root[1:])]) if each]
    escaped = [glob.escape(os.path.expanduser(each)) for each in folders]  # they are no patterns
    return sorted(path for each in escaped for path in glob.glob(os.path.join(each, rest)))[:100]


def read_client_config(path: str) -> Json:
    """Return what a file of JSON, JSON with comments or TOML holds; {} if it can't be read."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MAX_CLIENT_BYTES:
            return {}
        with open(path, "rb") as file:
            return parsed_config(file.read().decode("utf-8-sig"), path.endswith(".toml"))
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


def is_worked_out(name: str) -> bool:
    return bool(name.strip() and re.fullmatch(NAME, name) and not re.search(r"[$`%]", name))


# A profile in a command: what only AWS's tools have, an option that others have too, a variable.
NAMED = r"""(?xi) (?: (?P<own> (?<![\w-]) (?:
          (?: --aws-?profile | --profile-name | -profilename | profile_name ) (?: \s*[=:]\s* | \s+ )
        | (?: (?:aws-\w+|granted)(?:\.exe)?\s+exec | assume | awsume ) \s+
            (?:--(?:[\w-]+=|no-|ecs-|lazy)\S*\s+)*
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


# --- Choosing a profile -----------------------------------------------------------------

# A profile, its `profileSource`, why in words, and the other profiles that it might have been.
Choice = namedtuple("Choice", "profile source why others")


def choose_profile(config: AwsConfig, parameter: str | None, server: str | None = None) -> Choice:
    """Return the profile to use, from the first place that names one.

    Those are the parameter, the entry of MCP server `server`, the environment, the caches of the
    AWS CLI (most recently used), and then `default`. Raises Failure when `server` is unclear.
    """
    if parameter:
        return Choice(parameter, "parameter", "as asked for", [])
    but = ""
    if server:
        profile = profile_of_server(server)
        if profile:
            return Choice(profile, "server", f"configured for MCP server {server!r}", [])
        but = f" (MCP server {server!r} is configured with none)"
    for variable in ("AWS_SSO_MCP_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        value = setting(variable)
        if value:
            return Choice(value, "environment", f"from ${variable}{but}", [])
    choice = most_recent(config) or Choice("default", "default", "as nothing names another", [])
    return choice._replace(why=choice.why + but)


def most_recent(config: AwsConfig) -> Choice | None:
    """Return the SSO profile used last, as far as the AWS CLI's caches tell; None when they don't.

    Of the sessions that profiles use, the one whose token file was written last; of its profiles,
    the one whose role credentials the CLI cached last, else the first in the file.
    """
    sessions = profiles_by_session(config)
    tokens = {session: read_token(session) for session in sessions}
    used = [(token.stamp, session) for session, token in tokens.items() if token is not None]
    if not used:
        return None
    used.sort(key=lambda pair: -pair[0])
    (_, session), *others = used
    profile = max(sessions[session], key=last_used)
    first = [sessions[other][0].name for _, other in others]
    return Choice(profile.name, "most_recent", "the SSO profile used last", first[:MAX_SHOWN])


def profiles_by_session(config: AwsConfig) -> dict[SsoSession, list[SsoProfile]]:
    """Return the SSO profiles of each SSO session, leaving out those that are misconfigured."""
    sessions: dict[SsoSession, list[SsoProfile]] = {}
    for name in sso_profile_names(config):
        try:
            profile = sso_profile(config, name)
        except Failure:
            continue
        if profile.login_profile == name:
            sessions.setdefault(profile.session, []).append(profile)
    return sessions


# --- AWS CLI: finding a v2, its environment, one run shared by many calls ---------------

AWS_CLI_PLACES = (  # beyond PATH, which clients started from a desktop hardly fill
    "/usr/local/bin/aws /opt/homebrew/bin/aws /usr/bin/aws /snap/bin/aws ~/.local/bin/aws "
    "/home/linuxbrew/.linuxbrew/bin/aws /run/current-system/sw/bin/aws ~/.nix-profile/bin/aws "
    "~/.local/share/mise/shims/aws ~/.asdf/shims/aws %ProgramFiles%\\Amazon\\AWSCLIV2\\aws.exe"
)
AWS_CLI_INSTALL = (
    "Install AWS CLI v2 (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install"
    ".html), or name its program in $AWS_SSO_MCP_AWS_CLI."
)
INJECTING = ("LD_", "DYLD_", "PYTHON")  # variables that would load foreign code into the CLI
# Of AWS_* only those that say where things are: keys, AWS_PROFILE, endpoints, retry and output
# settings would shadow, redirect or break what is asked of the CLI.
AWS_VARIABLES = (
    "AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE AWS_USE_FIPS_ENDPOINT "
    "AWS_USE_DUALSTACK_ENDPOINT AWS_EC2_METADATA_DISABLED"
)
EXIT_USAGE, EXIT_V1 = 252, 2  # of the AWS CLI: v2, and v1's `Invalid choice`
V1 = "is version 1"

CHANGED = threading.Condition()
"""Guards what calls and runs share: who is cancelled, what was printed, what has ended, the table
of runs. Whoever changes any of it notifies all. Held for moments: never while a process starts or
a message is written."""

_runs: dict[Any, AwsRun] = {}  # by key; guarded by CHANGED
_v1: set[tuple[str, int]] = set()  # path and time of each `aws` that has shown itself a v1
_starting = threading.Lock()  # guards _processes; held while one starts, so that none escapes
_processes: list[Popen[bytes]] = []


class Call:
    """One request for a tool, as the tool sees it.

    `report` tells the caller of progress; `ask` offers a URL to a client that can show one
    (elicitation), and is without effect at others.
    """

    def __init__(
        self, report: Callable[[str], None], ask: Callable[[str, str], bool] | None = None
    ) -> None:
        self.report = report
        self.ask = ask or (lambda _url, _message: False)
        self.cancelled = False  # the client no longer wants an answer
        self.hurried = False  # it wants the one that there is now
        self.told = ""

    def end(self, *, cancelled: bool) -> None:
        """End whatever the call waits for, from any thread."""
        with CHANGED:
            self.cancelled, self.hurried = cancelled, True
            CHANGED.notify_all()


class AwsRun:
    """One run of `aws`, shared by all calls that want the same thing, told by `key`.

    A thread of its own (`run`) starts the process and looks after it; two more read its output,
    but not to the end of file: what the CLI starts may keep the pipes open. CHANGED guards the
    fields.
    """

    kept = False  # in the table, until a call has heard how it ended

    def __init__(self, key: Any, arguments: Sequence[str], limit_s: float) -> None:
        self.key, self.limit_s = key, limit_s
        self.arguments = [*arguments, "--no-cli-auto-prompt"]
        self.name = f"aws {' '.join(arguments[:2])}"
        self.output = {"stdout": "", "stderr": ""}
        self.code: int | None = None  # of the process; None when it was ended
        self.failure: Failure | None = None
        self.started_at = time.monotonic()
        self.ended_at: float | None = None
        self.waiting = 0  # calls
        self.left_at: float | None = None  # when the last to wait for it was cancelled
        self.fds: Sequence[int] = ()  # that the process inherits

    def asks(self) -> str:
        """Return what a person can be told about it now."""
        return f"Running {self.name} ..."

    def tell(self, call: Call) -> None:
        call.told = self.asks()
        call.report(call.told)

    def wait(self, call: Call, deadline: float) -> bool:
        """Wait for the end, telling news at once and every 10 s; False when it did not come.

        Raises Cancelled, and Failure when it could not run; the exit code is the caller's.
        """

        def over() -> bool:
            return self.ended_at is not None or call.cancelled or (self.kept and call.hurried)

        with CHANGED:
            self.waiting, self.left_at = self.waiting + 1, None
        while not over() and time.monotonic() < deadline:
            self.tell(call)
            with CHANGED:
                seconds = min(deadline - time.monotonic(), REPORT_EVERY_S)
                CHANGED.wait_for(lambda: over() or self.asks() != call.told, seconds)
        with CHANGED:
            self.waiting -= 1
            self.left_at = time.monotonic() if call.cancelled else None
            ended = self.ended_at is not None
            if ended and not call.cancelled:
                self.forget()
        if call.cancelled:
            raise Cancelled
        if ended and self.failure is not None:
            raise self.failure
        return ended

    def forget(self) -> None:
        """Make room for another run of the same key. The caller holds CHANGED."""
        if _runs.get(self.key) is self:
            del _runs[self.key]

    def run(self) -> None:
        """Run it to its end, in a thread of its own."""
        try:
            self._work()
        except Failure as failure:
            self.failure = failure
        except Exception as error:  # noqa: BLE001 - a bug must not leave calls waiting
            self.failure = bug(error)
        with CHANGED:
            self.ended_at = time.monotonic()
            if not self.kept:
                self.forget()
            CHANGED.notify_all()

    def _work(self) -> None:
        """Run the command with the first `aws` that is a v2. Raises Failure."""
        while not self._run_with(find_aws_cli()):
            self.output = {"stdout": "", "stderr": ""}

    def _run_with(self, aws: str) -> bool:
        """Run it once; False when this `aws` cannot do it, and another try may."""
        if aws.lower().endswith((".cmd", ".bat")) and re.search(r'[%&^<>|"]', str(self.arguments)):
            message = f"{aws} is a batch file, which cannot take such a profile name. "
            raise Failure("aws_cli_failed", message + AWS_CLI_INSTALL)
        process = start_process([aws, *self.arguments], piped=True, fds=self.fds)
        try:
            self._watch(process)
            self.code = process.poll()
        finally:
            kill(process)
            process.wait()
        errors = self.output["stderr"]
        if self.code == EXIT_USAGE and "Unknown options: --use-device-code" in errors:  # < 2.22
            self.arguments.remove("--use-device-code")
            return False
        is_v1 = self.code == EXIT_V1 and "nvalid choice" in errors
        if is_v1 or "--no-cli-auto-prompt" in errors:
            _v1.add((aws, os.stat(aws).st_mtime_ns))
            return False
        return True

    def _watch(self, process: Popen[bytes]) -> None:
        """Wait until a process ends, or should. Raises Failure."""
        from subprocess import TimeoutExpired

        readers = [
            in_thread(self._read, "stdout", process.stdout),
            in_thread(self._read, "stderr", process.stderr),
        ]
        while process.poll() is None and self._wanted():
            readers[0].join(LOOK_EVERY_S)  # most processes close their pipes by ending
            try:
                process.wait(0 if readers[0].is_alive() else LOOK_EVERY_S)
            except TimeoutExpired:
                continue
        for reader in readers:
            reader.join(GRACE_S)

    def _wanted(self) -> bool:
        """Tell, a few times a second, whether it should go on. Raises Failure to end it so."""
        now = time.monotonic()
        with CHANGED:
            if self.failure is not None:
                raise self.failure
            if self.left_at is not None and not self.waiting and now - self.left_at > ABANDONED_S:
                self.forget()
                raise Failure("abandoned", "Nobody waited for it any more.")
        if now - self.started_at > self.limit_s:
            what = f"`{self.name}` did not end within {self.limit_s:.0f} s. "
            raise Failure("timeout", what + "Check the network and the proxy, then call again.")
        return True

    def _read(self, stream: str, pipe: BinaryIO) -> None:
        """Keep the beginning of what the process prints, and let the rest go by."""
        content = b""
        with pipe:
            for chunk in iter(lambda: os.read(pipe.fileno(), 65536), b""):
                content = (content + chunk)[:MAX_OUTPUT_BYTES]
                with CHANGED:
                    self.output[stream] = content.decode("utf-8", "replace").replace("\r", "")
                    self._update()
                    CHANGED.notify_all()

    def _update(self) -> None:
        """Act on new output. The caller holds CHANGED."""


def run_aws(call: Call, deadline: float, *arguments: str) -> AwsRun:
    """Run a command that needs no person to its end, joining one that is the same.

    Raises Failure when it cannot be run or gives no answer in time, Cancelled.
    """
    run = AwsRun(arguments, arguments, COMMAND_LIMIT_S)
    with CHANGED:
        if arguments not in _runs:
            in_thread(run.run)
        run = _runs.setdefault(arguments, run)
    if not run.wait(call, max(deadline, time.monotonic() + 5)):
        step = "Check the network and the proxy, then call again."
        raise Failure("timeout", f"`{run.name}` gives no answer. {step}")
    return run


def in_thread(action: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a limit of the system, or of its container
        message = "No more threads can be started here. Wait for other calls, then call again."
        raise Failure("no_thread", message) from None
    return thread


def find_aws_cli() -> str:
    """Return the path of the first `aws` that may be trusted and has not shown itself a v1.

    Raises Failure `aws_cli_not_found` or `aws_cli_v1`, which say where it looked.
    """
    named = setting("AWS_SSO_MCP_AWS_CLI")
    paths = [named] if named else list(aws_cli_paths())
    refused = {path: aws_cli_problem(path) for path in paths if os.path.lexists(path)}
    for path, problem in refused.items():
        if problem is None:
            return path
    found = "; ".join(f"{path} {problem}" for path, problem in refused.items())
    if V1 in refused.values():
        message = f"The AWS CLI here is version 1, which has no `aws sso login` ({found}). "
        raise Failure("aws_cli_v1", message + AWS_CLI_INSTALL)
    where = named or "PATH and the usual places"
    message = f"There is no AWS CLI v2 to log in with, looking in {where}"
    raise Failure("aws_cli_not_found", f"{message}{found and f' ({found})'}. {AWS_CLI_INSTALL}")


def aws_cli_paths() -> Iterator[str]:
    """Yield the paths where `aws` may be: entries of PATH, then the usual places."""
    for folder in path_folders():
        for name in ("aws.exe", "aws.cmd") if os.name == "nt" else ("aws",):
            yield os.path.join(folder, name)
    for place in AWS_CLI_PLACES.split(" "):
        yield os.path.expandvars(os.path.expanduser(place))


def path_folders() -> Iterator[str]:
    """Yield PATH, but no relative entry nor the working directory: those came with some project."""
    here = os.path.realpath(working_folder())
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(folder) and os.path.realpath(folder) != here:
            yield folder


def aws_cli_problem(path: str) -> str | None:
    """Return why the `aws` at `path` is not run, None when it may be."""
    if not os.path.isabs(path) or not os.path.isfile(path) or not os.access(path, os.X_OK):
        return "is no program with an absolute path"
    if (path, os.stat(path).st_mtime_ns) in _v1:
        return V1
    return next(map("may be written by others ({})".format, open_to_others(path)), None)


def open_to_others(path: str) -> Iterator[Path]:
    """Yield `path`, as linked and as it really is, and the folders above that others may write.

    None, as OpenSSH demands of its files; but what lies deep in a sticky folder is safe there.
    Windows keeps no such modes.
    """
    from pathlib import Path

    for place in (Path(path).resolve(), Path(path)) if os.name == "posix" else ():
        folder = place if place.is_dir() else place.parent
        for above in (place, *place.parents):
            mode = above.stat().st_mode
            if mode & 0o002 and not (mode & 0o1000 and above != folder):
                yield above


REMOTE = ("SSH_CONNECTION", "SSH_TTY", "CODESPACES", "REMOTE_CONTAINERS")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
DESKTOP = ("XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "WSL_INTEROP")
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def surroundings() -> dict[str, str]:
    """Return the variables that tell of a screen, or that the person is elsewhere.

    Many clients hand few variables on (all SDKs, Codex); on Linux their own can be read.
    """
    theirs: dict[str, str] = {}
    try:
        with open(f"/proc/{os.getppid()}/environ", "rb") as file:
            pairs = (each.partition("=") for each in os.fsdecode(file.read()).split("\0"))
            theirs = {name: value for name, _, value in pairs}
    except OSError:
        pass
    names = {*REMOTE, *SCREENS, *DESKTOP}
    both = {**theirs, **os.environ}
    return {name: value for name, value in both.items() if name in names and value}


def child_environment() -> dict[str, str]:
    """Return the environment for `aws` and the browser: ours, less what could mislead them."""
    environment = {
        name: value
        for name, value in {**surroundings(), **os.environ}.items()
        if not name.startswith((*INJECTING, "AWS_")) or name in AWS_VARIABLES.split()
    }
    folders = (
        each for each in path_folders() if os.path.isdir(each) and not any(open_to_others(each))
    )
    environment["PATH"] = os.pathsep.join(folders)
    return {**environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}


def start_process(argv: Sequence[str], piped: bool, fds: Sequence[int] = ()) -> Popen[bytes]:
    """Start a program away from our streams, in a group and folder of its own: the only Popen.

    Of our files it gets `fds` alone. Raises Failure when it cannot be started.
    """
    import subprocess

    output, environment = subprocess.PIPE if piped else subprocess.DEVNULL, child_environment()
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    try:
        with _starting:
            process = subprocess.Popen(  # noqa: S603 - a list of arguments, and no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=os.path.expanduser("~"),
                start_new_session=True,
                creationflags=flags,
                pass_fds=fds,
            )
            _processes[:] = [each for each in _processes if each.poll() is None] + [process]
            return process
    except (OSError, ValueError) as error:
        message = f"{argv[0]} could not be started: {error}. Mend that, then call again."
        raise Failure("aws_cli_failed", message) from None


def kill(process: Popen[bytes] | None) -> None:
    """Kill a process at once, and, if it is an `aws`, all that it started.

    SIGKILL is as good as SIGTERM: the AWS CLI handles neither, and this one it cannot ignore.
    Below the one that opens a page may be the person's browser.
    """
    import subprocess

    if process is None or process.poll() is not None:
        return
    try:
        if process.stdout is None:
            process.kill()
        elif os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            taskkill = os.path.join(os.environ.get("SYSTEMROOT", ""), "System32", "taskkill.exe")
            argv = [taskkill, "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=5)  # noqa: PLW1510, S603
    except (OSError, subprocess.SubprocessError):
        process.kill()


def end_processes() -> None:
    """Kill every process that is running, and let none start any more."""
    _starting.acquire(timeout=1)  # for good
    for process in _processes:
        kill(process)


# --- Failures: what AWS's tools say, what it means, what would mend it ------------------

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


def cli_failure(run: AwsRun) -> Failure:
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
    command = " ".join(each for each in run.arguments if not each.startswith("--no-"))
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


# --- Login: one renewal per SSO session, on this whole machine --------------------------

LOGIN_URL = r"(?m)^https?://\S+$"
USER_CODE = r"(?m)^[A-Z0-9]{4}-[A-Z0-9]{4}$"
SAFE_URL = r"https://([A-Za-z0-9.-]+)(?::\d{1,5})?(?:[/?#][!#-;=?-Z_a-z~%\[\]]*)?"
# Hosts of AWS's own pages; below amazonaws.com, api.aws and on.aws lie pages of its customers too.
AWS_HOSTS = (
    r"(?i)(?:oidc|oidc-fips|(?:device|portal)\.sso)\.[a-z0-9-]+\.(?:amazonaws\.(?:com|com\.cn|eu)"
    r"|api\.aws|api\.amazonwebservices\.(?:com\.cn|eu))"
    r"|(?:[a-z0-9-]+\.)+(?:awsapps\.(?:com|cn)|app\.aws|signin\.aws|signin\.aws\.amazon\.com)"
)
PAGE_OPENER = "import sys, webbrowser; webbrowser.open(sys.argv[1])"


class SessionLock:
    """An OS lock on one small file per SSO session, found from the home alone.

    The `aws` child inherits it (not on Windows), so that it lives as long as the login does, even
    when the server is killed. The file tells other processes what their person needs to know.
    """

    def __init__(self, session: SsoSession) -> None:
        self.path = aws_folder("sso", "aws-sso-mcp", token_path(session).name)
        self.fd: int | None = None
        self.problem = ""  # why there is no lock

    def acquire(self) -> bool:
        """Take the lock; False when a login elsewhere has it. Without one to be had, go on."""
        try:
            if self.fd is None:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            if lock_file(self.fd):
                return True
            time.sleep(TRIAL_S)  # it may be no login that has it, but `is_taken`
            return lock_file(self.fd)
        except OSError as error:
            self.problem = f" (Other programs may open a page too, for want of a lock: {error}.)"
            return True

    def is_taken(self) -> bool:
        """Tell whether any process has the lock, by trying it for a moment."""
        try:
            self.fd = os.open(self.path, os.O_RDWR)
            return not lock_file(self.fd)
        except OSError:  # no login yet, on this machine
            return False
        finally:
            self.release()

    def tell(self, **what: str | None) -> None:
        """Let the others know."""
        if not self.problem:
            try:
                self.path.write_text(json.dumps(what), encoding="utf-8")
            except OSError:  # a full disk: the lock still holds
                return

    def told(self) -> dict[str, str]:
        """Return what the one with the lock told: `url`, `code`, and how it ended."""
        try:
            with self.path.open("rb") as file:
                what = inner(json.loads(file.read(MAX_OUTPUT_BYTES)))
        except (OSError, ValueError, RecursionError):
            return {}
        return {key: value for key, value in what.items() if isinstance(value, str)}

    def release(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def lock_file(fd: int) -> bool:
    """Lock an open file; False when another process has the lock. Raises OSError.

    `flock` belongs to the open file and what inherits it; Windows locks a byte for one process,
    so one that nobody reads.
    """
    import errno

    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(fd, MAX_FILE_BYTES, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise
        return False
    return True


class Renewal(AwsRun):
    """The renewal of one SSO session's token, silent or by `aws sso login`.

    Every call for the session joins it; another process that renews the same session is waited
    for (`elsewhere`). With a device code the page may be opened in any browser; without, it must
    be one on this machine, where the CLI listens. `opens`: we open it, if it is a page of AWS's.
    """

    kept = True

    def __init__(self, profile: SsoProfile, seen: Token | None, refresher: str | None) -> None:
        self.session, self.seen, self.refresher = profile.session, seen, refresher
        remote = is_remote()
        self.opens = not remote or "BROWSER" in surroundings()
        self.asked = False  # whether a call has told of a page that nobody here can open
        self.url: str | None = None
        self.user_code: str | None = None
        self.status = ""
        self.elsewhere = False
        self.moved_at: float | None = None  # when there first was a new token
        self.lock = SessionLock(profile.session)
        device = ["--use-device-code"] if remote else []
        arguments = ["sso", "login", f"--profile={profile.login_profile}", "--no-browser", *device]
        super().__init__(token_path(profile.session), arguments, LOGIN_LIMIT_S)

    def asks(self) -> str:
        if self.url is None:
            who = "Another program" if self.elsewhere else "The AWS CLI"
            return f"{who} is renewing the token, or asking AWS for a sign-in page."
        host = os.uname().nodename if os.name == "posix" else os.environ.get("COMPUTERNAME", "?")
        where, code = f"a browser on this machine ({host})", ""
        if self.user_code:
            where = "any browser"
            code = f", check that it shows the code {self.user_code} (asked for by {host})"
        if not is_aws_page(self.url):
            return f"Careful: {self.url} is no page of AWS's. Open it only if you know it{code}."
        if not self.opens:
            return f"Open {self.url} in {where}{code}, and approve."
        opened = f"A sign-in page should have opened in the browser: approve it{code}."
        return f"{opened} If there is none, open {self.url} in {where}."

    def tell(self, call: Call) -> None:
        super().tell(call)
        is_safe = self.url is not None and is_aws_page(self.url)
        if self.url and not self.asked and not (self.opens and is_safe):
            self.asked = True
            may_ask = is_safe and not self.elsewhere
            if not (may_ask and call.ask(self.url, call.told)):
                call.end(cancelled=False)  # the person must see the URL now

    def _work(self) -> None:
        """Renew the token under the session's lock, or wait for the process that does."""
        try:
            while not self.lock.acquire():
                self._hear()
                if not self._wanted():
                    break
                with CHANGED:
                    CHANGED.wait(LOOK_EVERY_S)
            told = self.lock.told() if self.elsewhere else {}
            if self.is_done():
                by_login = self.url or told.get("status") == "logged_in"
                self.status = "logged_in" if by_login else "refreshed"
            elif self.elsewhere and told.get("reason") != "abandoned":  # by its calls, not ours
                message = "Another program's login to this session ended without a new token. "
                message = told.get("message", message + "Call again to log in.")
                raise Failure(told.get("reason", "ended_elsewhere"), message)
            else:
                with CHANGED:
                    self.elsewhere, self.url, self.user_code, self.asked = False, None, None, False
                self._renew()
        finally:
            self.lock.release()

    def _hear(self) -> None:
        """Take the URL and the code that the process with the lock tells."""
        told = self.lock.told()
        with CHANGED:
            self.elsewhere = True
            if re.fullmatch(SAFE_URL, told.get("url", "")):
                self.url, self.user_code = told["url"], told.get("code")
            CHANGED.notify_all()

    def _renew(self) -> None:
        """Renew the token, silently if that can be, and leave word of the outcome."""
        self.lock.tell()
        try:
            if self.refresher and self._refresh_silently(self.refresher):
                self.status = "refreshed"
            else:
                self._log_in()
                self.status = "logged_in"
            self.lock.tell(status=self.status)
        except Failure as failure:
            self.lock.tell(reason=failure.reason, message=str(failure))
            raise

    def _refresh_silently(self, refresher: str) -> bool:
        """Have the AWS CLI use the refresh token; tell whether that brought a new token."""
        deadline = time.monotonic() + COMMAND_LIMIT_S
        arguments = ("configure", "export-credentials", f"--profile={refresher}")
        try:
            run_aws(Call(lambda _: None), deadline, *arguments)
        except Failure as failure:
            if failure.reason != "timeout":
                raise
        return self.is_done()

    def _log_in(self) -> None:
        """Run `aws sso login`. Raises Failure unless there is a new token in the end."""
        self.fds = [self.lock.fd] if self.lock.fd is not None and os.name == "posix" else []
        super()._work()
        if self.is_done():
            return
        if self.code != 0:
            raise cli_failure(self)
        message = "`aws sso login` ended well, but there is no new token. Look for an `sso` alias "
        message += "in ~/.aws/cli/alias and at this machine's clock, then call again."
        raise Failure("no_token", message)

    def is_done(self) -> bool:
        """Tell whether there is another token than was seen at first, and one that is good."""
        token = read_token(self.session)
        return token is not None and token != self.seen and token.expires_at > time.time()

    def _wanted(self) -> bool:
        """End it, too, when the token came some other way, say by a login in a terminal."""
        if super()._wanted() and not self.is_done():
            return True
        self.moved_at = self.moved_at or time.monotonic()
        # A login of ours that brought the token ends by itself.
        return not self.elsewhere and time.monotonic() - self.moved_at < GRACE_S

    def _update(self) -> None:
        """Take the URL and the code as soon as all is there that a person needs."""
        url, self.user_code = parse_login_output(self.output["stdout"])
        if url is None or url == self.url:
            return
        if not re.fullmatch(SAFE_URL, url):
            message = "The AWS CLI offered a sign-in page that is not https; it was not opened. "
            step = "Check sso_start_url and the network (a captive portal?), then call again."
            self.failure = Failure("untrusted_url", message + step)
            return
        self.url = url
        self.lock.tell(url=url, code=self.user_code)
        if self.opens and is_aws_page(url):
            try:
                in_thread(open_page, url)
            except Failure:  # no thread to be had: the answer carries the URL
                return


def running_renewal(session: SsoSession) -> Renewal | None:
    """Return the session's renewal that runs, or has ended lately and unheard."""
    with CHANGED:
        run = _runs.get(token_path(session))
        if not isinstance(run, Renewal):
            return None
        if run.ended_at is None:
            return run
        gone = run.failure is None and not run.is_done()  # its token, by `aws sso logout`
        return None if gone or time.monotonic() - run.ended_at > UNHEARD_S else run


def join_or_start_renewal(new: Renewal) -> Renewal:
    """Return the renewal of the session that is there, else start the new one."""
    with CHANGED:
        renewal = running_renewal(new.session)
        if renewal is None:
            in_thread(new.run)
            renewal = _runs[new.key] = new
        return renewal


def silent_refresher(config: AwsConfig, session: SsoSession) -> str | None:
    """Return the profile through which the AWS CLI can renew the session's token silently.

    Any command that loads role credentials does it, unless those are still cached: so the profile
    whose cached ones are the oldest. None when there is nothing to renew with.
    """
    profiles = [each for each in profiles_by_session(config).get(session, []) if each.role_name]
    if token_state(read_token(session)) != "refreshable" or not profiles:
        return None
    return str(min(profiles, key=last_used).name)


def parse_login_output(text: str) -> tuple[str | None, str | None]:
    """Return the URL to open and the user code that `aws sso login --no-browser` printed so far.

    Only URLs with a query can be opened as they are; a bare verification URI is followed by its
    code, and then by the URL that fills it in.
    """
    text = text[: text.rfind("\n") + 1]
    urls, code = re.findall(LOGIN_URL, text), re.search(USER_CODE, text)
    ready = [url for url in urls if "?" in url] or (urls if code else [])
    return (ready[-1] if ready else None), (code[0] if code else None)


def is_aws_page(url: str) -> bool:
    match = re.fullmatch(SAFE_URL, url)
    return match is not None and re.fullmatch(AWS_HOSTS, match[1]) is not None


def is_remote() -> bool:
    """Guess whether the person has no browser on this machine; AWS_SSO_MCP_LOGIN overrides it."""
    wish, around = setting("AWS_SSO_MCP_LOGIN"), surroundings()
    if wish in ("browser", "device"):
        return wish == "device"
    if not around.keys().isdisjoint(REMOTE) or any(map(os.path.exists, CONTAINER_MARKS)):
        return True
    return sys.platform.startswith("linux") and around.keys().isdisjoint(SCREENS)


def open_page(url: str) -> None:
    """Open `url` with `webbrowser`, in a process without streams and for a limited time.

    Nothing tells whether a page appeared, so nobody asks: the answer carries the URL.
    """
    from subprocess import TimeoutExpired

    try:
        process = start_process([sys.executable, "-IS", "-c", PAGE_OPENER, url], piped=False)
    except Failure:
        return
    try:
        process.wait(PAGE_LIMIT_S)
    except TimeoutExpired:
        kill(process)


# --- Tools ------------------------------------------------------------------------------

Tool = namedtuple("Tool", "definition function")
TOOLS: dict[str, Tool] = {}


def tool(
    title: str, description: str, properties: Json, annotations: Json
) -> Callable[[Callable[..., Json]], Callable[..., Json]]:
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
            "names. Without it: $AWS_PROFILE, else the SSO profile used last, else `default`.",
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
    """Make the SSO token of a profile usable, with the fewest clicks; a Failure is an answer too.

    Raises Cancelled.
    """
    known: Json = {}
    told, config = "", None
    try:
        config = read_aws_config()
        choice = choose_profile(config, profile, server)
        known.update({"profile": choice.profile, "profileSource": choice.source})
        known.update({"candidates": choice.others} if choice.others else {})
        told = f" Profile: {choice.profile}, {choice.why}."
        target = sso_profile(config, choice.profile)
        if target.login_profile != target.name:
            known["loginProfile"] = target.login_profile
        known.update({"ssoSession": target.session.name, "startUrl": target.session.start_url})
        outcome = renew(call, config, target, force)
    except Failure as failure:
        outcome = failed(failure, config)
    outcome["message"] += told
    return {**known, **outcome}


def failed(failure: Failure, config: AwsConfig | None = None) -> Json:
    """Return the answer that tells a failure, and offers other profiles where those may help."""
    answer: Json = {"success": False, "status": "failed", "message": str(failure)}
    answer["reason"] = failure.reason
    if config is None or failure.unusable is None:
        return answer
    near = nearest_names(failure.unusable, sso_profile_names(config))
    answer["candidates"] = near
    answer["message"] += (
        f" If another profile was meant, call again with one of: {listed(near)}."
        if near
        else " There is no SSO profile yet: make one in a terminal with `aws configure sso`."
    )
    return answer


DONE = {
    "valid": "The SSO token is good, and AWS accepts it: no login was needed.",
    "refreshed": "The SSO token was renewed without a login.",
    "logged_in": "Logged in: there is a new SSO token.",
}
RETRY = (
    " Retry what failed; reconnect an MCP server only if its retry fails, as it may keep old keys."
)


def renew(call: Call, config: AwsConfig, target: SsoProfile, force: bool) -> Json:
    """Return the outcome of the way to a good token that takes the fewest clicks.

    Raises Failure, Cancelled.
    """
    deadline = time.monotonic() + wait_seconds()
    session = target.session
    seen, renewal, status, notes = read_token(session), running_renewal(session), "", ""
    identity: Json | None = None
    # A renewal that has just brought this token is joined, to hear of it; one that failed, or that
    # somebody forced while this token was good, is not.
    joins = renewal is not None and renewal.failure is None and seen != renewal.seen
    if token_state(seen) == "valid" and not force and not joins:
        try:
            identity, status = caller_identity(call, target, deadline), "valid"
        except Failure as failure:
            if failure.reason != "session_expired":
                raise
    if not status:
        if renewal is None or not (joins or force):  # one found may be forgotten by now
            refresher = None if force else silent_refresher(config, session)
            renewal = join_or_start_renewal(Renewal(target, seen, refresher))
        if not renewal.wait(call, deadline):
            return pending(renewal)
        status = renewal.status
        identity, notes = identity_or_doubt(call, target, deadline)
        notes += warm_session(renewal) + renewal.lock.problem
    message = f"{DONE[status]}{notes}{RETRY}{shadowing_keys()}"
    answer = {"success": True, "status": status, "message": message, **expiry(read_token(session))}
    return {**answer, "identity": identity} if identity else answer


def warm_session(renewal: Renewal) -> str:
    """Return what to say of a login that brought no more time, or of one that will come often."""
    token, seen = read_token(renewal.session), renewal.seen
    later_s = (token.stamp - seen.stamp) / 1e9 if token and seen else 0
    same_end = token and seen and token.expires_at - seen.expires_at < SAME_END_S
    if later_s > 2 * SAME_END_S and same_end:
        return (
            " It ends when the old one did, as AWS's portal session still lives: if AWS goes on"
            " refusing, let the person sign out in the portal (startUrl), then force again."
        )
    if token and not renewal.session.name and renewal.session not in _advised:
        _advised.add(renewal.session)
        return " (A profile with an [sso-session] section would mostly renew without a login.)"
    return ""


_advised: set[SsoSession] = set()  # sessions whose person has heard of sso-session sections


def shadowing_keys() -> str:
    """Return a warning when keys of the environment come before any profile."""
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        return ""
    return (
        " AWS_ACCESS_KEY_ID is set in this server's environment: programs that share it use those "
        "keys and not AWS_PROFILE. Unset it, or give them --profile."
    )


def caller_identity(call: Call, target: SsoProfile, deadline: float) -> Json | None:
    """Return {account, arn} as AWS knows the login profile; None for one without a role.

    Raises Failure when AWS refuses, or cannot be asked.
    """
    if target.role_name is None:
        return None
    arguments = ("sts", "get-caller-identity", "--output=json", f"--profile={target.login_profile}")
    run = run_aws(call, deadline, *arguments)
    if "[Errno 17]" in run.output["stderr"]:  # two of them made ~/.aws/cli/cache: before 2.31
        run = run_aws(call, deadline, *arguments)
    try:
        identity = json.loads(run.output["stdout"]) if run.code == 0 else {}
        return {"account": str(identity["Account"]), "arn": str(identity["Arn"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise cli_failure(run) from None


def identity_or_doubt(call: Call, target: SsoProfile, deadline: float) -> tuple[Json | None, str]:
    """Return the identity that a new token gives, and what to say when AWS could not be asked.

    Raises Failure when AWS refuses the token or the role: then nothing can be used.
    """
    try:
        return caller_identity(call, target, deadline), ""
    except Failure as failure:
        if failure.reason == "session_expired":
            message = "AWS refuses even the new token. Check sso_region and sso_start_url; let the "
            message += "person sign out in the portal (startUrl), then call once with force: true."
            raise Failure(failure.reason, message) from None
        if failure.reason == "role_not_assigned":
            raise
        return None, f" Who it makes you could not be asked: {failure}"


def pending(renewal: Renewal) -> Json:
    """Return the answer for a login that still waits for the person."""
    message = f"Waiting for the person. {renewal.asks()} Then call refresh_aws_sso_token again with"
    message += " the same arguments: it joins this login and opens no second page."
    answer = {"success": False, "status": "pending", "message": message + renewal.lock.problem}
    answer.update({"loginUrl": renewal.url} if renewal.url else {})
    return {**answer, "userCode": renewal.user_code} if renewal.user_code else answer


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
            answer = failed(failure, config)
            del answer["status"]
            return answer
    rows = session_rows(config, taken, only=bool(profile))
    good = sum("expiresAt" in row for row in rows)
    message = f"{good} of {len(rows)} SSO sessions have a token that works. "
    message += f"A refresh would take profile {choice.profile}, {choice.why}"
    message += "." if taken else ", and fail: see `problems`. Name another as `profile`."
    problems = config_problems(config, choice)
    answer = {
        "success": True,
        "message": message,
        "sessions": rows[:MAX_SHOWN],
        "next": {"profile": choice.profile, "profileSource": choice.source},
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
    token, renewal = read_token(session), running_renewal(session)
    runs_here = renewal is not None and renewal.ended_at is None
    keys = ("profile", "accountId", "roleName")
    shown = [(each.name, each.account_id, each.role_name) for each in profiles[:MAX_SHOWN]]
    return {
        "ssoSession": session.name,
        "startUrl": session.start_url,
        "state": token_state(token),
        **expiry(token),
        "profileCount": len(profiles),
        "profiles": [dict(zip(keys, row)) for row in shown],
        "loginInProgress": runs_here or SessionLock(session).is_taken(),
    }


def config_problems(config: AwsConfig, choice: Choice) -> list[str]:
    """Return what is wrong with the environment, the SSO profiles, and the one to be refreshed."""
    problems = [shadowing_keys().strip()] if shadowing_keys() else []
    for name in dict.fromkeys([choice.profile, *sso_profile_names(config)]):
        try:
            sso_profile(config, name)
        except Failure as failure:
            problems.append(str(failure))
    return problems


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
    """One request of the client; `open` until it is answered or cancelled."""

    def __init__(self, request_id: str | int, method: str, params: Any) -> None:
        self.id, self.method = request_id, method
        self.params, self.meta = inner(params), inner(params, "_meta")
        self.modern = not self.meta.keys().isdisjoint(ENVELOPE)
        self.open = True
        self.progress = 0
        self.call: Call | None = None
        self.elicitation: Json | None = None  # params of the one that the client was sent


class Server:
    """Answers the lines of MCP clients of both eras; each message tells its own (`_handler`).

    Threads: `handle_line` is called by the one that reads stdin, and never waits for a tool; each
    `tools/call` runs in a daemon thread. `_wire` guards what is written, the running calls, and
    whether a request is open, so that nothing follows an answer.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._wire = threading.Lock()
        self._running: list[Request] = []
        self._initialized = False
        self._capabilities: Any = None  # of a legacy client
        self._asked: dict[str, Request] = {}  # by the id of an elicitation
        self._secret = os.urandom(32)  # of _request_state
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
        except (ValueError, RecursionError):
            self._complain("a line that is not JSON was ignored")
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
        try:
            if not isinstance(params, (dict, type(None))):
                raise ProtocolError(INVALID_PARAMS, "params must be an object")
            result = self._handler(request)(request)
        except ProtocolError as error:
            return self._send(request, {"id": request.id, "error": error.body})
        except RecursionError:
            deep = ProtocolError(INVALID_PARAMS, "params are nested too deeply")
            return self._send(request, {"id": request.id, "error": deep.body})
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
            raise ProtocolError(INVALID_PARAMS, f"Unknown tool: {str(name)[:100]}")
        if not isinstance(arguments, (dict, type(None))):
            raise ProtocolError(INVALID_PARAMS, "arguments must be an object")
        call = request.call = Call(
            lambda message: self._report(request, message),
            lambda url, message: self._elicit(request, url, message),
        )
        call.hurried = self._is_declined(request)
        with self._wire:
            if len(self._running) >= MAX_CALLS:
                raise ProtocolError(INTERNAL_ERROR, f"More than {MAX_CALLS} calls at once")
            self._running.append(request)
        try:
            in_thread(self._run_tool, request, call, TOOLS[name], arguments or {})
        except Failure as failure:
            raise ProtocolError(INTERNAL_ERROR, str(failure)) from None

    def _run_tool(self, request: Request, call: Call, chosen: Tool, arguments: Json) -> None:
        try:
            arguments = checked_arguments(chosen.definition, arguments)
            answer = chosen.function(call, **arguments)
        except Cancelled:
            return None
        except Failure as failure:
            answer = failed(failure)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the client waiting
            answer = failed(bug(error))
            self._complain(answer["message"])
        waits = answer.get("status") == "pending"
        if request.elicitation and request.modern and waits:
            ask = {"login": {"method": "elicitation/create", "params": request.elicitation}}
            wish = {"inputRequests": ask, "requestState": self._request_state(request)}
            return self._reply(request, {"resultType": "input_required", **wish})
        if request.elicitation and not request.modern and not waits:
            params = {"elicitationId": request.elicitation["elicitationId"]}
            done = {"method": "notifications/elicitation/complete", "params": params}
            self._send(request, done, last=False)
        content = [{"type": "text", "text": json.dumps(answer, ensure_ascii=False)}]
        is_error = not answer["success"] and not waits
        result = {"content": content, "structuredContent": answer, "isError": is_error}
        return self._reply(request, result)

    # Elicitation in URL mode: legacy (2025-11-25, client/elicitation) sends a request of its own,
    # modern (2026-07-28, basic/patterns/mrtr) answers that input is required. A client that says
    # anything but yes gets the plain answer at once; one that never replies, as if it had not
    # been asked.

    def _elicit(self, request: Request, url: str, message: str) -> bool:
        """Offer a URL to the client; False when it declares no such capability."""
        declared = request.meta.get(ENVELOPE[1]) if request.modern else self._capabilities
        if "url" not in inner(declared, "elicitation"):
            return False
        params = request.elicitation = {"mode": "url", "url": url, "message": message}
        if request.modern and request.call:
            request.call.end(cancelled=False)
            return True
        params["elicitationId"] = key = os.urandom(8).hex()
        with self._wire:
            if request.open:
                self._asked[key] = request
        ask = {"id": key, "method": "elicitation/create", "params": params}
        self._send(request, ask, last=False)
        return True

    def _take_response(self, message: Any) -> None:
        """Let the call that asked go on waiting, or answer at once."""
        key = message.get("id") if isinstance(message, dict) else None
        with self._wire:
            asked = self._asked.pop(key, None) if isinstance(key, str) else None
        if asked is None or asked.call is None:
            return self._complain("a message without a method was ignored")
        if inner(message, "result").get("action") != "accept":
            asked.call.end(cancelled=False)
        return None

    def _is_declined(self, request: Request) -> bool:
        """Tell whether a request is repeated by a client whose person did not want the page."""
        params = request.params
        if not request.modern or "requestState" not in params:
            return False
        states = self._request_state(request), self._request_state(request, before=1)
        action = inner(params, "inputResponses", "login").get("action")
        return params["requestState"] in states and action != "accept"

    def _request_state(self, request: Request, before: int = 0) -> str:
        """Return what only this server can give, for this call, and for 15 to 30 minutes."""
        import hmac

        period = time.time() // LOGIN_LIMIT_S - before
        call = json.dumps([period, request.params.get("name"), request.params.get("arguments")])
        return hmac.new(self._secret, call.encode(), "sha256").hexdigest()

    def _cancel(self, request_id: Any) -> None:
        """Stop a call: nothing more is sent for it."""
        with self._wire:
            same = [each for each in self._running if repr(each.id) == repr(request_id)]
            for request in same:
                self._close(request)
        for request in same:
            if request.call is not None:
                request.call.end(cancelled=True)

    def _close(self, request: Request) -> None:
        """Let nothing more be sent for a request. The caller holds `_wire`."""
        request.open = False
        if request in self._running:
            self._running.remove(request)
            self._asked = {key: each for key, each in self._asked.items() if each is not request}

    def _report(self, request: Request, message: str) -> None:
        token = request.meta.get("progressToken")
        if is_id(token):
            request.progress += 1
            params = {"progressToken": token, "progress": request.progress, "message": message}
            self._send(request, {"method": "notifications/progress", "params": params}, last=False)

    def _reply(self, request: Request, result: Json) -> None:
        if request.modern:
            meta = {META + "serverInfo": SERVER_INFO}
            result = {"resultType": "complete", **result, "_meta": meta}
        self._send(request, {"id": request.id, "result": result})

    def _send(self, request: Request, message: Json, *, last: bool = True) -> None:
        """Write one message for a request, unless that is answered or cancelled already."""
        line = wire_line({"jsonrpc": "2.0", **message})
        with self._wire:
            if request.open:
                self._write(line)
                if last:
                    self._close(request)

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints > MAX_COMPLAINTS or sys.stderr is None:
            return
        try:
            sys.stderr.write(f"aws-sso-mcp: {text}\n")
        except (OSError, ValueError):  # closed
            return


def is_id(value: Any) -> bool:
    """Tell whether `value` can be a request id or a progress token; 0 and "" can.

    A lone surrogate cannot go back to the client, nor may its id become another.
    """
    if isinstance(value, str):
        return re.search("[\ud800-\udfff]", value) is None
    return isinstance(value, int) and not isinstance(value, bool)


def wire_line(message: Json) -> bytes:
    """Return a message as a line of ASCII; lone surrogates, which end some clients, become `?`."""
    line = json.dumps(message)
    if "\\ud" in line:
        clean = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
        line = json.dumps(json.loads(clean))
    return line.encode("ascii") + b"\n"


def serve(lines: BinaryIO, server: Server) -> None:
    """Feed a server with lines until there are no more; too long ones are skipped, never held."""
    whole = True
    for line in iter(lambda: lines.readline(MAX_LINE_BYTES), b""):
        ends = len(line) < MAX_LINE_BYTES or line.endswith(b"\n")
        if whole and line.strip():
            server.handle_line(line if ends else b"too long")
        whole = ends


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
STATES = {  # of a session: its colour on a terminal (SGR), and what a refresh would take
    "valid": ("32", "nothing"),
    "refreshable": ("32", "no click"),
    "expiring": ("33", "one page"),
    "expired": ("31", "one page"),
    "absent": ("31", "one page"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve MCP, or do what the command line says; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # the latter two: not everywhere
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: end(128 + number))
    if not arguments and not (sys.stdin and sys.stdin.isatty()):
        return serve_stdio()
    usage = USAGE.format(path=os.path.abspath(__file__))
    if arguments in ([], ["--help"], ["-h"], ["--version"]):
        return say(f"aws-sso-mcp {__version__}" if arguments == ["--version"] else usage)
    command, force = arguments.pop(0), "--force" in arguments
    profiles = [each for each in arguments if each != "--force"]
    profile = profiles[0] if profiles else None
    if any(each.startswith("-") for each in profiles):
        command = ""
    if command == "hook" and not arguments:
        return print_hook(sys.stdin.buffer.read(MAX_LINE_BYTES))
    if command == "refresh" and len(profiles) <= 1:
        return print_refresh(profile, force=force)
    if command == "status" and len(profiles) <= 1 and not force:
        return print_status(profile)
    sys.stderr.write(usage)
    return 2


def serve_stdio() -> NoReturn:
    """Serve on fds 0 and 1, which are moved away first so that nothing else can touch the wire."""
    try:
        wire_in, wire_out = os.dup(0), os.dup(1)
    except OSError:
        end(2)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null if sys.stderr is None else 2, 1)

    def write(line: bytes) -> None:
        try:
            while line:
                line = line[os.write(wire_out, line) :]
        except OSError:  # the client is gone
            end(0)

    with os.fdopen(wire_in, "rb") as lines:
        serve(lines, Server(write))
        end(0)


def end(code: int) -> NoReturn:
    """Leave at once: no child stays, no thread is waited for, nothing is said."""
    end_processes()
    os._exit(code)


def say(text: str, stream: TextIO | None = None) -> int:
    """Print text for a person; what comes from a config file may not steer the terminal."""
    print(re.sub(CONTROL, "?", text.rstrip("\n")), file=stream)
    return 0


CONTROL = r"[\x00-\x09\x0b-\x1f\x7f-\x9f]"


def print_refresh(profile: str | None, *, force: bool) -> int:
    """Do what the tool does, its progress on stderr, until the person is done."""
    told = [""]

    def report(message: str) -> None:
        if message != told[-1]:
            told.append(message)
            say(message, sys.stderr)

    os.environ["AWS_SSO_MCP_WAIT_SECONDS"] = "600"  # here no client gives up
    answer: Json = {"status": "pending"}
    while answer["status"] == "pending":
        answer = refresh_aws_sso_token(Call(report), profile, force=force)
    say(answer["message"])
    return 0 if answer["success"] else 1


def print_status(profile: str | None) -> int:
    """Print a table of the sessions, then what is wrong; return 0 if a token works."""
    answer = get_aws_sso_status(Call(lambda _: None), profile)
    sessions = answer.get("sessions", [])
    rows = [("SESSION", "TOKEN", "TIME LEFT", "A REFRESH TAKES", "PROFILES"), *map(cells, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for row in rows if sessions else ():
        padded = [cell.ljust(width) for cell, width in zip(row, widths)]
        if colours:
            padded[1] = f"\x1b[{STATES.get(row[1], '1')[0]}m{padded[1]}\x1b[0m"
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    say("\n" * bool(sessions) + answer["message"])
    wrong = (answer.get("awsCli", {}).get("problem"), *answer.get("problems", []))
    for line in filter(None, wrong):
        say(f"- {line}")
    return 0 if any("expiresAt" in row for row in sessions) else 1


def cells(row: Json) -> tuple[str, ...]:
    """Return a session's row of the table."""
    left = row.get("minutesLeft", 0)
    days, hours, minutes = left // 1440, left // 60 % 24, left % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")][0 if days else 1 if hours else 2 :][:2]
    time_left = (
        " ".join(f"{number} {unit}" for number, unit in parts) if "expiresAt" in row else "-"
    )
    profiles = [each["profile"] for each in row["profiles"]]
    more = row["profileCount"] - len(profiles)
    names = ", ".join(profiles) + (f" and {more} more" if more else "")
    takes = "a login is running" if row["loginInProgress"] else STATES[row["state"]][1]
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
