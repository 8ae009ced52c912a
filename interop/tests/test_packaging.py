"""Every way to install, with the real tools, each in a fresh HOME; no host is logged in."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

import matrix
from kit import inside
from kit.components import need, real
from kit.hosts import HOSTS, Responses, install_host, results_of_claude
from kit.inside import VERSION
from kit.model import STATUS, Model
from kit.workplace import ROOT, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.machine import Machine

PLUGIN = "aws-sso-mcp@aws-sso-mcp"
GITHUB = "OWNER/aws-sso-mcp"
CACHE = f"plugins/cache/aws-sso-mcp/aws-sso-mcp/{VERSION}"


# --- A machine to install on ------------------------------------------------------------


@pytest.fixture
def claude(machine: Machine) -> Machine:
    install_host(machine, "claude")
    return machine


@pytest.fixture
def tools(machine: Machine) -> Machine:
    """A machine with the packaging tools."""
    for name in ("uv", "uvx", "pipx", "twine", "skillsaw", "check-jsonschema"):
        machine.put(name, real(need("packaging")) / "bin" / name)
    # The packaging tools' Python has flit_core, so that a build needs no network.
    build = (real("packaging") / "bin" / "python", "-m", "build", "--no-isolation")
    machine.put("build", *build)
    return machine


# --- Manifests --------------------------------------------------------------------------

MANIFESTS = (
    "plugin.json",
    ".claude-plugin/plugin.json",
    ".github/server.json",
    ".github/mcpb/manifest.json",
)


def manifest(name: str) -> Any:
    return json.loads((ROOT / name).read_text())


@pytest.mark.parametrize("name", MANIFESTS)
def test_version_and_description_are_the_same_everywhere(name: str) -> None:
    told = manifest(name)
    versions = [
        told["version"],
        *(package["version"] for package in told.get("packages", [])),
    ]
    assert set(versions) == {VERSION}
    assert told["description"] == manifest("plugin.json")["description"]
    assert f"\n## {VERSION} " in (ROOT / "CHANGELOG.md").read_text()


def test_marketplace_has_no_version_of_its_own() -> None:
    told = manifest(".claude-plugin/marketplace.json")
    [entry] = told["plugins"]
    assert "version" not in {**told, **entry}
    assert entry["description"] == manifest("plugin.json")["description"]


def test_manifests_and_skill_name_the_tools() -> None:
    told = [tool["name"] for tool in manifest(".github/mcpb/manifest.json")["tools"]]
    assert sorted(told) == sorted(inside.TOOLS)
    skill = (ROOT / "skills" / "aws-sso-refresh" / "SKILL.md").read_text()
    # With that line, `claude -p` refuses the skill (test_interactive.py).
    assert "allowed-tools" not in skill
    prefixes = ("mcp__aws-sso__", "mcp__plugin_aws-sso-mcp_aws-sso__")
    full = [prefixes[0] + name for name in inside.TOOLS]
    full += [prefixes[1] + name for name in inside.TOOLS]
    body = skill.split("---\n")[2]
    assert all(f"`{name}`" in body for name in full)


def test_registry_entry_is_valid(tools: Machine) -> None:
    schemas = "lib/python3*/site-packages/skillsaw/schemas/mcp_registry/v2025_12_11"
    [schema] = (real("packaging")).glob(f"{schemas}/server.schema.json")
    tools.run(f"check-jsonschema --schemafile {schema} {ROOT}/.github/server.json")
    name = manifest(".github/server.json")["name"]
    # The MCP Registry looks for it in the description on PyPI.
    assert f"<!-- mcp-name: {name} -->" in (ROOT / "docs" / "pypi.md").read_text()


def test_skillsaw_finds_nothing(tools: Machine) -> None:
    said = tools.run("skillsaw lint .", tools.checkout)
    assert re.search(r"Errors: +0\n +Warnings: +0\n", said), said
    kinds = ("agent-plugin", "agentskills", "marketplace", "mcp-registry")
    assert all(kind in said for kind in kinds)


# --- Claude Code ------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["", "--profile directory"])
def test_claude_validates_without_a_warning(claude: Machine, profile: str) -> None:
    said = claude.run(f"claude plugin validate --strict {profile} {claude.checkout}")
    assert "✔ These checks found nothing to report" in said
    assert "✔ Validation passed" in said
    assert "Advice" not in said
    assert "warning" not in said.lower()


@pytest.mark.parametrize("source", [GITHUB, "checkout"])
def test_claude_installs_from_the_marketplace(claude: Machine, source: str) -> None:
    at = GITHUB if source == GITHUB else str(claude.checkout)
    claude.run(f"claude plugin marketplace add {at} && claude plugin install {PLUGIN}")
    said = claude.run("claude mcp list")
    where = claude.home / ".claude" / CACHE if source == GITHUB else claude.checkout
    server = f"python3 -IS {where}/aws_sso_mcp.py"
    assert f"plugin:aws-sso-mcp:aws-sso: {server} - ✔ Connected" in said
    said = claude.run("claude plugin details aws-sso-mcp")
    assert "Skills (1)  aws-sso-refresh" in said
    assert "Hooks (2)  " in said
    assert "PostToolUseFailure" in said
    assert "SessionStart" in said
    assert "MCP servers (1)  aws-sso" in said


def test_claude_update_installs_the_next_version(
    claude: Machine, tmp_path: Path
) -> None:
    github = tmp_path / "OWNER" / "aws-sso-mcp.git"
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{tmp_path}/"]\n\tinsteadOf = https://github.com/\n'
    )
    claude.run(
        f"git clone -q --bare {claude.checkout} {github} && git clone -q {github} next"
    )
    own = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    add = f"claude plugin marketplace add {GITHUB} && claude plugin install {PLUGIN}"
    claude.run(add, env=own)
    release = (
        f"grep -rl '\"{VERSION}\"' .claude-plugin plugin.json aws_sso_mcp.py"
        f' | xargs sed -i \'s/"{VERSION}"/"99.0.0"/\''
        " && git -c user.name=t -c user.email=t@t commit -qam next && git push -q"
    )
    claude.run(release, tmp_path / "work" / "next")
    update = (
        f"claude plugin marketplace update aws-sso-mcp && claude plugin update {PLUGIN}"
    )
    assert f"from {VERSION} to 99.0.0" in claude.run(update, env=own)
    assert "/99.0.0/aws_sso_mcp.py - ✔ Connected" in claude.run(
        "claude mcp list", env=own
    )


def test_claude_plugin_options_reach_the_server(claude: Machine) -> None:
    # The option `python` is a program that saves its environment.
    kept = claude.folder / "environment"
    recorder = f'env -0 > {kept}; exec {shlex.quote(sys.executable)} "$@"'
    claude.put("keep", "sh", "-c", recorder, "keep")
    program = claude.folder / "bin" / "keep"
    add = f"claude plugin marketplace add {claude.checkout} && claude plugin install {PLUGIN}"
    claude.run(f"{add} --config python={program}")

    def profile_taken() -> str:
        shell = {"AWS_PROFILE": "of-shell", "AWS_SSO_MCP_PROFILE": "replaced"}
        assert "✔ Connected" in claude.run("claude mcp list", env=shell)
        pairs = (line.partition("=") for line in kept.read_text().split("\0") if line)
        environment = {name: value for name, _, value in pairs}
        argv = [sys.executable, "-c", inside.profile_taken(str(ROOT))]
        done = subprocess.run(argv, env=environment, capture_output=True, check=True)
        return done.stdout.decode().strip()

    assert profile_taken() == "of-shell"
    set_option = f"claude plugin configure {PLUGIN} --values-stdin"
    claude.run(f"""echo '{{"profile": "of-option"}}' | {set_option}""")
    assert profile_taken() == "of-option"
    claude.run(f"""echo '{{"python": "no-such-python"}}' | {set_option}""")
    assert "Failed to connect" in claude.run("claude mcp list")


# --- The portable plugin ----------------------------------------------------------------


@pytest.mark.parametrize("source", [GITHUB, "checkout"])
def test_codex_installs_the_plugin(machine: Machine, source: str) -> None:
    install_host(machine, "codex")
    at = GITHUB if source == GITHUB else str(machine.checkout)
    machine.run(f"codex plugin marketplace add {at} && codex plugin add {PLUGIN}")
    folder = machine.home / ".codex" / CACHE
    assert (folder / "skills" / "aws-sso-refresh" / "SKILL.md").is_file()
    assert f"args: -IS {folder}/aws_sso_mcp.py" in machine.run("codex mcp get aws-sso")
    assert tools_of_codex(machine) == set(inside.TOOLS)


def tools_of_codex(machine: Machine) -> set[str]:
    """Return the server's tools, as Codex's app-server got them from the server."""
    asked = [
        {
            "id": 1,
            "method": "initialize",
            "params": {"clientInfo": {"name": "t", "version": "1"}},
        },
        {"method": "initialized"},
        {"id": 2, "method": "mcpServerStatus/list", "params": {}},
    ]
    codex = subprocess.Popen(
        ["codex", "app-server"],
        cwd=machine.folder / "work",
        env=machine.environment(),
        executable=machine.folder / "bin" / "codex",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with codex:
        assert codex.stdin
        assert codex.stdout
        codex.stdin.write("".join(json.dumps(each) + "\n" for each in asked))
        codex.stdin.flush()
        told = next(
            each for each in map(json.loads, codex.stdout) if each.get("id") == 2
        )
        codex.stdin.close()
    [server] = [each for each in told["result"]["data"] if each["name"] == "aws-sso"]
    return set(server["tools"])


@pytest.mark.parametrize("source", [GITHUB, "checkout"])
def test_copilot_installs_the_plugin(machine: Machine, source: str) -> None:
    install_host(machine, "copilot")
    at = GITHUB if source == GITHUB else str(machine.checkout)
    machine.run(
        f"copilot plugin marketplace add {at} && copilot plugin install {PLUGIN}"
    )
    assert "aws-sso-refresh - " in machine.run("copilot skill list")
    with Model() as model:
        said = machine.run(
            "copilot -p go --allow-all-tools --disable-builtin-mcps",
            env=model.environment(),
        )
        assert "done" in said
        # Its model asked for the status, then for a profile that is not configured.
        assert [answer.get("reason") for answer in model.heard][
            -1
        ] == "profile_not_found"
        assert STATUS in model.offered


# --- Packages ---------------------------------------------------------------------------

EPOCH = {"SOURCE_DATE_EPOCH": "1790000000"}
WHEEL = {"aws_sso_mcp.py", "METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}
SDIST = {
    *("aws_sso_mcp.py", "test_aws_sso_mcp.py", "plugin.json", "pyproject.toml"),
    *("docs", "CHANGELOG.md", "LICENSE", "PKG-INFO"),
}


@pytest.fixture
def built(tools: Machine) -> Path:
    """A folder with the wheel and the sdist."""
    tools.run(f"build -o {tools.folder}/dist {tools.checkout}", env=EPOCH)
    return tools.folder / "dist"


def test_packages_contain_the_expected_files(tools: Machine, built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {Path(name).name for name in archive.namelist()} == WHEEL
    tools.run(f"tar xzf {built}/*.tar.gz")
    unpacked = tools.folder / "work" / f"aws_sso_mcp-{VERSION}"
    assert {path.name for path in unpacked.iterdir()} == SDIST
    tools.run("python3 -m unittest -q test_aws_sso_mcp.PromiseTest", unpacked)
    tools.run(f"twine check --strict {built}/*")


def test_packages_are_reproducible(tools: Machine, built: Path) -> None:
    tools.run(
        f"cp -R {tools.checkout} other && find other -exec touch -d 2020-01-01 {{}} +"
    )
    tools.run("build -o dist other && cd other && python3 .github/mcpb/build.py ../dist",
              env=EPOCH)  # fmt: skip
    tools.run(f"python3 .github/mcpb/build.py {built}", tools.checkout)
    others = sorted((tools.folder / "work" / "dist").iterdir())
    ours = sorted(built.iterdir())
    assert [path.name for path in others] == [path.name for path in ours]
    assert len(ours) == 3
    assert [path.read_bytes() for path in others] == [
        path.read_bytes() for path in ours
    ]


def pythons() -> list[str]:
    """Return the oldest and the newest Python of this machine that the server may run on."""
    argv = [sys.executable, str(ROOT / ".ci" / "pythons.py")]
    found = subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    return [found[0], found[-1]] if found else [sys.executable]


@pytest.mark.parametrize("python", pythons())
def test_wheel_works_in_a_fresh_venv(tools: Machine, built: Path, python: str) -> None:
    # With uv, as Debian's newest Python has no pip; README's line with pip runs elsewhere.
    wheel = (
        f"{tools.folder}/bin/uv pip install -q --no-index --python venv {built}/*.whl"
    )
    tools.run(f"{python} -m venv --without-pip venv && {wheel}")
    venv = tools.folder / "work" / "venv" / "bin"
    assert tools.run(f"{venv}/aws-sso-mcp --version") == f"aws-sso-mcp {VERSION}\n"
    # A client starts it in a project that has its own files.
    (tools.folder / "work" / "json.py").write_text("raise SystemExit('of the project')")
    tools.serves(f"{venv}/aws-sso-mcp")
    tools.serves(f"{venv}/python -I -m aws_sso_mcp")
    assert "of the project" in tools.run(f"{venv}/python -m aws_sso_mcp", code=1)


VENV = "python3 -m venv --without-pip ~/venv && uv pip install -q --no-index --python ~/venv"
PYTHON_M = {  # way to install -> how, and the command of docs/packages.md
    "venv": (f"{VENV} {{wheel}}", "{home}/venv/bin/python"),
    "user-site": (
        'mkdir -p "$(python3 -m site --user-site)"'
        ' && cp aws_sso_mcp.py "$(python3 -m site --user-site)"',
        "python3",
    ),
    "pipx": (
        "pipx install . && pipx environment --value PIPX_LOCAL_VENVS > ~/folder",
        "{folder}/aws-sso-mcp/bin/python",
    ),
    "uv": (
        "uv tool install . && uv tool dir > ~/folder",
        "{folder}/aws-sso-mcp/bin/python",
    ),
    "uvx": ("true", "uvx --from {checkout} python"),
    "folder": ("cp aws_sso_mcp.py ~", "python3"),
}


@pytest.mark.parametrize("way", PYTHON_M)
def test_python_m_works_for_each_way_to_install(
    tools: Machine, built: Path, way: str
) -> None:
    """In a folder with modules of Python's names; `pip install --user` was tried by hand."""
    [wheel] = built.glob("*.whl")
    install, command = PYTHON_M[way]
    # A venv's Python, such as ours, knows no user site.
    tools.put("python3", Path(sys.base_prefix) / "bin" / "python3")
    tools.run(install.format(wheel=wheel), tools.checkout)
    places = {"home": tools.home, "checkout": tools.checkout, "folder": ""}
    written = tools.home / "folder"
    if written.exists():
        places["folder"] = written.read_text().strip()
    environment = {"PYTHONSAFEPATH": "1"}
    if way == "folder":
        environment["PYTHONPATH"] = str(tools.home)
    project = project_with_modules(tools)
    tools.serves(f"{command.format(**places)} -m aws_sso_mcp", project, environment)


def project_with_modules(tools: Machine) -> Path:
    """Return a folder whose modules Python must not import."""
    project = tools.folder / "work" / "project"
    project.mkdir()
    if sys.version_info >= (3, 11):  # older ones do not know PYTHONSAFEPATH
        for name in ("json.py", "runpy.py", "signal.py"):
            (project / name).write_text("raise SystemExit('of the project')")
    return project


def test_pipx_installs_the_package(tools: Machine) -> None:
    tools.run("pipx install .", tools.checkout)
    tools.serves(f"{tools.home}/.local/bin/aws-sso-mcp")


def test_uv_installs_and_runs_the_package(tools: Machine) -> None:
    tools.serves(f"{tools.folder}/bin/uvx --from {tools.checkout} aws-sso-mcp")
    tools.serves(f"{tools.folder}/bin/uv run --script {tools.checkout}/aws_sso_mcp.py")


def test_mcpb_bundle_starts_as_its_manifest_says(machine: Machine) -> None:
    install_host(machine, "mcpb")
    machine.run("mcpb validate .github/mcpb/manifest.json", machine.checkout)
    bundle = machine.run(f"python3 {machine.checkout}/.github/mcpb/build.py").strip()
    machine.run(f"mcpb unpack {bundle} bundle")
    folder = machine.folder / "work" / "bundle"
    told = json.loads((folder / "manifest.json").read_text())["server"]["mcp_config"]
    words = [told["command"], *told["args"]]
    command = shlex.join(words).replace("${__dirname}", str(folder)).replace("'", "")
    # Claude Desktop does not expand an option that is not set.
    machine.serves(command, env=told["env"])


def test_too_old_a_python_is_reported_in_one_sentence() -> None:
    ast.parse(SERVER.read_text(), feature_version=(3, 7))
    folders = [*os.environ["PATH"].split(os.pathsep)]
    folders += map(str, Path.home().glob(".pyenv/versions/3.[78].*/bin"))
    tried = 0
    for name in ("python3.7", "python3.8"):
        python = shutil.which(name, path=os.pathsep.join(reversed(folders)))
        argv = [python or "", "-IS", str(SERVER)]
        done = python and subprocess.run(
            argv, capture_output=True, text=True, check=False
        )
        if done and "shim" not in str(python):
            tried += 1
            assert done.returncode == 1
            assert re.fullmatch(r"aws_sso_mcp.py needs Python 3.9 or newer; this is 3\.[78]\.\d+\n",
                                done.stderr)  # fmt: skip
    if not tried:
        pytest.skip(
            "no Python 3.7 or 3.8 here; that the file parses on 3.7 was checked"
        )


# --- The pages --------------------------------------------------------------------------

PAGES = ("README.md", "docs/*.md", ".github/*.md", "interop/README.md", "skills/*/*.md")
BY_HAND = "tried by hand, with the version that the page names"
NOT_RUN = {
    "python3 interop/demo.py": "test_demo.py",
    "python3 -m unittest": ".ci/run begins with it",
    "python3 aws_sso_mcp.py status": "test_terminal_commands_run: nothing is configured here",
    "python3 aws_sso_mcp.py refresh": "test_terminal_commands_run",
    "python3 interop/install.py": "done, or need() says so",
    "python3 interop/install.py tools": "done, or need() says so",
    "python3 interop/install.py aws-newest": "done, or need() says so",
    ".ci/run": "it runs this",
    "$bin/python -m pytest -n 3": "this run",
    "uvx aws-sso-mcp": "test_commands_of_the_description_work_once_it_is_on_pypi",
    "pipx install aws-sso-mcp": "test_commands_of_the_description_work_once_it_is_on_pypi",
    "$bin/python -m pytest interop/tests/test_login.py -k first_login": "a part of this run",
    "$bin/ruff check . && $bin/ruff format --check . && $bin/mypy .": ".ci/run does",
    "python3 interop/matrix.py": "test_table_of_clients_matches_the_measurements",
    "python3 interop/bench": ".ci/run runs it with --quick",
    "python3 interop/bench/mutate.py --results FILE": "it takes an hour",
    "python3 interop/lock.py": "test_kit.py runs it for one package",
    "python3 interop/release.py": "test_release.py",
    'cline mcp add --yes aws-sso -- python3 -IS "$PWD/aws_sso_mcp.py"': BY_HAND,
    "cline mcp remove aws-sso": BY_HAND,
    'amp mcp add aws-sso -- python3 -IS "$PWD/aws_sso_mcp.py"': BY_HAND,
    "amp mcp list": BY_HAND,
    "amp permissions add allow mcp__aws-sso__refresh_aws_sso_token": BY_HAND,
    "amp mcp remove aws-sso": BY_HAND,
}
PROGRAMS = "claude|codex|copilot|gemini|qwen|opencode|cline|amp|mkdir|cp|rm|pipx|uvx|uv|python3"
COMMAND = re.compile(rf'`((?:{PROGRAMS}) [^`]+)`(?: says "(.+?)")?')
SERVES = re.compile(r"^- serve MCP: `(.+?)`", re.MULTILINE)
BLOCK = re.compile(
    r"^```sh\n(.*?)^```\n(?:\n((?:- [^\n]*\n)+))?", re.MULTILINE | re.DOTALL
)


class Commands(NamedTuple):
    """Commands of a page that run one after another, and words that each must print.

    They are a block marked `sh` with the list right behind it, or a row of a table.
    """

    page: str
    steps: list[tuple[str, str]]
    serves: list[str]  # commands that serve MCP, after the last line of the block
    last_of_block: int = -1  # its index in `steps`

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.page}: {self.steps[0][0]}"


def pages() -> dict[str, str]:
    texts = {}
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            texts[path.relative_to(ROOT).as_posix()] = path.read_text()
    return texts


def commands() -> Iterator[Commands]:
    for page, text in pages().items():
        for block, behind in BLOCK.findall(text):
            lines = [(line, "") for line in block.splitlines() if line]
            serves = SERVES.findall(behind)
            other = COMMAND.findall(SERVES.sub("", behind))
            yield Commands(page, lines + other, serves, len(lines) - 1)
        for row in re.findall(r"^\|.*", text, re.MULTILINE):
            known = [step for step in COMMAND.findall(row) if "/path/to" not in step[0]]
            if known:
                yield Commands(page, known, [])


def runnable() -> list[Commands]:
    found = []
    for each in commands():
        lines = {line for line, _ in each.steps}
        if not lines <= set(NOT_RUN):
            found.append(each)
    return found


def all_steps() -> list[tuple[str, str]]:
    """Return all commands of the pages, each with the words that it must print."""
    steps = []
    for each in commands():
        steps += each.steps
    return steps


def host_of(command: str) -> str | None:
    return next(
        (name for name in HOSTS if re.search(rf"(^|&& ){name} ", command)), None
    )


def run_all(tools: Machine, told: Commands, address: str = '"$PWD"') -> None:
    for index, (command, words) in enumerate(told.steps):
        host = host_of(command)
        if host:
            install_host(tools, host)
        if command not in NOT_RUN:
            said = tools.run(command.replace('"$PWD"', address), tools.checkout)
            assert words in said
        if index == told.last_of_block:
            for each in told.serves:
                serves(tools, each)


def serves(tools: Machine, command: str) -> None:
    """Assert that a command of a page serves MCP; a user's PATH has ~/.local/bin."""
    command = command.replace("~", str(tools.home))
    command = command.replace("/path/to/checkout", str(tools.checkout))
    path = f"{tools.home}/.local/bin:{tools.environment()['PATH']}"
    tools.serves(command, env={"PATH": path})


@pytest.mark.parametrize("told", runnable(), ids=lambda told: told.name)
def test_commands_of_each_page_run(tools: Machine, told: Commands) -> None:
    tools.put("python3", sys.executable)
    run_all(tools, told)
    if told.page == "README.md":
        hosts = {host_of(command) for command, _ in told.steps} - {None}
        for host in hosts:
            assert re.search(LOOKS[str(host)], tools.run(f"{host} mcp list"))


# How a host describes the server; hosts that start it say "Connected".
LOOKS = {
    "claude": "aws-sso: .* ✔ Connected",
    "codex": "aws-sso .* enabled",
    "copilot": r"aws-sso \(local\)",
    "gemini": "✓ aws-sso: .* Connected",
}


PLUGIN_OF_CHECKOUT = re.compile(r'(--marketplace|marketplace add) "\$PWD"')


@pytest.mark.parametrize(
    "told",
    [
        each
        for each in runnable()
        if each.page != "README.md" and PLUGIN_OF_CHECKOUT.search(each.steps[0][0])
    ],
    ids=lambda told: told.name,
)
def test_public_url_is_replaced_by_the_checkout(tools: Machine, told: Commands) -> None:
    run_all(tools, told, GITHUB)


def test_every_command_of_the_pages_is_known() -> None:
    steps = all_steps()
    lines = [line for line, _ in steps]
    assert set(NOT_RUN) <= set(lines)
    assert len(lines) > 50
    shown = []
    for text in pages().values():
        shown += [step for step in COMMAND.findall(text) if step[1]]
    assert shown == [step for step in steps if step[1]]


def test_commands_can_be_pasted_into_zsh() -> None:
    """Interactive zsh has no comments, and refuses a pattern that matches no file."""
    lines = [line for line, _ in all_steps()]
    assert [line for line in lines if re.search(r"[#*?\[]", line)] == []


def test_figures_are_the_same_everywhere() -> None:
    texts = [*pages().values(), (ROOT / "interop" / "install.py").read_text()]
    sizes = re.findall(r"([1-9]\.\d) GB", "\n".join(texts))
    assert len(sizes) == 3
    assert len(set(sizes)) == 1
    rows = matrix.rows_of_page()
    clients = {name.partition(", ")[0] for name in rows}
    told = f"what {len(clients)} real clients did, in {len(rows)} modes"
    assert told in pages()["README.md"]


def test_uvx_by_name_is_shown_as_not_yet_on_pypi() -> None:
    """A paragraph with `uvx aws-sso-mcp` says that the package must be on PyPI first."""
    paragraphs = "\n\n".join(pages().values()).split("\n\n")
    shown = [each for each in paragraphs if "`uvx aws-sso-mcp`" in each]
    assert len(shown) == 2
    for paragraph in shown:
        assert "is on PyPI" in " ".join(paragraph.split())


FIRST_SCREEN = "Now say"


def test_first_screen_of_readme_is_short_and_can_be_pasted() -> None:
    readme = pages()["README.md"]
    assert len(readme.splitlines()) < 200
    shown = readme.partition("\n\n- [Clients]")[0]
    assert FIRST_SCREEN in shown.rpartition("\n\n")[2]
    assert len(shown.partition("```sh")[0].split()) < 150
    # Nothing has to be filled in but the entry for clients, which `--help` prints.
    entry = re.compile(r"^```json\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
    assert len(entry.findall(shown)) == 1
    assert not re.search(r"OWNER|/path/to|VERSION|\.\.\.", entry.sub("", shown))
    for text in (shown, pages()["docs/clients.md"]):
        for path in DESKTOP_FILES:
            assert f"`{path}`" in text


DESKTOP_FILES = (
    "~/Library/Application Support/Claude/claude_desktop_config.json",
    r"%APPDATA%\Claude\claude_desktop_config.json",
)


def test_no_command_is_in_a_cell_of_a_table() -> None:
    """GitHub shows no copy button there, and a phone breaks `--` in two."""
    of_lists = {"interop/README.md", ".github/CONTRIBUTING.md"}
    found = []
    for page, text in pages().items():
        if page not in of_lists:
            for row in re.findall(r"^\|.*", text, re.MULTILINE):
                found += [command for command, _ in COMMAND.findall(row)]
    assert found == []


LINK = r"""(?:\]\(|^\[\w+\]: |src(?:set)?=")([^)\s"]+)"""


def test_links_have_a_target() -> None:
    texts = pages()
    anchors: dict[str, set[str]] = {}
    links = []
    for page, text in texts.items():
        anchors[page] = set()
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
            words = re.sub(r"[^\w -]", "", heading.lower())
            anchors[page].add(words.replace(" ", "-"))
        for link in re.findall(LINK, text, re.MULTILINE):
            if not link.startswith("https://"):
                links.append((page, link))
    assert len(links) > 20
    for page, link in links:
        path, _, anchor = link.partition("#")
        leads_to = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert leads_to.exists(), (page, link)
        name = leads_to.relative_to(ROOT).as_posix()
        assert not anchor or anchor in anchors[name], (page, link)


def test_issue_form_is_valid(tools: Machine) -> None:
    forms = f"{ROOT}/.github/ISSUE_TEMPLATE/*.yml"
    tools.run(f"check-jsonschema --builtin-schema vendor.github-issue-forms {forms}")


# --- What the page of clients says ------------------------------------------------------


def blocks_of_clients(language: str) -> list[str]:
    text = pages()["docs/clients.md"]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def entries() -> dict[str, Any]:
    """Return the entries A, B and C by their top-level key."""
    text = pages()["docs/clients.md"]
    found = re.findall(
        r"^### Entry [ABC]\n\n```json\n(.*?)\n```", text, re.MULTILINE | re.DOTALL
    )
    result = {}
    for text in found:
        for key, entry in json.loads(text).items():
            result[key] = entry["aws-sso"]
    return result


def test_configuration_entries_start_the_server(machine: Machine) -> None:
    assert list(entries()) == ["mcpServers", "servers", "context_servers"]
    for entry in entries().values():
        command = shlex.join([entry["command"], *entry["args"]])
        machine.serves(command.replace("/path/to", str(machine.checkout)))


def full_entries() -> list[tuple[str, dict[str, Any]]]:
    """Return each entry of a page that has an `env`, with the name of the page."""
    found = []
    for page, text in pages().items():
        for block in re.findall(
            r"^ *```json\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
        ):
            if '"env"' in block:
                found.append((page, json.loads(block)["mcpServers"]["aws-sso"]))
    return found


def test_entries_with_a_profile_start_the_server(tools: Machine, built: Path) -> None:
    """In a folder with modules that Python must not import."""
    install = (
        f"{tools.folder}/bin/uv pip install -q --no-index --python venv {built}/*.whl"
    )
    tools.run(f"{sys.executable} -m venv --without-pip venv && {install}")
    tools.put("with-package", tools.folder / "work" / "venv" / "bin" / "python")
    project = project_with_modules(tools)
    local = {"UV_FIND_LINKS": str(built), "UV_NO_INDEX": "1"}
    kinds = []
    for page, entry in full_entries():
        assert entry["env"].pop("AWS_PROFILE") == "your-sso-profile"
        words = [entry["command"], *entry["args"]]
        if "-m" in words:
            assert words[0] == "python3"
            words[0] = "with-package"
        kinds.append((page, words[0]))
        command = shlex.join(words).replace("/path/to", str(tools.checkout))
        tools.serves(command, project, {**local, **entry["env"]})
    assert kinds == [
        ("README.md", "python3"),
        ("docs/clients.md", "python3"),
        ("docs/clients.md", "with-package"),
        ("docs/packages.md", "with-package"),
        ("docs/pypi.md", "uvx"),
    ]


# --- What a contributor's tools check ---------------------------------------------------

PROPERTIES = """\
import editorconfig, json, sys

found = {path: dict(editorconfig.get_properties(path)) for path in json.load(sys.stdin)}
json.dump(found, sys.stdout)
"""


def test_files_are_as_the_editorconfig_says(tools: Machine) -> None:
    listed = tools.run("git ls-files", tools.checkout).splitlines()
    paths = [str(tools.checkout / name) for name in listed]
    python = str(real(need("pages")) / "bin" / "python")
    asked = json.dumps(paths).encode()
    found = json.loads(subprocess.check_output([python, "-c", PROPERTIES], input=asked))
    wrong = []
    for path, properties in found.items():
        content = Path(path).read_bytes()
        if properties["trim_trailing_whitespace"] == "true":
            if re.search(rb"[ \t\r]$", content, re.MULTILINE):
                wrong.append((path, "blanks or CR at the end of a line"))
        if properties["insert_final_newline"] == "true":
            if content and not content.endswith(b"\n"):
                wrong.append((path, "no line break at the end"))
    assert wrong == []
    length = found[str(tools.checkout / "aws_sso_mcp.py")]["max_line_length"]
    assert f"\nline-length = {length} " in (ROOT / "pyproject.toml").read_text()


def test_pre_commit_refuses_a_line_that_is_not_formatted(tools: Machine) -> None:
    need("tools")
    for name in ("pre-commit", "git"):
        program = shutil.which(name, path=f"{real(need('pages'))}/bin:/usr/bin")
        assert program
        tools.put(name, program)
    copy = tools.folder / "work" / "copy"
    tools.run(f"git clone -q {tools.checkout} copy")
    environment = {"MYPY_CACHE_DIR": str(real("mypy"))}
    code = copy / "interop" / "matrix.py"
    kept = code.read_text()
    code.write_text(f"{kept}\nWIDE = ({', '.join(['1'] * 40)})\n")
    check = "git add -A && pre-commit run"
    said = tools.run(check, copy, 1, environment)
    assert "E501 Line too long" in said
    code.write_text(f"{kept}\nNARROW = (1, 2)\n")
    said = tools.run(check, copy, 0, environment)
    assert re.search(r"ruff and mypy\.+Passed", said)


# --- What PyPI shows --------------------------------------------------------------------


def test_commands_of_the_description_work_once_it_is_on_pypi(
    tools: Machine, built: Path
) -> None:
    local = {"UV_FIND_LINKS": str(built), "UV_NO_INDEX": "1"}
    local.update({"PIP_FIND_LINKS": str(built), "PIP_NO_INDEX": "1"})
    tools.run("pipx install aws-sso-mcp", env=local)
    tools.serves(f"{tools.home}/.local/bin/aws-sso-mcp")
    tools.serves("uvx aws-sso-mcp", env=local)


RENDER = """\
import email, json, sys
from readme_renderer.markdown import render

text = email.message_from_file(sys.stdin).get_payload()
json.dump(render(text), sys.stdout)
"""


def test_description_on_pypi_has_no_dead_link_and_no_picture(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(name)
    assert b"Description-Content-Type: text/markdown" in metadata
    python = str(real(need("pages")) / "bin" / "python")
    html = json.loads(subprocess.check_output([python, "-c", RENDER], input=metadata))
    links = re.findall(r'href="([^"#][^"]*)"', html)
    assert len(links) > 1
    assert [link for link in links if not link.startswith("https://")] == []
    assert re.findall(r"<(?:img|picture|source)|mermaid", html) == []
    # A link or a table that the renderer does not know stays as it was written.
    assert re.findall(r"\]\[|\]\(|\|---", html) == []
    assert html.startswith("<h1")


def test_install_buttons_contain_the_package_entries() -> None:
    links = re.findall(r"\[Install in (.+?)\]\((.+?)\)", pages()["docs/clients.md"])
    queries = {client: dict(parse_qsl(urlsplit(url).query)) for client, url in links}
    assert {client: query["name"] for client, query in queries.items()} == {
        "Cursor": "aws-sso",
        "VS Code": "aws-sso",
    }
    [package] = manifest(".github/server.json")["packages"]
    ours = {"command": "uvx", "args": [package["identifier"]]}
    entry = {**entries()["mcpServers"], **ours}
    assert (
        json.loads(base64.b64decode(queries["Cursor"]["config"], validate=True))
        == entry
    )
    assert json.loads(queries["VS Code"]["config"]) == {**entries()["servers"], **ours}


def test_claude_permission_of_the_page_is_accepted(claude: Machine) -> None:
    claude.run(f"claude mcp add -s user aws-sso -- python3 -IS {SERVER}")
    [rules] = [each for each in blocks_of_clients("json") if "permissions" in each]
    wish = {
        "name": "mcp__aws-sso__refresh_aws_sso_token",
        "input": {"profile": "nobody"},
    }
    assert "profile_not_found" not in results_of_claude(claude, wish)
    (claude.home / ".claude" / "settings.json").write_text(rules)
    assert "profile_not_found" in results_of_claude(claude, wish)
    plugin = "mcp__plugin_aws-sso-mcp_aws-sso__refresh_aws_sso_token"
    claude.run("claude mcp remove -s user aws-sso")
    add = f"claude plugin marketplace add {claude.checkout}"
    claude.run(f"{add} && claude plugin install {PLUGIN}")
    assert "profile_not_found" in results_of_claude(claude, {**wish, "name": plugin})


def test_codex_approval_of_the_page_is_accepted(machine: Machine) -> None:
    install_host(machine, "codex")
    [tables] = blocks_of_clients("toml")
    config = machine.home / ".codex" / "config.toml"
    config.parent.mkdir()
    servers = '[mcp_servers.aws-sso]\ncommand = "python3"\n'
    config.write_text(servers + tables)
    machine.run("codex mcp list")
    for wrong in (
        "mcp_servers.aws-sso.tools.refresh_aws_sso_token.approval_mode",
        "plugins",
    ):
        first = tables.replace('"approve"', '"approv"', 1)
        second = '"approv"'.join(tables.rsplit('"approve"', 1))
        config.write_text(servers + (second if wrong == "plugins" else first))
        assert f"in `{wrong}`" in machine.run("codex mcp list", code=1)


ADDED_TO_CODEX = {
    "server": f"codex mcp add aws-sso -- python3 -IS {SERVER}",
    "plugin": "codex plugin marketplace add . && codex plugin add aws-sso-mcp@aws-sso-mcp",
}


@pytest.mark.parametrize("kind", ADDED_TO_CODEX)
def test_approval_of_the_page_lets_a_model_of_codex_call(
    machine: Machine, kind: str
) -> None:
    install_host(machine, "codex")
    machine.run(ADDED_TO_CODEX[kind], machine.checkout)
    assert "MCP tool call requires approval" in asked_of_codex(machine)
    [tables] = blocks_of_clients("toml")
    of_server, _, of_plugin = tables.partition("\n\n")
    config = machine.home / ".codex" / "config.toml"
    table = of_plugin if kind == "plugin" else of_server
    config.write_text(f"{config.read_text()}\n{table}")
    assert "profile_not_found" in asked_of_codex(machine)


def asked_of_codex(machine: Machine) -> str:
    """Return the last request to a model that calls our tool once."""
    with Responses("refresh_aws_sso_token", {"profile": "nobody"}) as model:
        model.call["namespace"] = "mcp__aws_sso"
        url = f"http://127.0.0.1:{model.server_port}/v1"
        provider = f'{{name="x", base_url="{url}", wire_api="responses"}}'
        options = "--skip-git-repo-check -c model=x -c model_provider=x"
        machine.run(
            f"codex exec {options} -c {shlex.quote(f'model_providers.x={provider}')} go"
        )
        return model.asked[-1]


def test_table_of_clients_matches_the_measurements() -> None:
    if not matrix.FILE.is_file():
        pytest.skip("nothing was measured yet: run test_clients.py and test_hosts.py")
    told = matrix.rows_of_page()
    for client, cells in json.loads(matrix.FILE.read_text()).items():
        for (
            column,
            value,
        ) in cells.items():  # cells that no test has reached are missing
            still, told_still = (
                re.sub(r"\d+ ms", "ms", each) for each in (value, told[client][column])
            )
            assert still == told_still, "run: python3 interop/matrix.py --write"


def test_errors_page_has_every_reason() -> None:
    source = SERVER.read_text()
    raised = re.findall(
        r'(?:Failure|failure_for)\(\s*"(\w+)"|^ +reason = "(\w+)"', source, re.MULTILINE
    )
    table = pages()["docs/errors.md"].partition("## `reason`")[2]
    cells = re.findall(r"^\| (`[^|]+)\|", table, re.MULTILINE)[1:]
    told = re.findall(r"`(\w+)`", " ".join(cells))
    assert len(set(told)) == len(told)
    unheard = {"cancelled", "ending"}  # such a call gets no answer
    assert len(raised) > 40
    assert {one or other for one, other in raised} - unheard <= set(told)
    assert [word for word in told if f'"{word}"' not in source] == []


def test_terminal_commands_run(machine: Machine) -> None:
    said = machine.run(
        f"python3 {SERVER} status; python3 {SERVER} refresh nobody --force", code=1
    )
    assert "Traceback" not in said
    assert "nobody" in said
