"""The smallest possible server in Python: constant results, passed as JSON by method."""

import json
import sys

RESULTS = json.loads(sys.argv[1])

for line in sys.stdin.buffer:
    request = json.loads(line)
    if "id" in request:
        answer = {
            "jsonrpc": "2.0",
            "id": request["id"],
            "result": RESULTS[request["method"]],
        }
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
