"""The server on a machine where other users plant programs: none of them is ever run.

Runs as root, with real users: Alice, who owns the server, and Mallory. A private mount namespace
shows the server a machine with these users. Each layout plants a program. The server must not run
it and must say why; but it must run a user's own CLI in the usual layouts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kit.inside import CLIENT_ENVIRONMENT
from kit.workplace import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT, ALICE, MALLORY = 0, 20001, 20002  # users, and the groups of the same name
USERS, STAFF, NIXBLD, SHARED, DAVE = 100, 50, 20100, 20003, 20004
OWNERS = {
    "root": ROOT,
    "bob": SHARED,
    "dave": DAVE,
}  # of home folders; all others are Alice's
PASSWD = """\
root:x:0:0::/root:/bin/sh
alice:x:20001:20001::{world}/alice:/bin/sh
mallory:x:20002:20002::{world}/mallory:/bin/sh
bob:x:20003:20003::{world}/bob:/bin/sh
dave:x:20004:20004::{world}/dave:/bin/sh
eve:x:20005:20004::{world}/eve:/bin/sh
"""
# Mallory is in Bob's group, as after `usermod -aG bob mallory`.
GROUP = """\
root:x:0:
users:x:100:alice,mallory
staff:x:50:
nixbld:x:20100:mallory
alice:x:20001:
mallory:x:20002:
bob:x:20003:mallory
dave:x:20004:
"""
CONFIG = """\
[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer
[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = us-east-1
"""
PAGE = "https://oidc.us-east-1.amazonaws.com/authorize?response_type=code&state=1"
GOOD = f"""\
#!/bin/sh
echo "$0" >>{{world}}/ran/good
env >{{world}}/ran/environment
case "$1" in
sts) echo '{{{{"Account": "123456789012", "Arn": "arn:aws:sts::123456789012:user/alice"}}}}' ;;
sso) echo "{PAGE}"; sleep 2; exit 1 ;;
esac
"""
EVIL = """\
#!/bin/sh
echo "$0 as $(id -u)" >>{world}/ran/evil
"""
# This machine may have a CLI where the server looks besides PATH.
HIDE = """\
set -e
mount --make-rprivate /
mount --bind {world}/passwd /etc/passwd
mount --bind {world}/group /etc/group
for program in /usr/local/bin/aws /usr/bin/aws /snap/bin/aws /opt/homebrew/bin/aws \\
        /home/linuxbrew/.linuxbrew/bin/aws /run/current-system/sw/bin/aws; do
    if [ -e $program ]; then mount --bind /dev/null $program; fi
done
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


STATUS = "get_aws_sso_status"


def python_of_all() -> str:
    """Return a Python that every user can run; the tests' own may be in a home folder."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        user = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
        if can(*user, "/usr/bin/env", python, "-c", "import json"):
            return python
    pytest.skip("no Python here can be run by all users")


def can(*argv: str) -> bool:
    with contextlib.suppress(OSError):
        return (
            subprocess.run(argv, check=False, capture_output=True, cwd="/").returncode
            == 0
        )
    return False


pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0, reason="needs root, to create files of other users"
    ),
    pytest.mark.skipif(
        not can("unshare", "-m", "mount", "--bind", "/dev/null", "/etc/hostname"),
        reason="needs mount namespaces, to have its own users",
    ),
]


class World:
    """A machine with users. All paths are below `folder`; root owns them unless stated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = python_of_all()
        for name in ("", "ran", "alice", "mallory", "bob", "dave", "root"):
            self.make(name)
        self.at("ran").chmod(0o777)
        for name, owner in (
            ("alice", ALICE),
            ("mallory", MALLORY),
            ("bob", SHARED),
            ("dave", DAVE),
        ):
            os.chown(self.at(name), owner, owner)
        for name, text in (("passwd", PASSWD), ("group", GROUP), ("hide", HIDE)):
            self.at(name).write_text(text.format(world=folder))
        self.make("server/aws_sso_mcp.py", text=SERVER.read_text())

    def at(self, path: str) -> Path:
        return self.folder / path

    def make(
        self,
        path: str,
        owner: int = ROOT,
        group: int = -1,
        mode: int = 0o755,
        *,
        text: str = "",
    ) -> Path:
        """Create a folder, or a file with `text`, and its parent folders."""
        place = self.at(path)
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if text:
            place.write_text(text)
        else:
            place.mkdir(exist_ok=True)
        os.chown(place, owner, owner if group == -1 else group)
        place.chmod(mode)
        return place

    def plant(
        self, path: str, owner: int = ROOT, group: int = -1, mode: int = 0o755
    ) -> Path:
        return self.make(path, owner, group, mode, text=EVIL.format(world=self.folder))

    def good(
        self, path: str, owner: int = ROOT, group: int = -1, mode: int = 0o755
    ) -> Path:
        return self.make(path, owner, group, mode, text=GOOD.format(world=self.folder))

    def link(self, path: str, target: str | Path, owner: int = ROOT) -> Path:
        place = self.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        os.lchown(place, owner, owner)
        return place

    def give(self, owner: int, *paths: str) -> None:
        """Change the owner of created paths."""
        for path in paths:
            os.lchown(self.at(path), owner, owner)

    def configure(self, home: str, owner: int, *, token: bool = True) -> None:
        """Give a home a profile and a valid token."""
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        name = hashlib.sha1(b"corp").hexdigest() + ".json"
        self.make(f"{home}/.aws/config", owner, text=CONFIG)
        if token:
            text = json.dumps({"accessToken": "secret", "expiresAt": until})
            self.make(f"{home}/.aws/sso/cache/{name}", owner, text=text)
        else:
            self.make(f"{home}/.aws/sso/cache", owner)
        self.give(owner, f"{home}/.aws", f"{home}/.aws/sso", f"{home}/.aws/sso/cache")

    # What runs

    def argv(self, uid: int, *argv: str | Path, before: str = "") -> list[str]:
        """Return the command line that runs `argv` as a user on this machine."""
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        script = (
            f". {self.at('hide')}; {before} exec {shlex.join([*user, *map(str, argv)])}"
        )
        return ["unshare", "-m", "sh", "-c", script]

    def run(self, argv: list[str], cwd: Path | None = None, **variables: str) -> str:
        return subprocess.run(
            argv,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    def ask(
        self, argv: list[str], variables: dict[str, str], cwd: Path | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the server with `argv`, call both tools, and return the answers."""
        server = subprocess.Popen(
            argv,
            env=variables,
            cwd=cwd or self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin
        assert server.stdout
        answers = []
        for name, arguments in (
            ("refresh_aws_sso_token", {"profile": "dev"}),
            (STATUS, {}),
        ):
            params = {"name": name, "arguments": arguments, "_meta": META}
            message = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": params,
            }
            server.stdin.write(json.dumps(message) + "\n")
            server.stdin.flush()
            answers.append(
                json.loads(server.stdout.readline())["result"]["structuredContent"]
            )
        server.stdin.close()
        server.wait(20)
        server.stdout.close()
        return answers[0], answers[1]

    def ran(self, what: str) -> str:
        path = self.at(f"ran/{what}")
        return path.read_text() if path.exists() else ""


@pytest.fixture
def world() -> Iterator[World]:
    """A machine below a folder that all users can access."""
    Path(tempfile.gettempdir()).chmod(0o755)
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    yield World(folder)
    shutil.rmtree(folder)


class Start(NamedTuple):
    """How the server is started, and what it must say about the planted program."""

    path: str
    said: str
    cwd: str = ""
    project: str = ""
    home: str = ""
    named: str = ""


# --- What is not run ------------------------------------------------------------------------


def folder_of_a_group(world: World) -> Start:
    world.make("x/bin", ROOT, USERS, 0o775)
    world.plant("x/bin/aws")
    return Start(
        "{world}/x/bin",
        "{world}/x/bin/aws can be changed by other users of its group ({world}/x/bin)",
    )


def folder_of_staff(world: World) -> Start:
    """/usr/local/bin of older Debians: writable by a group whose members are unknown."""
    world.make("local/bin", ROOT, STAFF, 0o2775)
    world.plant("local/bin/aws")
    return Start(
        "{world}/local/bin",
        "can be changed by other users of its group ({world}/local/bin)",
    )


def folder_of_another(world: World) -> Start:
    world.make("x/bin", MALLORY)
    world.plant("x/bin/aws")
    return Start("{world}/x/bin", "belongs to another user ({world}/x/bin)")


def folder_below_anothers(world: World) -> Start:
    world.make("x", MALLORY)
    world.make("x/bin")
    world.plant("x/bin/aws")
    return Start("{world}/x/bin", "belongs to another user ({world}/x)")


def program_of_another(world: World) -> Start:
    world.plant("x/bin/aws", MALLORY)
    return Start("{world}/x/bin", "belongs to another user ({world}/x/bin/aws)")


def program_of_a_group(world: World) -> Start:
    world.plant("x/bin/aws", ROOT, USERS, 0o775)
    return Start(
        "{world}/x/bin",
        "can be changed by other users of its group ({world}/x/bin/aws)",
    )


def program_for_everybody(world: World) -> Start:
    world.plant("x/bin/aws", ALICE, ALICE, 0o757)
    return Start(
        "{world}/x/bin",
        "can be changed by every user; run `chmod o-w` on it ({world}/x/bin/a",
    )


def program_with_a_sticky_bit(world: World) -> Start:
    """The sticky bit has a meaning for folders only."""
    world.plant("x/bin/aws", ROOT, ROOT, 0o1757)
    return Start("{world}/x/bin", "can be changed by every user")


def sticky_folder(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.plant("tmp/aws", MALLORY)
    return Start(
        "{world}/tmp",
        "can be changed by every user; run `chmod o-w` on it ({world}/tmp)",
    )


def sticky_folder_with_a_program_of_root(world: World) -> Start:
    """Others may put modules and libraries beside it."""
    world.make("tmp", mode=0o1777)
    world.plant("tmp/aws")
    return Start("{world}/tmp", "can be changed by every user")


def folder_in_a_sticky_one(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.make("tmp/bin", MALLORY)
    world.plant("tmp/bin/aws")
    return Start("{world}/tmp/bin", "belongs to another user ({world}/tmp/bin)")


def link_of_another(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.plant("x/evil")
    world.link("tmp/aws", "../x/evil", MALLORY)
    return Start("{world}/tmp", "belongs to another user ({world}/tmp/aws)")


def middle_hop_in_an_open_folder(world: World) -> Start:
    world.make("open", mode=0o777)
    world.plant("x/evil")
    world.link("open/hop", "../x")
    world.link("bin/aws", "../open/hop/evil")
    return Start(
        "{world}/bin",
        "can be changed by every user; run `chmod o-w` on it ({world}/open)",
    )


def middle_hop_of_another(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.plant("x/evil")
    world.link("tmp/hop", "../x", MALLORY)
    world.link("bin/aws", "././/../tmp/./hop/evil")
    return Start("{world}/bin", "belongs to another user ({world}/tmp/hop)")


def folder_that_is_a_link(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.plant("x/bin/aws")
    world.link("tmp/bin", "../x/bin", MALLORY)
    return Start("{world}/tmp/bin/", "belongs to another user ({world}/tmp/bin)")


def project_of_the_working_folder(world: World) -> Start:
    world.plant("code/venv/bin/aws")
    where = "{world}/code"
    return Start(
        where + "/venv/bin", "venv/bin/aws is part of a project ({world}/code)", "code"
    )


def project_that_the_client_names(world: World) -> Start:
    world.plant("code/venv/bin/aws")
    return Start(
        "{world}/code/venv/bin",
        "is part of a project ({world}/code)",
        "x",
        "{world}/link",
    )


def project_by_a_link(world: World) -> Start:
    world.plant("code/venv/bin/aws")
    world.link("tools", "code/venv/bin")
    return Start(
        "{world}/tools", "tools/aws is part of a project ({world}/code)", "code"
    )


def link_of_a_project(world: World) -> Start:
    world.plant("x/evil")
    world.link("code/hop", "../x")
    world.link("bin/aws", "../code/hop/evil")
    return Start("{world}/bin", "bin/aws is part of a project ({world}/code)", "code")


def modules_of_a_project_above(world: World) -> Start:
    world.plant("code/node_modules/.bin/aws")
    world.make("code/packages/a")
    return Start(
        "{world}/code/node_modules/.bin",
        "is part of a project ({world}/code/node_modules)",
        "code/packages/a",
    )


def project_above_the_working_folder(world: World) -> Start:
    world.plant("code/.venv/bin/aws")
    world.make("code/.git")
    world.make("code/packages/api")
    return Start(
        "{world}/code/.venv/bin",
        "is part of a project ({world}/code)",
        "code/packages/api",
    )


def project_above_a_submodule(world: World) -> Start:
    """A project can have a `.git` of its own in any folder, which must not hide the rest."""
    world.plant("code/.venv/bin/aws")
    world.make("code/.git")
    world.make("code/packages/api/.git", text="gitdir: ../../.git/modules/api\n")
    return Start(
        "{world}/code/.venv/bin",
        "is part of a project ({world}/code)",
        "code/packages/api",
    )


def project_above_the_folder_that_the_client_names(world: World) -> Start:
    world.plant("code/.venv/bin/aws")
    world.make("code/.git", text="gitdir: /elsewhere\n")  # a worktree
    world.make("code/packages/api")
    return Start(
        "{world}/code/.venv/bin",
        "is part of a project ({world}/code)",
        "x",
        "{world}/link/packages/api",
    )


def relative_entries(world: World) -> Start:
    world.plant("code/bin/aws")
    world.plant("code/aws")
    return Start(
        "bin:./bin:.::../code/bin", "bin/aws is not an absolute path; aws is", "code"
    )


def home_of_another(world: World) -> Start:
    world.plant("mallory/.local/bin/aws", MALLORY)
    world.give(MALLORY, "mallory/.local", "mallory/.local/bin")
    world.configure("mallory", MALLORY)
    return Start("/nowhere", "belongs to another user ({world}/mallory", home="mallory")


def own_group_that_others_are_in(world: World) -> Start:
    world.plant("bob/.local/bin/aws", SHARED, SHARED, 0o775)
    world.give(SHARED, "bob/.local", "bob/.local/bin")
    return Start(
        "/nowhere",
        "bob/.local/bin/aws can be changed by other users of its group",
        home="bob",
    )


def own_group_that_is_the_first_of_another(world: World) -> Start:
    world.plant("dave/.local/bin/aws", DAVE, DAVE, 0o775)
    world.give(DAVE, "dave/.local", "dave/.local/bin")
    return Start(
        "/nowhere",
        "dave/.local/bin/aws can be changed by other users of its group",
        home="dave",
    )


def allow_more(path: Path, tag: int, number: int, permissions: int = 7) -> None:
    """Add an entry to the access control list of a file, as `setfacl -m` does."""
    nobody = 0xFFFFFFFF
    entries = [
        (0x01, 7, nobody),
        (0x04, 5, nobody),
        (0x10, 7, nobody),
        (0x20, 5, nobody),
    ]
    entries.append((tag, permissions, number))
    content = struct.pack("<I", 2)
    for entry in sorted(entries):
        content += struct.pack("<HHI", *entry)
    try:
        os.setxattr(path, "system.posix_acl_access", content)
    except OSError:
        pytest.skip("this file system has no access control lists")


LISTED_USER, LISTED_GROUP = 0x02, 0x08  # tags of entries


def program_with_a_list_for_a_user(world: World) -> Start:
    allow_more(world.plant("x/bin/aws"), LISTED_USER, MALLORY)
    return Start(
        "{world}/x/bin",
        "can be changed by users of its access control list ({world}/x/bin/aws)",
    )


def folder_with_a_list_for_a_group(world: World) -> Start:
    world.plant("x/bin/aws")
    allow_more(world.at("x/bin"), LISTED_GROUP, USERS)
    return Start(
        "{world}/x/bin",
        "can be changed by users of its access control list ({world}/x/bin)",
    )


def named_but_everybodys(world: World) -> Start:
    aws = world.plant("open/aws", mode=0o777)
    return Start(
        "/nowhere",
        "can be changed by every user; run `chmod o-w` on it",
        named=str(aws),
    )


def named_but_relative(world: World) -> Start:
    world.plant("code/aws")
    return Start("/nowhere", ": aws is not an absolute path", "code", named="./aws")


ON_PATH = [
    folder_of_a_group, folder_of_staff, folder_of_another, folder_below_anothers,
    program_of_another, program_of_a_group, program_for_everybody, program_with_a_sticky_bit,
    sticky_folder, sticky_folder_with_a_program_of_root, folder_in_a_sticky_one, link_of_another,
    middle_hop_in_an_open_folder, middle_hop_of_another, folder_that_is_a_link,
    project_of_the_working_folder, project_that_the_client_names, project_by_a_link,
    link_of_a_project, modules_of_a_project_above, project_above_the_working_folder,
    project_above_a_submodule, project_above_the_folder_that_the_client_names, relative_entries,
    program_with_a_list_for_a_user, folder_with_a_list_for_a_group,
]  # fmt: skip
NAMED = [named_but_everybodys, named_but_relative]
# Root is not among these: it works in mounted homes, where a uid can mean another user, so it
# trusts the owner of its home.
IN_A_HOME = [
    home_of_another, own_group_that_others_are_in, own_group_that_is_the_first_of_another,
]  # fmt: skip
CASES = [(ALICE, plant) for plant in ON_PATH + NAMED + IN_A_HOME]
CASES += [(ROOT, plant) for plant in ON_PATH + NAMED]


def name_of(value: Any) -> str:
    return str(
        {ALICE: "alice", ROOT: "root"}[value]
        if isinstance(value, int)
        else value.__name__
    )


def start(
    world: World, start: Start, uid: int, before: str = "", **more: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start a user's server; return its answer to a refresh, and its status."""
    home = start.home or ("alice" if uid == ALICE else "root")
    if not world.at(f"{home}/.aws").exists():
        world.configure(home, OWNERS.get(home, ALICE))
    variables = {
        "HOME": str(world.at(home)),
        "PATH": start.path.format(world=world.folder),
        "CLAUDE_PROJECT_DIR": start.project.format(world=world.folder),
        "AWS_SSO_MCP_AWS_CLI": start.named,
        "AWS_SSO_MCP_LOGIN": "browser",
        **more,
    }
    pairs = [
        f"{name}={value}"
        for name, value in variables.items()
        if value or name == "PATH"
    ]
    server = [world.python, "-IS", str(world.at("server/aws_sso_mcp.py"))]
    argv = world.argv(uid, "/usr/bin/env", "-i", *pairs, *server, before=before)
    folder = world.at(start.cwd)
    folder.mkdir(exist_ok=True)
    return world.ask(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, folder)


@pytest.mark.parametrize(("user", "plant"), CASES, ids=name_of)
def test_planted_programs_are_never_run(
    world: World, user: int, plant: Callable[[World], Start]
) -> None:
    planted = plant(world)
    world.link("link", "code")
    refreshed, status = start(world, planted, OWNERS.get(planted.home, user))
    assert world.ran("evil") == ""
    assert refreshed["reason"] == "aws_cli_not_found"
    said = planted.said.format(world=world.folder)
    for text in (refreshed["message"], status["awsCli"]["problem"]):
        assert said in text
        assert "AWS_SSO_MCP_AWS_CLI" in text


@pytest.mark.parametrize("plant", ON_PATH, ids=name_of)
def test_next_trusted_cli_runs_without_foreign_folders_on_path(
    world: World, plant: Callable[[World], Start]
) -> None:
    planted = plant(world)
    world.link("link", "code")
    world.good("good/aws")
    path = planted.path + ":{world}/good:/usr/bin:/bin"
    refreshed, status = start(world, planted._replace(path=path), ALICE)
    assert refreshed["status"] == "valid"
    assert status["awsCli"] == {"path": str(world.at("good/aws")), "problem": None}
    assert world.ran("evil") == ""
    [seen] = [
        line
        for line in world.ran("environment").splitlines()
        if line.startswith("PATH=")
    ]
    assert seen.endswith(f"{world.folder}/good:/usr/bin:/bin")
    assert f"{world.folder}/code" not in seen
    assert f"{world.folder}/tmp" not in seen


# --- What is run ----------------------------------------------------------------------------


def home_with_umask_002(world: World) -> Start:
    world.make("alice/.local", ALICE, mode=0o775)
    world.make("alice/.local/bin", ALICE, mode=0o775)
    world.good("alice/.local/bin/aws", ALICE, mode=0o775)
    return Start("{world}/alice/.local/bin:/usr/bin:/bin", "alice/.local/bin/aws")


def folder_of_root(world: World) -> Start:
    world.good("usr/local/aws-cli/v2/2.30.0/dist/aws")
    world.link("usr/local/aws-cli/v2/current", "2.30.0")
    world.link("usr/local/bin/aws", "../aws-cli/v2/current/dist/aws")
    return Start("{world}/usr/local/bin:/usr/bin:/bin", "usr/local/bin/aws")


def nix_store(world: World) -> Start:
    world.make("nix/store", ROOT, NIXBLD, 0o1775)
    world.good("nix/store/abc-awscli2/bin/aws", mode=0o555)
    world.link(
        "nix/store/def-profile/bin/aws", world.at("nix/store/abc-awscli2/bin/aws")
    )
    world.link("nix/var/alice/profile-1", world.at("nix/store/def-profile"), ALICE)
    world.link("nix/var/alice/profile", "profile-1", ALICE)
    world.give(ALICE, "nix/var/alice")
    world.link("alice/.nix-profile", world.at("nix/var/alice/profile"), ALICE)
    return Start("/usr/bin:/bin", "alice/.nix-profile/bin/aws")


def pipx_venv(world: World) -> Start:
    venv = "alice/.local/share/pipx/venvs/awscli/bin"
    world.good(f"{venv}/aws", ALICE, mode=0o775)
    world.link("alice/.local/bin/aws", f"{world.folder}/{venv}/aws", ALICE)
    world.give(ALICE, "alice/.local", "alice/.local/bin", venv, "alice/.local/share")
    return Start("/usr/bin:/bin", "alice/.local/bin/aws")


def mise_shim(world: World) -> Start:
    world.good("alice/.local/bin/mise", ALICE)
    world.link("alice/.local/share/mise/shims/aws", "../../../bin/mise", ALICE)
    return Start("/usr/bin:/bin", "alice/.local/share/mise/shims/aws")


def asdf_shim(world: World) -> Start:
    """A script that needs a variable of its own, and a folder on PATH."""
    world.good("asdf/installs/awscli/bin/aws", ALICE)
    world.make("asdf/bin/asdf", ALICE, text='#!/bin/sh\nexec "$ASDF_DATA_DIR/$@"\n')
    shim = "#!/bin/sh\nexec asdf installs/awscli/bin/aws $@\n"
    world.make("alice/.asdf/shims/aws", ALICE, text=shim)
    return Start("{world}/asdf/bin:/usr/bin:/bin", "alice/.asdf/shims/aws")


def named_of_a_group(world: World) -> Start:
    world.make("brew/bin", MALLORY, USERS, 0o775)
    aws = world.good("brew/bin/aws", MALLORY, USERS, 0o775)
    return Start("/usr/bin:/bin", "brew/bin/aws", named=str(aws))


def named_with_a_tilde(world: World) -> Start:
    world.good("alice/bin/aws", ALICE)
    return Start("/usr/bin:/bin", "alice/bin/aws", named="~/bin/aws")


def lists_that_let_nobody_else_write(world: World) -> Start:
    aws = world.good("x/bin/aws")
    allow_more(aws, LISTED_USER, MALLORY, permissions=5)
    allow_more(world.at("x/bin"), LISTED_USER, ALICE)
    return Start("{world}/x/bin:/usr/bin:/bin", "x/bin/aws")


def named_in_a_project(world: World) -> Start:
    aws = world.good("code/bin/aws", ALICE)
    return Start("/usr/bin:/bin", "code/bin/aws", "code", named=str(aws))


def home_that_is_a_repository(world: World) -> Start:
    """Some users keep their settings in git."""
    world.make("alice/.git", ALICE)
    world.good("alice/bin/aws", ALICE)
    world.make("alice/work", ALICE)
    return Start("{world}/alice/bin:/usr/bin:/bin", "alice/bin/aws", "alice/work")


def folder_below_a_sticky_one(world: World) -> Start:
    world.make("tmp", mode=0o1777)
    world.make("tmp/mine", ALICE)
    world.good("tmp/mine/aws", ALICE)
    return Start("{world}/tmp/mine:/usr/bin:/bin", "tmp/mine/aws")


OWN = [
    home_with_umask_002, folder_of_root, nix_store, pipx_venv, mise_shim, asdf_shim,
    named_of_a_group, named_with_a_tilde, named_in_a_project, home_that_is_a_repository,
    lists_that_let_nobody_else_write,
    folder_below_a_sticky_one,
]  # fmt: skip


@pytest.mark.parametrize("layout", OWN, ids=lambda layout: layout.__name__)
def test_aws_cli_of_the_user_is_run(
    world: World, layout: Callable[[World], Start]
) -> None:
    started = layout(world)
    data = {"ASDF_DATA_DIR": str(world.at("asdf"))}
    refreshed, status = start(world, started, ALICE, **data)
    assert (refreshed["status"], refreshed.get("reason")) == ("valid", None), refreshed[
        "message"
    ]
    assert status["awsCli"] == {"path": str(world.at(started.said)), "problem": None}


def test_container_root_may_use_a_mounted_home(world: World) -> None:
    started = home_with_umask_002(world)
    refreshed, _ = start(
        world, started._replace(home="bob", path="/usr/bin:/bin"), ROOT
    )
    assert refreshed["reason"] == "aws_cli_not_found"
    world.good("bob/.local/bin/aws", SHARED)
    world.give(SHARED, "bob/.local", "bob/.local/bin")
    refreshed, _ = start(
        world, started._replace(home="bob", path="/usr/bin:/bin"), ROOT
    )
    assert refreshed["status"] == "valid"
    sudo = {"SUDO_UID": str(SHARED)}
    refreshed, _ = start(
        world, started._replace(home="bob", path="/usr/bin:/bin"), ROOT, **sudo
    )
    assert "belongs to another user" in refreshed["message"]


def ask_in_user_namespace(
    world: World, options: list[str], path: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask Alice's server where root and all other users are shown as 65534.

    The world is below /mnt there, and its folder `opt` is /opt.
    """
    user = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
    if not can(*user, "unshare", *options, "true"):
        pytest.skip("this kernel lets no user make a user namespace")
    world.configure("alice", ALICE)
    world.make("opt")
    pairs = ["HOME=/mnt/alice", f"PATH={path}"]
    server = [world.python, "-IS", "/mnt/server/aws_sso_mcp.py"]
    mounts = f"mount --bind {world.at('opt')} /opt; mount --bind {world.folder} /mnt;"
    argv = world.argv(
        ALICE, "unshare", *options, "/usr/bin/env", "-i", *pairs, *server, before=mounts
    )
    return world.ask(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


@pytest.mark.parametrize("options", [["-U"], ["-Ur"]], ids=" ".join)
def test_root_shown_as_65534_is_trusted(world: World, options: list[str]) -> None:
    world.good("opt/aws/bin/aws")
    refreshed, status = ask_in_user_namespace(world, options, "/opt/aws/bin")
    assert status["awsCli"]["path"] == "/opt/aws/bin/aws", status
    assert refreshed["status"] == "valid"
    if "r" in options[0]:  # without a map, the group of a user looks like any other
        home_with_umask_002(world)
        _, status = ask_in_user_namespace(world, options, "/mnt/alice/.local/bin")
        assert status["awsCli"]["path"] == "/mnt/alice/.local/bin/aws", status


@pytest.mark.parametrize("options", [["-U"], ["-Ur"]], ids=" ".join)
def test_another_user_shown_as_65534_is_not_trusted(
    world: World, options: list[str]
) -> None:
    world.plant("mallory/bin/aws", MALLORY)
    world.give(MALLORY, "mallory/bin")
    refreshed, _ = ask_in_user_namespace(world, options, "/mnt/mallory/bin")
    assert world.ran("evil") == ""
    assert "belongs to another user (/mnt/mallory)" in refreshed["message"]


# --- Environments ---------------------------------------------------------------------------

HOSTILE_VARIABLES = (
    "LD_PRELOAD LD_AUDIT PYTHONPATH PERL5OPT PERLLIB RUBYOPT NODE_OPTIONS BASH_ENV ENV PS4"
    " OPENSSL_CONF OPENSSL_MODULES GTK_MODULES GIO_EXTRA_MODULES QT_PLUGIN_PATH SSLKEYLOGFILE"
    " AWS_ENDPOINT_URL AWS_PROFILE AWS_ACCESS_KEY_ID AWS_DATA_PATH"
    " PYENV_HOOK_PATH __PYVENV_LAUNCHER__ _MEIPASS2 JDK_JAVA_OPTIONS LIBGL_DRIVERS_PATH"
    " VK_LAYER_PATH GST_PLUGIN_PATH DOTNET_STARTUP_HOOKS XDG_DATA_HOME XDG_DATA_DIRS"
    " XDG_CONFIG_HOME XDG_CONFIG_DIRS DBUS_SESSION_BUS_ADDRESS GITHUB_TOKEN ANTHROPIC_API_KEY"
)


def test_variables_that_load_code_do_not_reach_children(world: World) -> None:
    started = folder_of_root(world)
    hostile = dict.fromkeys(HOSTILE_VARIABLES.split(), "/nowhere/evil")
    hostile["AWS_PROFILE"] = "dev"
    refreshed, _ = start(world, started, ALICE, **hostile)
    assert refreshed["status"] == "valid"
    seen = {line.partition("=")[0] for line in world.ran("environment").splitlines()}
    assert not seen & {*hostile}
    assert {"HOME", "PATH", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} <= seen


CLIENT = {"DISPLAY": ":7", "SSH_TTY": "/dev/pts/7", "BROWSER": "/nowhere/evil"}


def seen_from(
    world: World, launchers: list[str], uid: int = ALICE, of: int = ALICE
) -> set[str]:
    """Return which of a client's variables the server sees; the launchers pass none on.

    The client is a process of user `of`; each launcher starts the next one.
    """
    inner = [
        "/usr/bin/env",
        "-C",
        str(world.at("server")),
        world.python,
        "-c",
        CLIENT_ENVIRONMENT,
    ]
    for name in reversed(["client", *launchers]):
        if name == "setpriv":
            inner = [
                "setpriv",
                f"--reuid={uid}",
                f"--regid={uid}",
                "--clear-groups",
                *inner,
            ]
            continue
        shell = world.at(f"bin/{name}")
        if not shell.exists():
            shell.parent.mkdir(exist_ok=True)
            shutil.copy("/bin/sh", shell)
        command = shlex.join(["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", *inner])
        inner = [str(shell), "-c", f"{command}; true"]
    pairs = [f"{name}={value}" for name, value in CLIENT.items()]
    said = world.run(world.argv(of, "/usr/bin/env", "-i", *pairs, *inner))
    return set(json.loads(said))


def test_client_environment_is_read_through_four_launchers(world: World) -> None:
    ways = [
        [],
        ["sh"],
        ["env"],
        ["npx", "sh"],
        ["uvx", "uv"],
        ["npm", "sh", "uvx", "bash"],
    ]
    for launchers in ways:
        assert seen_from(world, launchers) == {*CLIENT}, launchers
    assert seen_from(world, ["npm", "sh", "uvx", "bash", "sh"]) == set()
    assert seen_from(world, ["vim"]) == set()
    assert seen_from(world, ["sh", "vim"]) == set()


def test_environment_of_another_users_client_is_not_read(world: World) -> None:
    assert seen_from(world, ["setpriv"], uid=ALICE, of=ROOT) == set()
    assert seen_from(world, ["setpriv", "sh"], uid=ALICE, of=ROOT) == set()
    assert seen_from(world, ["sh"], uid=ROOT, of=ROOT) == {
        "DISPLAY",
        "SSH_TTY",
    }  # no $BROWSER


def test_proc_of_another_process_namespace_is_not_used(world: World) -> None:
    """There `/proc/PPID` is another process: here one of the same user."""
    tell = (
        f"import os, sys\nos.getppid = lambda: int(sys.argv[1])\n{CLIENT_ENVIRONMENT}"
    )
    other = subprocess.Popen(
        ["sleep", "60"], env=CLIENT, user=ALICE, group=ALICE, cwd="/"
    )
    user = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
    try:
        for namespace, seen in (
            ([], {*CLIENT}),
            (["unshare", "-p", "-f"], set()),
            (["unshare", "-p", "-f", "--mount-proc"], set()),
        ):
            argv = [*namespace, *user, world.python, "-c", tell, str(other.pid)]
            said = world.run(argv, world.at("server"))
            assert set(json.loads(said)) == seen, namespace
    finally:
        other.kill()
        other.wait()


LAUNCHER = """\
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **words) {
    char *clean[] = {"PATH=%(path)s", "HOME=%(home)s", "AWS_SSO_MCP_LOGIN=browser", 0};
    if (setresgid(0, 0, 0) || setresuid(0, 0, 0)) return 1;
    if (%(forks)d && fork()) { wait(0); return 0; }
    execve(words[1], words + 1, clean);
    return 1;
}
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(
    "forks", [0, 1], ids=["replaced by the server", "parent of it"]
)
def test_root_started_by_a_user_runs_none_of_their_programs(
    world: World, forks: int
) -> None:
    """A setuid root launcher that cleans the environment, as it should."""
    world.good("good/aws")
    world.configure("root", ROOT, token=False)
    evil = world.plant("mallory/browser", MALLORY)
    where = {
        "path": f"{world.at('good')}:/usr/bin:/bin",
        "home": world.at("root"),
        "forks": forks,
    }
    source = world.make("launcher.c", text=LAUNCHER % where)
    launcher = world.at("launcher")
    subprocess.run(["gcc", "-o", launcher, source], check=True)
    os.chown(launcher, 0, 0)
    launcher.chmod(0o4755)
    server = [launcher, world.python, "-IS", world.at("server/aws_sso_mcp.py")]
    hostile = [
        f"BROWSER={evil} %s",
        "DISPLAY=:7",
        f"DBUS_SESSION_BUS_ADDRESS=unixexec:path={evil}",
    ]
    command = f"{shlex.join(map(str, server))}; true"  # the shell stays as the caller
    argv = world.argv(MALLORY, "/usr/bin/env", "-i", *hostile, "/bin/sh", "-c", command)
    refreshed, _ = world.ask(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert refreshed["success"] is False
    assert "good/aws" in world.ran("good")
    assert world.ran("evil") == ""
    seen = {line.partition("=")[0] for line in world.ran("environment").splitlines()}
    assert not seen & {"BROWSER", "DBUS_SESSION_BUS_ADDRESS"}
    assert "DISPLAY" not in seen  # also not that of the launcher, which runs as root


def test_browser_of_the_client_is_run(world: World) -> None:
    """This shows that the test above can fail."""
    started = folder_of_root(world)
    world.configure("alice", ALICE, token=False)
    world.plant("alice/browser", ALICE)
    refreshed, _ = start(
        world, started, ALICE, BROWSER=f"{world.at('alice/browser')} %s"
    )
    assert refreshed["success"] is False
    assert f"alice/browser as {ALICE}" in world.ran("evil")


def test_unreadable_config_is_reported(world: World) -> None:
    started = folder_of_root(world)
    world.configure("alice", ALICE)
    config = world.make("alice/.aws/config", ROOT, mode=0o600, text=CONFIG)
    refreshed, status = start(world, started, ALICE)
    for answer in (refreshed, status):
        assert answer["reason"] == "config_unreadable"
        assert f"Cannot read {config}: Permission denied" in answer["message"]


def test_unreadable_token_is_reported(world: World) -> None:
    """As after `sudo aws sso login`."""
    started = folder_of_root(world)
    world.configure("alice", ALICE)
    [token] = world.at("alice/.aws/sso/cache").iterdir()
    os.chown(token, ROOT, ROOT)
    token.chmod(0o600)
    refreshed, status = start(world, started, ALICE)
    said = f"Cannot read {token}: Permission denied"
    assert refreshed["reason"] == "config_unreadable"
    assert said in refreshed["message"]
    assert said in " ".join(status["problems"])


def test_home_that_does_not_exist_is_reported(world: World) -> None:
    """As in a container that runs with an unknown user id."""
    server = world.at("server/aws_sso_mcp.py")
    refreshed, status = world.ask(
        world.argv(54321, "/usr/bin/env", "-u", "HOME", world.python, "-IS", server),
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    for answer in (refreshed, status):
        assert answer["reason"] == "no_home"
        assert "Set HOME" in answer["message"]
    said = world.run(world.argv(54321, world.python, "-IS", server, "status"))
    assert "Set HOME" in said
    assert "Traceback" not in said


# --- Root that another user has become ------------------------------------------------------


def ask_as_root(world: World, prefix: list[str], before: str = "") -> str:
    """Start the server as root, in Bob's home, whose `aws` is Bob's; return its message.

    `prefix` is the way to the server: programs that keep it as their child, or become it.
    """
    if not world.at("bob/.aws").exists():
        world.plant("bob/.local/bin/aws", SHARED)
        world.give(SHARED, "bob/.local", "bob/.local/bin")
        world.configure("bob", SHARED)
    pairs = [f"HOME={world.at('bob')}", "PATH=/usr/bin:/bin"]
    server = [world.python, "-IS", str(world.at("server/aws_sso_mcp.py"))]
    clean = ["/usr/bin/env", "-i", *pairs, *server]  # clients pass on few variables
    argv = world.argv(ROOT, *prefix, *clean, before=before)
    refreshed, _ = world.ask(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    return str(refreshed["message"])


KEEP = ["/bin/sh", "-c", '"$@"; true', "-"]  # a shell that stays, as a client does


@pytest.mark.parametrize("name", ["SUDO_UID", "DOAS_USER", "PKEXEC_UID"])
def test_root_by_sudo_runs_nothing_of_the_user(world: World, name: str) -> None:
    """The variable is in the environment of the client, or of whatever started the client."""
    for others in ([], KEEP, [*KEEP, *KEEP]):
        prefix = ["/usr/bin/env", f"{name}={SHARED}", *KEEP]
        if others:
            prefix += ["/usr/bin/env", "-i", *others]
        assert "belongs to another user" in ask_as_root(world, prefix)
    assert world.ran("evil") == ""


def test_root_whose_login_was_another_users_runs_nothing_of_the_user(
    world: World,
) -> None:
    """As `su` leaves it."""
    before = f"echo {SHARED} >/proc/self/loginuid || exit 1;"
    if not can("sh", "-c", before):
        pytest.skip("this kernel does not let the test set who has logged in")
    assert "belongs to another user" in ask_as_root(world, KEEP, before)
    assert world.ran("evil") == ""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_root_below_a_process_of_another_user_runs_nothing_of_the_user(
    world: World,
) -> None:
    where = {"path": "/usr/bin:/bin", "home": world.at("bob"), "forks": 1}
    source = world.make("launcher.c", text=LAUNCHER % where)
    launcher = world.at("launcher")
    subprocess.run(["gcc", "-o", launcher, source], check=True)
    launcher.chmod(0o4755)
    user = ["setpriv", f"--reuid={SHARED}", f"--regid={SHARED}", "--clear-groups"]
    prefix = [*user, *KEEP, str(launcher)]
    assert "belongs to another user" in ask_as_root(world, prefix)
    assert world.ran("evil") == ""


def test_root_that_cannot_read_proc_runs_nothing_of_the_user(world: World) -> None:
    before = "mount -t tmpfs none /proc;"
    assert "belongs to another user" in ask_as_root(world, KEEP, before)
    assert world.ran("evil") == ""


def test_root_that_nobody_became_runs_the_programs_of_its_homes_owner(
    world: World,
) -> None:
    """This shows that the tests above can fail."""
    ask_as_root(world, KEEP)
    assert world.ran("evil").startswith(f"{world.at('bob')}/.local/bin/aws as 0")


# --- The lock that processes share ----------------------------------------------------------

LOCK_FOLDER = "alice/.aws/sso/aws-sso-mcp"
LOCK = f"{LOCK_FOLDER}/{hashlib.sha1(b'corp').hexdigest()}.json"
EVIL_PAGE = {
    "url": "https://device.sso.us-east-1.amazonaws.com/?user_code=EVIL-CODE",
    "code": "EVIL-CODE",
    "host": "alices-laptop",
}
HOLD = """\
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate()
file.write(sys.argv[2])
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


def file_of_another_in_an_open_folder(world: World) -> None:
    world.make(LOCK_FOLDER, ALICE, mode=0o777)
    world.make(LOCK, MALLORY, text="{}")


def own_file_that_all_can_write(world: World) -> None:
    world.make(LOCK_FOLDER, ALICE)
    world.make(LOCK, ALICE, mode=0o666, text="{}")


def own_file_that_a_group_can_write(world: World) -> None:
    world.make(LOCK_FOLDER, ALICE)
    world.make(LOCK, ALICE, MALLORY, mode=0o660, text="{}")


def folder_of_another_user(world: World) -> None:
    world.at("alice/.aws/sso").chmod(0o777)
    world.make(LOCK_FOLDER, MALLORY)
    world.make(LOCK, MALLORY, mode=0o666, text="{}")


@contextlib.contextmanager
def held_by_mallory(world: World) -> Iterator[None]:
    """Let Mallory hold the lock, and tell of a page that she has requested."""
    argv = [world.python, "-c", HOLD, str(world.at(LOCK)), json.dumps(EVIL_PAGE)]
    with subprocess.Popen(
        argv,
        user=MALLORY,
        group=MALLORY,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.stdin
        holder.stdin.close()


@pytest.mark.parametrize(
    ("layout", "is_repaired"),
    [
        (file_of_another_in_an_open_folder, True),
        (own_file_that_all_can_write, True),
        (own_file_that_a_group_can_write, True),
        (folder_of_another_user, False),
    ],
)
def test_lock_that_another_user_can_write_is_not_believed(
    world: World, layout: Callable[[World], None], is_repaired: bool
) -> None:
    """Whoever approves her code gives her the session."""
    started = folder_of_root(world)
    world.configure("alice", ALICE, token=False)
    layout(world)
    with held_by_mallory(world):
        refreshed, status = start(world, started, ALICE, AWS_SSO_MCP_WAIT_SECONDS="1")
    assert "EVIL-CODE" not in json.dumps([refreshed, status])
    assert refreshed["loginUrl"] == PAGE  # of the login that Alice's server has begun
    said = "the lock file cannot be used" in refreshed["message"]
    assert said is not is_repaired
    if is_repaired:
        for path, mode in ((LOCK_FOLDER, 0o700), (LOCK, 0o600)):
            found = world.at(path).stat()
            assert found.st_uid == ALICE
            assert found.st_mode & 0o777 in (mode, 0o755), oct(found.st_mode)
    else:
        assert "belongs to another user" in refreshed["message"]


def test_every_folder_that_is_made_is_private(world: World) -> None:
    started = folder_of_root(world)
    world.make("alice/config", ALICE, text=CONFIG)
    start_with = {"AWS_CONFIG_FILE": str(world.at("alice/config"))}
    world.make("alice/.aws", ALICE)
    world.at("alice/.aws").rmdir()
    argv_before = "umask 0;"
    refreshed, _ = start_without_aws_folder(world, started, argv_before, start_with)
    # There is no browser here: the URL is told at once, if the login has not ended yet.
    assert refreshed["status"] in ("pending", "failed")
    for path in ("alice/.aws", "alice/.aws/sso", LOCK_FOLDER):
        assert oct(world.at(path).stat().st_mode & 0o777) == oct(0o700), path
    assert oct(world.at(LOCK).stat().st_mode & 0o777) == oct(0o600)


def start_without_aws_folder(
    world: World, started: Start, before: str, variables: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start Alice's server where there is no ~/.aws."""
    environment = {
        "HOME": str(world.at("alice")),
        "PATH": started.path.format(world=world.folder),
        "AWS_SSO_MCP_LOGIN": "browser",
        **variables,
    }
    pairs = [f"{name}={value}" for name, value in environment.items()]
    server = [world.python, "-IS", str(world.at("server/aws_sso_mcp.py"))]
    argv = world.argv(ALICE, "/usr/bin/env", "-i", *pairs, *server, before=before)
    return world.ask(argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
