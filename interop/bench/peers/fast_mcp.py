"""The two tools on fastmcp."""

from __future__ import annotations

from fastmcp import FastMCP


def refresh_aws_sso_token(profile: str | None = None, force: bool = False) -> str:
    """Renew an expired or missing AWS SSO token."""
    return f"{profile} {force}"


def get_aws_sso_status(profile: str | None = None) -> str:
    """Tell which AWS SSO sessions there are."""
    return f"{profile}"


server = FastMCP("bench")
server.tool(refresh_aws_sso_token)
server.tool(get_aws_sso_status)
server.run(show_banner=False)
