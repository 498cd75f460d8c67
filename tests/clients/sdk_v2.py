"""A client on the 2.x line of the Python SDK. Lists the tools, then calls some; prints JSON.

usage: sdk_v2.py URL TOKEN auto|legacy TOOL...
"""

import asyncio
import json
import sys

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


async def main(url: str, token: str, mode: str, tools: list[str]) -> dict:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            report = {"tools": [tool.name for tool in (await client.list_tools()).tools], "calls": {}}
            for tool in tools:
                try:
                    result = await client.call_tool(tool, {"a": 6, "b": 7})
                    report["calls"][tool] = result.content[0].text
                except MCPError as error:
                    report["calls"][tool] = error.error.message
            return report


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


try:
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))))
except BaseException as error:
    print(json.dumps({"error": "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))}))
