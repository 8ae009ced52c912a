"""The workflows: their syntax, and each step that can run here, in the order of the file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kit.components import need, real
from kit.workplace import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from kit.machine import Machine

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOT_RUN = {  # start of a step's commands -> why they are not run
    ".ci/run": "it runs this",
    "python -m unittest": ".ci/run and, with decoys of the AWS CLI, .ci/hostile run it",
    "/usr/bin/python3 -m unittest": "the same, with the Python of macOS",
    "apt-get": "it changes the machine",
    "gh release create": "nothing but GitHub has a release to make",
}


def read(name: str) -> Any:
    script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    python = str(real(need("packaging")) / "bin" / "python")
    text = (ROOT / ".github" / "workflows" / name).read_bytes()
    return json.loads(subprocess.check_output([python, "-c", script], input=text))


def commands(workflow: str, job: str) -> list[str]:
    """Return the commands of a job that run here, in the order of the file."""
    steps = [
        step["run"] for step in read(workflow)["jobs"][job]["steps"] if "run" in step
    ]
    return [step for step in steps if not step.startswith(tuple(NOT_RUN))]


def environment(machine: Machine) -> dict[str, str]:
    workspace = {"GITHUB_WORKSPACE": str(machine.checkout), "HOME": str(machine.home)}
    version = machine.run("python3 aws_sso_mcp.py --version", machine.checkout).split()[
        1
    ]
    return {**workspace, "GITHUB_REF_NAME": f"v{version}", "CI": "true"}


# --- What the files say -----------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_well_formed(machine: Machine, path: Path) -> None:
    bin_folder = real(need("packaging")) / "bin"
    machine.run(f"{bin_folder}/actionlint -no-color {path}")
    schema = "--builtin-schema vendor.github-workflows"
    machine.run(f"{bin_folder}/check-jsonschema {schema} {path}")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v[\d.]+", comment), comment


def test_containers_are_pinned_to_a_digest() -> None:
    for path in WORKFLOWS:
        for image in re.findall(r"\bimage: (\S+)", path.read_text()):
            assert re.fullmatch(r"[\w:.-]+@sha256:[0-9a-f]{64}", image), image


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_that_may_sign_run_no_commands_that_install(path: Path) -> None:
    """Who has `id-token: write` can publish in this project's name."""
    workflow = read(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        if "id-token" in job.get("permissions", {}):
            for step in job["steps"]:
                assert "checkout" not in step.get("uses", ""), name
                assert step.get("run", "rm dist/*.mcpb") == "rm dist/*.mcpb", name


def test_release_is_built_with_packages_whose_hashes_are_known() -> None:
    text = (ROOT / ".github" / "build-requirements.txt").read_text()
    for line in text.splitlines()[1:]:
        assert re.fullmatch(r"\w+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line), line
    assert "pip install --require-hashes -r" in "".join(
        commands("release.yml", "build")
    )


def test_every_excluded_step_exists() -> None:
    steps = []
    for path in WORKFLOWS:
        for job in read(path.name)["jobs"].values():
            for step in job.get("steps", ()):
                steps.append(step.get("run", ""))
    for words in NOT_RUN:
        assert any(step.startswith(words) for step in steps), words


# --- What they run ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workflow", "job", "count"),
    [("ci.yml", "interop", 1), ("release.yml", "build", 2), ("release.yml", "pypi", 1)],
)
def test_commands_of_each_job_run(
    machine: Machine, workflow: str, job: str, count: int
) -> None:
    if job == "build":  # it installs packages
        machine.run(f"{sys.executable} -m venv {machine.folder}/venv")
        machine.put("python", machine.folder / "venv" / "bin" / "python")
    steps = commands(workflow, job)
    assert len(steps) == count
    work = machine.folder / "work" / "checkout"
    machine.run(f"git clone -q {machine.checkout} {work}")
    if job == "pypi":  # the artifact of the job before it
        machine.run("python3 .github/mcpb/build.py", work)
    for step in steps:
        machine.run(f"set -e\n{step}", work, env=environment(machine))
    if job == "build":
        assert len(list((work / "dist").iterdir())) == 3
    if job == "pypi":
        assert list((work / "dist").iterdir()) == []
