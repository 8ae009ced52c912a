"""The parts that tests, demo and benchmark share.

- `components`: the real programs, and where they are installed
- `identity_center`: AWS on loopback; `person`: the user who opens its pages
- `workplace`: a HOME with a real AWS CLI and that Identity Center; `windows`: Windows under Wine
- `desk`: a HOME with stand-ins, and simple clients; `stage`: the same for runs without a script
- `shim`: failing system calls
- `drivers`, `clients/`: real MCP clients; `model`: a model for hosts that need one
- `wire`: recorded messages, validated with MCP's schemas
- `processes`: which processes run, and which are left
- `machine`: a HOME to install in
- `inside`: the only use of the server's own functions
- `capture`: the picture of the demo
"""
