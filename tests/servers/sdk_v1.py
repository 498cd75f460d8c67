"""An MCP server on the 1.x line of the Python SDK: Streamable HTTP with sessions, answers as server-sent
events; or HTTP+SSE, where the variable TRANSPORT says sse."""

import asyncio
import os
import sys

from mcp.server.fastmcp import Context, FastMCP

mcp = FastMCP("math", host="127.0.0.1", port=int(os.environ["PORT"]), log_level="WARNING")


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


@mcp.tool()
async def count(to: int, ctx: Context) -> str:
    """Count slowly, telling of each step."""
    ran("count")
    for step in range(to):
        await ctx.report_progress(step, to)
        await asyncio.sleep(0.05)
    return "done"


@mcp.prompt()
def greeting(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


@mcp.resource("note://today")
def today() -> str:
    """Today's note."""
    return "nothing"


mcp.run(transport=os.environ.get("TRANSPORT", "streamable-http"))
