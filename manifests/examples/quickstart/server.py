"""The MCP server of this example: pip install mcp, then python3 server.py. The variables HOST and PORT name another
address than 127.0.0.1 and another port than 8000."""

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
host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
mcp.run("streamable-http", host=host, port=port, stateless_http=True, json_response=True)
