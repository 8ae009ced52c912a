#!/usr/bin/env python3
"""Print what the last runs of test_clients.py and test_hosts.py measured, as Markdown tables.

python3 interop/matrix.py            print them
python3 interop/matrix.py --write    replace the tables in docs/clients.md
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from kit.components import REAL, version

FILE = REAL / "matrix.json"
PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
# Two tables, so that a page of 832 pixels shows all columns.
FIRST_COLUMNS = {
    "version": "version",
    "commands": "its commands",
    "revision": "MCP revision",
    "listed": "listed",
    "called": "called",
}
SECOND_COLUMNS = {
    "progress": "progress",
    "login": "login through `pending`",
    "cancelled": "cancelled",
    "limit": "after its own timeout",
    "closed": "server gone in",
}


class Matrix:
    """One row per client, filled by the tests; cells that no test reached stay empty."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}

    def write(self, client: str, component: str, **cells: str) -> None:
        row = self.rows.setdefault(client, {"version": version(component).split()[-1]})
        row.update(cells)

    def save(self) -> None:
        """Merge the rows into those that other runs and other workers have saved."""
        rows = json.loads(FILE.read_text()) if FILE.is_file() else {}
        for name, row in self.rows.items():
            rows.setdefault(name, {}).update(row)
        FILE.write_text(json.dumps(rows, indent=1))


def tables(rows: dict[str, dict[str, str]]) -> str:
    return f"{table(rows, FIRST_COLUMNS)}\n{table(rows, SECOND_COLUMNS)}"


def table(rows: dict[str, dict[str, str]], columns: dict[str, str]) -> str:
    header = ("client", *columns.values())
    names = sorted(rows, key=str.casefold)
    lines = [header, ("---",) * len(header)]
    for name in names:
        cells = [rows[name].get(key, "-") for key in columns]
        lines.append((name, *cells))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def parts_of_page() -> tuple[str, str, str]:
    """Return the page's text before the tables, the tables, and the text after them."""
    before, shown, after = re.split(
        r"(?m)(^\| client \| version .*\n(?:\|.*\n)+\n(?:\|.*\n)+)", PAGE.read_text()
    )
    return before, shown, after


def rows_of_page() -> dict[str, dict[str, str]]:
    """Return what the page says of each client."""
    _, shown, _ = parts_of_page()
    rows: dict[str, dict[str, str]] = {}
    for text, columns in zip(shown.split("\n\n"), (FIRST_COLUMNS, SECOND_COLUMNS)):
        for line in text.splitlines()[2:]:
            client, *cells = re.split(r" *\| *", line)[1:-1]
            rows.setdefault(client, {}).update(zip(columns, cells))
    return rows


if __name__ == "__main__":
    if not FILE.is_file():
        sys.exit(
            "nothing was measured yet: run test_clients.py and test_hosts.py in interop/tests"
        )
    measured = tables(json.loads(FILE.read_text()))
    if sys.argv[1:] == ["--write"]:
        before, _, after = parts_of_page()
        PAGE.write_text(before + measured + after)
    else:
        print(measured, end="")
