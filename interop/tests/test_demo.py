"""The demo where it can run, its messages where it cannot, and its picture."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit import capture
from kit.components import need, real
from kit.processes import of_folder, soon
from kit.workplace import ROOT

WIDTH = 70
GUIDE = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"


# An AWS CLI v2 that answers too late.
HANGS = (
    f"""exec {sys.executable} -c 'import time; time.sleep(60); print("aws-cli/2.0")'"""
)


class Setting:
    """A machine with only these programs on PATH, and no terminal."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.tmp = folder / "tmp"
        for path in (self.bin, self.tmp):
            path.mkdir()
        self.put("python3", sys.executable)
        self.environment = {
            "HOME": str(folder),
            "PATH": str(self.bin),
            "TMPDIR": str(self.tmp),
            "AWS_SSO_MCP_REAL": str(real(".")),
            "COLUMNS": str(WIDTH),
        }

    def put(self, name: str, *argv: str | Path) -> None:
        program = self.bin / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, argv))} "$@"\n')
        program.chmod(0o755)

    def put_aws(self) -> None:
        self.put("aws", real(need("aws-newest")) / "bin" / "aws")

    def start(
        self, stdout: int = subprocess.PIPE, stderr: int = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, ROOT / "interop" / "demo.py"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def run(self, code: int) -> str:
        """Run the demo; return its output, which is wrapped and has no traceback."""
        with self.start() as process:
            said, _ = process.communicate()
        assert process.returncode == code, said
        assert "Traceback" not in said
        own, _, _ = said.partition("$ python3 aws_sso_mcp.py status")
        long = [line.split() for line in own.splitlines() if len(line) > WIDTH]
        assert [words for words in long if len(words) > 1] == []
        return said


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_demo_uses_the_aws_cli_v2_of_the_machine(setting: Setting) -> None:
    need("demo")
    setting.put("apt-get", "false")
    setting.put_aws()
    setting.put("tee", "/usr/bin/tee")
    said = setting.run(0)
    statuses = re.findall(r"^server +(\w+), after", said, re.MULTILINE)
    assert statuses == ["logged_in", "refreshed", "valid", "pending", "logged_in"]
    assert "Pages opened: 2." in said
    assert re.search(
        r"\$ python3 aws_sso_mcp.py status\nSESSION .*\ncorp +valid ", said
    )
    assert list(setting.tmp.iterdir()) == []


def has_nothing(setting: Setting) -> None:
    """Make all components uninstalled."""
    setting.environment["AWS_SSO_MCP_REAL"] = str(setting.tmp / "real")


@pytest.mark.parametrize(
    ("aws", "apt", "why"),
    [
        ("", "", "apt-get is not installed"),
        (
            "",
            "echo http://archive.ubuntu.com/ubuntu/",
            "this machine's apt has no Debian mirror",
        ),
        ("echo aws-cli/1.45.11 Python/3.11.7", "", "bin/aws is none"),
        ("/no/such/program", "", "bin/aws is none"),
        (HANGS, "", "bin/aws is none"),
    ],
)
def test_demo_without_an_aws_cli_says_where_to_get_one(
    setting: Setting, aws: str, apt: str, why: str
) -> None:
    has_nothing(setting)
    for name, command in (("aws", aws), ("apt-get", apt)):
        if command:
            setting.put(name, "sh", "-c", command)
    setting.put("sh", "/bin/sh")
    said = " ".join(setting.run(1).split())
    assert why in said
    assert said.endswith(f"Install one, then try again: {GUIDE}")
    assert list(setting.tmp.iterdir()) == []


def test_demo_ends_when_the_aws_cli_fails_in_it(setting: Setting) -> None:
    need("demo")
    setting.put(
        "aws", "/bin/sh", "-c", "[ $HOME != /nonexistent ] || echo aws-cli/2.38.1"
    )
    setting.put("tee", "/usr/bin/tee")
    said = " ".join(setting.run(1).split())
    assert said.endswith("Something else was expected: the demo ends here.")


def test_demo_refuses_an_aws_cli_that_others_can_write(setting: Setting) -> None:
    need("demo")
    setting.put_aws()
    setting.put("tee", "/usr/bin/tee")
    setting.bin.chmod(0o777)
    said = " ".join(setting.run(1).split())
    assert (
        f"can be changed by every user; run `chmod o-w` on it ({setting.bin})" in said
    )
    assert said.endswith("Something else was expected: the demo ends here.")
    assert list(setting.tmp.iterdir()) == []


def test_demo_without_a_python_index_says_what_to_check(setting: Setting) -> None:
    has_nothing(setting)
    setting.put_aws()
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    setting.environment.update({**nowhere, "PIP_CONFIG_FILE": os.devnull})
    said = " ".join(setting.run(1).split())
    assert "pip could not install the packages" in said
    assert "$PIP_INDEX_URL say which" in said
    assert list((setting.tmp / "real").iterdir()) == []


@pytest.mark.parametrize("line", ["venv of", "server     logged_in"])
def test_interrupted_demo_leaves_nothing(setting: Setting, line: str) -> None:
    if line == "venv of":
        has_nothing(setting)
    else:
        need("demo")
    setting.put_aws()
    setting.put("tee", "/usr/bin/tee")
    process = setting.start()
    assert process.stdout
    assert any(line in each for each in process.stdout)
    # As Ctrl-C does. While it installs, only itself, so that it must end the others.
    if line == "venv of":
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    with process:
        said = process.stdout.read()
    assert process.wait() == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert "Error" not in said
    assert soon(lambda: not of_folder(setting.tmp))
    assert [path for path in setting.tmp.rglob("*") if path.name != "real"] == []


def test_demo_ends_when_its_output_is_closed(setting: Setting) -> None:
    need("demo")
    setting.put_aws()
    setting.put("tee", "/usr/bin/tee")
    with setting.start(stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert any("server     logged_in" in line for line in process.stdout)
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
    assert soon(lambda: not of_folder(setting.tmp))
    assert list(setting.tmp.iterdir()) == []


@pytest.mark.parametrize("installs", [True, False])
def test_demo_reports_a_full_disk_in_one_line(setting: Setting, installs: bool) -> None:
    if installs:
        has_nothing(setting)
    else:
        need("demo")
    setting.put_aws()
    setting.put("tee", "/usr/bin/tee")
    with Path("/dev/full").open("w") as full:
        process = setting.start(full.fileno(), subprocess.PIPE)
    _, said = process.communicate()
    assert said == "\nThe demo ends here: [Errno 28] No space left on device\n"
    assert process.returncode == 1
    assert soon(lambda: not of_folder(setting.tmp))
    assert [path for path in setting.tmp.rglob("*") if path.name != "real"] == []


def test_picture_shows_a_real_run() -> None:
    need("demo")
    need("aws-newest")

    def still(text: str) -> str:
        words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())
        return re.sub(r"\d+\.\d s", "0.0 s", words)

    now = still(capture.capture())
    shown = [path.read_text(encoding="utf-8") for path in capture.PICTURES.values()]
    again = "run: python3 interop/kit/capture.py"
    assert [still(capture.text_of(svg)) for svg in shown] == [now, now], again
    assert max(map(len, shown)) < 60_000
    # Browsers load nothing else for an image.
    assert not [svg for svg in shown if re.search(r"url\((?!#)|@import|href=", svg)]
