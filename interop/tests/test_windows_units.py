"""The unit tests on Windows' own Pythons under Wine; configs compared with botocore there.

Each skipped test gives its reason; only reasons that hold on every Windows are allowed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from kit.components import need
from kit.inside import READ_CONFIG
from kit.windows import PYTHON, in_wine
from kit.workplace import ROOT

TESTS = ROOT / "test_aws_sso_mcp.py"
SKIPPED = {
    "Windows can wait for no pipe",
    "Windows has no flock",
    "Windows has no fork",
    "Windows has no limit on the size of files",
    "Windows has no pipes and devices in folders",
    "Windows has no sockets of this kind",
    "Windows has no such files",
    "Windows has no such limit",
    "Windows has no such pipes",
    "Windows has no such signals",
    "Windows has no such terminals",
    "Windows has two such places",
    "WSL is a Linux",
    "only Linux tells it to Python",
    "Windows removes no file that is open",
    "Windows removes no folder that is in use",
    "Windows sends no such signal",
    "elsewhere its mode is that of a copy",
    "file modes say nothing on Windows",
    "needs Linux's /dev/full",
    "needs Linux's /proc",
    "needs a machine whose encoding is UTF-8",
    "needs a pair of sockets",
    "needs a pseudo-terminal",
    "on Windows a lock ends with the server",
    "on Windows a signal cannot come at a byte code",
    "users and groups are otherwise on Windows",
}
SKIPPED_ON = {"3.9": {"has no reader of TOML"}, "3.13": set()}
# The sections in which Python's versions may differ on Windows. The oldest one runs these.
ON_OLD_PYTHON = (
    "Errors and settings",
    "The outside world",
    "AWS configuration",
    "Token cache",
)
# Slow: one stand-in per answer. All run, on both Pythons, if this variable is set.
ALL = "AWS_SSO_MCP_ALL_ON_WINDOWS"
SKIPPED_BY_SLOW = {"a stand-in of a shell"}
SLOW = {
    "AnswerTest",
    "CliFailureTest",
    "ElicitationTest",
    "ForceTest",
    "LoginFailureTest",
    "LoginTest",
    "ManyPagesTest",
    "RefreshTest",
    "SharedLoginTest",
    "TaskTest",
}
# Prints how the CLI's botocore and the server read each case.
COMPARE = (
    READ_CONFIG
    + """
import json, locale, os, sys, tempfile
sys.path.append(r"C:\\aws\\lib")
import awscli  # whose own botocore is the only one from now on
from botocore.configloader import load_config
from botocore.exceptions import ConfigParseError
from test_aws_sso_mcp import CASES

def theirs(path):
    try:
        config = load_config(path)
    except ConfigParseError:
        return None
    return [config["profiles"], config["sso_sessions"]]

cases = {case[0]: case[1].encode("latin-1" if case[0] == "latin-1" else "utf-8") for case in CASES}
cases["no cp1252"] = b"[profile \\x81]\\nx = 1\\n"
cases["mark"] = b"\\xef\\xbb\\xbf[profile a]\\nx = 1\\n"
found = {}
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "config")
    os.environ.update(AWS_CONFIG_FILE=path, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    for name, content in cases.items():
        with open(path, "wb") as file:
            file.write(content)
        found[name] = theirs(path), ours()
print(json.dumps([locale.getpreferredencoding(False), found]))
"""
)


def classes_in(text: str) -> set[str]:
    """Return the names of the classes of tests in a text."""
    return set(re.findall(r"(?m)^class (\w*Test)\(", text))


def run(*argv: str) -> str:
    """Return the output of a program in Windows, which must succeed."""
    command, variables = in_wine(*argv)
    done = subprocess.run(
        command,
        env=variables,
        cwd=ROOT,
        input="",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",  # a traceback can show a name in another encoding
        timeout=900,  # on a busy machine
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_unit_tests_pass_on_windows(version: str) -> None:
    need("windows")
    text = TESTS.read_text(encoding="utf-8")
    tests = classes_in(text)
    assert tests > SLOW
    classes = tests - SLOW
    expected = SKIPPED | SKIPPED_ON[version]
    is_part = version == "3.9" and not os.environ.get(ALL)
    if os.environ.get(ALL):
        classes = tests
        expected |= SKIPPED_BY_SLOW
    elif is_part:
        classes = set()
        for section in ON_OLD_PYTHON:
            _, _, rest = text.partition(f"\n# --- {section} -")
            classes |= classes_in(rest.partition("\n# --- ")[0])
    argv = [
        "-m",
        "unittest",
        "-v",
        *(f"test_aws_sso_mcp.{name}" for name in sorted(classes)),
    ]
    told = run(f"C:\\Python{version}\\python.exe", *argv)
    reasons = set(re.findall(r"skipped ['\"](.+)['\"]$", told, re.MULTILINE))
    if is_part:
        assert reasons < expected
    else:
        assert reasons == expected


def test_config_is_read_in_the_encoding_that_the_cli_uses() -> None:
    need("windows")
    encoding, found = json.loads(run(PYTHON, "-c", COMPARE))
    assert encoding == "cp1252"
    assert found["unicode"][0][0] != found["latin-1"][0][0]
    assert found["no cp1252"] == found["mark"] == [None, None]
    assert [name for name, (theirs, ours) in found.items() if theirs != ours] == []
