"""The MCP server of this example: pip install mcp, then python3 server.py. The variable PORT names another port than 8000."""

import os

from mcp.server import MCPServer

mcp = MCPServer("math")


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool()
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


# Stateless with plain JSON answers, so that it can also be tried with curl.
mcp.run("streamable-http", port=int(os.environ.get("PORT", "8000")), stateless_http=True, json_response=True)
