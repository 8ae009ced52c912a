#!/usr/bin/env python3
"""Print as a Markdown table what the last runs of test_clients.py and test_hosts.py measured.

python3 interop/matrix.py
"""

from __future__ import annotations

import json
import sys

from kit.components import REAL, version

FILE = REAL / "matrix.json"
COLUMNS = {
    "commands": "its commands",
    "revision": "era spoken",
    "listed": "listed",
    "called": "called",
    "progress": "progress",
    "login": "login through pending",
    "cancelled": "cancelled",
    "limit": "after its own timeout",
    "closed": "shut down in",
}


class Matrix:
    """A row for each client, written by tests as they go; what no test reached stays empty."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}

    def write(self, client: str, component: str, **cells: str) -> None:
        row = self.rows.setdefault(client, {"version": version(component).split()[-1]})
        row.update(cells)

    def save(self) -> None:
        """Add the rows to those that other runs, and other workers of this one, have saved."""
        rows = json.loads(FILE.read_text()) if FILE.is_file() else {}
        for name, row in self.rows.items():
            rows.setdefault(name, {}).update(row)
        FILE.write_text(json.dumps(rows, indent=1))


def table(rows: dict[str, dict[str, str]]) -> str:
    keys = ("version", *COLUMNS)
    header = ("client", "version", *COLUMNS.values())
    cells = [(name, *(row.get(key, "-") for key in keys)) for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *cells))


if __name__ == "__main__":
    if not FILE.is_file():
        sys.exit("nothing was measured yet: run test_clients.py and test_hosts.py in interop/tests")
    print(table(json.loads(FILE.read_text())))
