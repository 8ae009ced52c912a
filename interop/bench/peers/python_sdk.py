"""The two tools on the official Python SDK."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("bench")


@server.tool()
def refresh_aws_sso_token(profile: str | None = None, force: bool = False) -> str:
    """Renew an expired or missing AWS SSO token."""
    return f"{profile} {force}"


@server.tool()
def get_aws_sso_status(profile: str | None = None) -> str:
    """Tell which AWS SSO sessions there are."""
    return f"{profile}"


server.run()
