"""Load the AWS config of this HOME once per line on stdin, and print the time in ms.

The argument says how: by `botocore` alone, or by the server, for the `choice` of a profile or for
`status`. It uses the server directly, so that the benchmark can measure other versions of it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def botocore() -> Any:
    import botocore.session

    return botocore.session.Session().full_config


def choice() -> Any:
    import aws_sso_mcp

    return aws_sso_mcp.choose_profile(aws_sso_mcp.read_aws_config(), None)


def status() -> Any:
    import aws_sso_mcp

    return aws_sso_mcp.get_aws_sso_status(aws_sso_mcp.Call(lambda _: None))


load = {"botocore": botocore, "choice": choice, "status": status}[sys.argv[1]]
load()  # imports the modules
for _ in sys.stdin:
    wall = time.perf_counter()
    cpu = time.process_time()
    load()
    times = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps([each * 1000 for each in times]), flush=True)
