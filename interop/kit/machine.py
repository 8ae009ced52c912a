"""A machine to install on: a fresh HOME, a checkout, and a local folder as github.com."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Optional

from kit.components import real
from kit.inside import VERSION

Variables = Optional[dict[str, str]]

# The variables that tell this machine's packaging tools their registries.
WAYS = re.compile(
    r"(PIP|UV)_.*|npm_config_.*|(SSL|REQUESTS)_.*|.*_proxy", re.IGNORECASE
)


class Machine(NamedTuple):
    """A fresh HOME and a checkout; github.com is a local folder with a clone of it."""

    folder: Path
    checkout: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self) -> dict[str, str]:
        ways = {name: os.environ[name] for name in os.environ if WAYS.fullmatch(name)}
        return {
            **ways,
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "GIT_CONFIG_GLOBAL": str(self.checkout.parent / "gitconfig"),
            "AWS_SSO_MCP_REAL": str(real(".")),
            "NO_COLOR": "1",
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        }

    def put(self, name: str, *argv: str | Path) -> None:
        """Put a command on PATH that runs `argv`."""
        program = self.folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, argv))} "$@"\n')
        program.chmod(0o755)

    def run(
        self,
        command: str,
        cwd: Path | None = None,
        code: int = 0,
        env: Variables = None,
    ) -> str:
        """Run a user's command line and return its stdout and stderr."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=cwd or self.folder / "work",
            env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def serves(
        self, command: str, cwd: Path | None = None, env: Variables = None
    ) -> None:
        """Assert that a command line starts this version of the server."""
        about = {"name": "test", "version": "1"}
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": about,
        }
        asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        done = subprocess.run(
            shlex.split(command),
            cwd=cwd or self.folder / "work",
            env={**self.environment(), **(env or {})},
            input=json.dumps(asked) + "\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        [line] = done.stdout.splitlines()
        assert json.loads(line)["result"]["serverInfo"]["version"] == VERSION
