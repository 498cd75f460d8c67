"""An MCP server on the 2.x line of the Python SDK: both eras of the protocol on one endpoint."""

import asyncio
import json
import os
import sys

import mcp_types as types
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from pydantic import BaseModel

from events import EventLog

mcp = MCPServer("math")


def tell(word: str, tool: str) -> None:
    """Tells the test that a tool really ran, or stopped."""
    print(f"{word} {tool}", file=sys.stderr, flush=True)


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    tell("RAN", "add")
    return a + b


@mcp.tool()
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    tell("RAN", "multiply")
    return a * b


class Repo(BaseModel):
    owner: str


@mcp.tool()
def act(repo: Repo, to: str, force: bool = False, amount: int = 0, labels: list[str] = []) -> str:
    """Act, and tell with which arguments."""
    did = {"owner": repo.owner, "to": to, "force": force, "amount": amount, "labels": labels}
    tell("RAN", f"act {json.dumps(did)}")
    return "done"


@mcp.tool()
async def count(to: int, ctx: Context) -> str:
    """Count slowly, telling of each step."""
    tell("RAN", "count")
    try:
        for step in range(to):
            await ctx.report_progress(step, to)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        tell("STOPPED", "count")
        raise
    return "done"


@mcp.tool()
async def pause(ctx: Context) -> str:
    """Close the stream; the result comes on the next."""
    tell("RAN", "pause")
    # A stream that is closed before its first event has gone out is one that nobody can ask for again.
    await asyncio.sleep(0.5)
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return "resumed"


@mcp.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Tell whoever subscribed that a resource was updated."""
    tell("RAN", "touch")
    await ctx.notify_resource_updated(uri)
    await ctx.session.send_resource_updated(uri)
    return "done"


@mcp.prompt()
def greeting(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


@mcp.prompt()
def secret() -> str:
    """A prompt that not everybody may have."""
    tell("RAN", "secret")
    return "hidden"


@mcp.resource("note://today")
def today() -> str:
    """Today's note."""
    return "nothing"


@mcp.resource("note://secret")
def secret_note() -> str:
    """A note that not everybody may read."""
    tell("RAN", "note://secret")
    return "hidden"


@mcp.resource("note://day/{day}")
def day_note(day: str) -> str:
    """The note of a day."""
    return f"nothing on {day}"


@mcp.resource("secret://day/{day}")
def secret_day_note(day: str) -> str:
    """The note of a day that not everybody may read."""
    tell("RAN", "secret://day")
    return "hidden"


@mcp.completion()
async def complete(ref, argument, context) -> types.Completion:
    """Names that begin so."""
    tell("RAN", "completion")
    return types.Completion(values=[name for name in ("alice", "bob") if name.startswith(argument.value)])


async def accept(context, params) -> types.EmptyResult:
    return types.EmptyResult()


# The old era's subscriptions and log level, of which the high-level server knows nothing.
mcp._lowlevel_server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, accept)
mcp._lowlevel_server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, accept)
mcp._lowlevel_server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, accept)

if __name__ == "__main__":
    app = mcp.streamable_http_app(event_store=EventLog(), retry_interval=10)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
