#!/usr/bin/env python3
"""Draw the plugin's icon, a key: `python3 interop/icon.py` writes .claude-plugin/icon.png."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIZE = 512
GROUND, KEY = (26, 43, 71), (255, 176, 32)
SHADES = 16  # from ground to key, for smooth edges
ICON = Path(__file__).resolve().parents[1] / ".claude-plugin" / "icon.png"


def inside(x: float, y: float) -> bool:
    """Tell whether a point lies on the key."""
    ring = 58**2 <= (x - 176) ** 2 + (y - 256) ** 2 <= 104**2
    stem = 270 <= x <= 436 and 234 <= y <= 278
    teeth = 270 <= y <= 334 and (336 <= x <= 370 or 402 <= x <= 436)
    return ring or stem or teeth


def row(y: int) -> bytes:
    """Return a row of a PNG: its filter, then two pixels a byte."""
    quarters = [(dx, dy) for dx in (0.25, 0.75) for dy in (0.25, 0.75)]
    shades = [
        sum(inside(x + dx, y + dy) for dx, dy in quarters) * (SHADES - 1) // 4 for x in range(SIZE)
    ]
    pairs = zip(shades[::2], shades[1::2])
    return b"\0" + bytes(left << 4 | right for left, right in pairs)


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    palette = bytes(
        ground + (key - ground) * shade // (SHADES - 1)
        for shade in range(SHADES)
        for ground, key in zip(GROUND, KEY)
    )
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 4, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(map(row, range(SIZE))), 9)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


if __name__ == "__main__":
    ICON.write_bytes(png())
