#!/usr/bin/env python3
"""Write into README.md what a run of the demo shows: `python3 interop/kit/capture.py`.

Of the answers it keeps `status` and `message`; the host's name becomes `laptop`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

INTEROP = Path(__file__).resolve().parents[1]
README = INTEROP.parent / "README.md"
START, END = "<!-- interop/kit/capture.py writes this -->\n", "<!-- to here -->\n"
LEFT_OUT = ("assistant> get_aws_sso_status", "The person approved", "Pages opened")


def capture() -> str:
    """Run the demo and return the part of its output that README shows."""
    demo = subprocess.run(
        [sys.executable, INTEROP / "demo.py"], stdout=subprocess.PIPE, text=True, check=True
    )
    text = re.sub(r"(on\s+the\s+machine\s+)\S+?(?=\.\s)", r"\1laptop", demo.stdout)
    parts = re.split(r"\n\n(?=\S)", text[text.index("$ aws") :].strip())
    shown = [shorten(part) for part in parts if not part.startswith(LEFT_OUT)]
    kept = [part for part in shown if "status: valid" not in part]
    return "```text\n" + "\n\n".join(kept) + "\n```\n"


def shorten(part: str) -> str:
    """Return a call with two keys of its answer; all else as it is."""
    if not part.startswith("assistant>"):
        return part
    keys = re.findall(r"^    (?:\[|status|message).*\n?(?:      .*\n?)*", part, re.MULTILINE)
    return part.partition("\n")[0] + "\n" + "".join(keys).rstrip()


def parts_of_readme() -> tuple[str, str, str]:
    """Return what README holds before the capture, the capture, and what comes after."""
    before, _, rest = README.read_text().partition(START)
    shown, _, after = rest.partition(END)
    return before, shown, after


if __name__ == "__main__":
    before, _, after = parts_of_readme()
    README.write_text(before + START + capture() + END + after)
