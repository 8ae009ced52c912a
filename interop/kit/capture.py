#!/usr/bin/env python3
"""Draw the output of the demo for README: `python3 interop/kit/capture.py`.

Writes `docs/demo-light.svg` and `docs/demo-dark.svg`: the demo from its
first command to the refresh of an expired token.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

INTEROP = Path(__file__).resolve().parents[1]
PICTURES = {
    name: INTEROP.parent / "docs" / f"demo-{name}.svg" for name in ("light", "dark")
}
COLUMNS = 48  # so that the text can be read on a phone, 358 pixels wide
MARGIN = 1  # columns to the right of the longest line
AFTER_IT = "Another assistant"

# As GitHub's pages: background, text; black, red, green, yellow, blue, magenta, cyan, white.
COLOURS = {
    "light": "f6f8fa 1f2328 24292f cf222e 1a7f37 9a6700 0969da 8250df 1b7c83 6e7781",
    "dark": "0d1117 e6edf3 484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf b1bac4",
}
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def capture() -> str:
    """Run the demo with colours on; return the part of its output that the picture shows."""
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    demo = subprocess.run(
        [sys.executable, INTEROP / "demo.py", "aws-newest"],
        env={**kept, **terminal},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout
    shown = re.search(rf"(\S*\$ aws .*?)\s+\S*{AFTER_IT}", demo.stdout, re.DOTALL)
    assert shown, demo.stdout
    return shown[1]


def draw(text: str, colours: str) -> str:
    """Return an SVG of a terminal that shows `text` with its ANSI colours."""
    from rich.color import parse_rgb_hex
    from rich.console import Console
    from rich.terminal_theme import TerminalTheme
    from rich.text import Text

    background, foreground, *others = map(parse_rgb_hex, colours.split())
    console = Console(record=True, width=COLUMNS + MARGIN, file=io.StringIO())
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = console.export_svg(
        unique_id="demo",
        title="AWS SSO MCP",
        theme=TerminalTheme(background, foreground, others),
    )
    # Browsers load no web fonts for an image, so use the reader's fonts.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", FONTS)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def text_of(svg: str) -> str:
    """Return the text of a picture without its title."""
    texts = [each for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]
    return " ".join(
        each.text or "" for each in texts if "-title" not in each.attrib["class"]
    )


def main() -> None:
    if not importlib.util.find_spec("rich"):  # the demo's Python has it
        install = [sys.executable, str(INTEROP / "install.py")]
        subprocess.run([*install, "demo"], check=True)
        folder = subprocess.check_output(
            [*install, "--where", "demo"], text=True
        ).strip()
        python = f"{folder}/bin/python"
        os.execv(python, [python, __file__])
    text = capture()
    for name, path in PICTURES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(draw(text, COLOURS[name]), encoding="utf-8")


if __name__ == "__main__":
    main()
