"""SSO profiles in a HOME, each with a token that ends at a known time."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
[sso-session {name}]
sso_start_url = https://{name}.awsapps.com/start
sso_region = us-east-1

[profile {name}]
sso_session = {name}
sso_account_id = 111122223333
sso_role_name = Reader

"""
EXPIRED = "Error when retrieving token from sso: Token has expired and refresh failed"


def write_profiles(home: Path, minutes_left: dict[str, float]) -> None:
    """Write an AWS config with these profiles, and their tokens: the last was used last."""
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    texts = [CONFIG.format(name=name) for name in minutes_left]
    (home / ".aws" / "config").write_text("".join(texts))
    age = 3_600
    for name, minutes in minutes_left.items():
        ends = time.gmtime(time.time() + 60 * minutes)
        token = {
            "accessToken": "x",
            "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", ends),
        }
        file = cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
        file.write_text(json.dumps(token))
        age -= 60
        os.utime(file, (time.time() - age, time.time() - age))
