#!/usr/bin/env python3
"""Build the bundle for Claude Desktop: `python3 .github/mcpb/build.py [FOLDER]`.

Writes aws-sso-mcp-VERSION.mcpb into FOLDER (`dist`) and prints its path. A bundle is a zip of
manifest.json and the server; the same files give the same bytes, on every machine.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = (
    HERE / "manifest.json",
    HERE.parents[1] / "aws_sso_mcp.py",
    HERE.parents[1] / "LICENSE",
)


def build(folder: Path) -> Path:
    """Return the bundle that it wrote into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    version = json.loads(FILES[0].read_text(encoding="utf-8"))["version"]
    bundle = folder / f"aws-sso-mcp-{version}.mcpb"
    with zipfile.ZipFile(bundle, "w") as archive:
        for path in FILES:
            entry = zipfile.ZipInfo(path.name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, whatever it is built on
            entry.external_attr = (0o755 if path.suffix == ".py" else 0o644) << 16
            # Not compressed: compressors differ from one Python to the next.
            archive.writestr(entry, path.read_bytes().replace(b"\r\n", b"\n"))
    return bundle


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1] if len(sys.argv) > 1 else 'dist'))}\n")
