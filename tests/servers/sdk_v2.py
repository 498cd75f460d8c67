"""An MCP server on the 2.x line of the Python SDK: both eras of the protocol on one endpoint."""

import os
import sys

import uvicorn
from mcp.server import MCPServer

mcp = MCPServer("math")


def ran(tool: str) -> None:
    """Tells the test that a tool really ran."""
    print(f"RAN {tool}", file=sys.stderr, flush=True)


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    ran("add")
    return a + b


@mcp.tool()
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    ran("multiply")
    return a * b


uvicorn.run(mcp.streamable_http_app(), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
