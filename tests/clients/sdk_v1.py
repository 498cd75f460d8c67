"""A client on the 1.x line of the Python SDK. Lists the tools, then calls some in one session; prints JSON. A URL that ends in
/sse is that of the transport HTTP+SSE.

usage: sdk_v1.py URL TOKEN TOOL...
"""

import asyncio
import json
import sys

from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str, token: str, tools: list[str]) -> dict:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = sse_client if url.endswith("/sse") else streamablehttp_client
    async with transport(url, headers=headers) as (read, write, *_):
        async with ClientSession(read, write) as session:
            await session.initialize()
            report = {"tools": [tool.name for tool in (await session.list_tools()).tools], "calls": {}}
            for tool in tools:
                try:
                    result = await session.call_tool(tool, {"a": 6, "b": 7})
                    report["calls"][tool] = result.content[0].text
                except McpError as error:
                    report["calls"][tool] = error.error.message
            return report


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


try:
    print(json.dumps(asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2], sys.argv[3:]), 60))))
except BaseException as error:
    print(json.dumps({"error": "; ".join(repr(leaf) if not str(leaf) else str(leaf) for leaf in leaves(error))}))
