"""What tests, demo and benchmark are made of.

`components`: the real programs, and where they lie. `identity_center`: AWS, on loopback; `person`:
who opens its pages; `workplace`: a HOME with a real AWS CLI at that centre; `windows`: Windows,
under Wine. `desk`: a HOME with stand-ins, and bare clients. `drivers`, `clients/`: real MCP
clients; `model`: a model for hosts that need one; `wire`: what passed, beside MCP's schemas.
`processes`: what runs, and what is left. `machine`: a HOME to install in. `inside`: all that is
used of the server's own functions. `capture`: the demo's picture.
"""
