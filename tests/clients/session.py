"""One session on the 2.x line of the Python SDK that stays open: reads a line, does it, prints the answer as JSON.

usage: session.py URL TOKEN

Lines: `list` lists the tools, anything else is the name of a tool to call with a = 6, b = 7.
"""

import asyncio
import json
import sys

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


async def answer(client: Client, line: str) -> str:
    try:
        if line == "list":
            return ", ".join(tool.name for tool in (await client.list_tools()).tools)
        return (await client.call_tool(line, {"a": 6, "b": 7})).content[0].text
    except MCPError as error:
        return error.error.message


statuses = []


async def remember(response: httpx2.Response) -> None:
    statuses.append(response.status_code)


async def main(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, event_hooks={"response": [remember]}) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await answer(client, line.strip())), flush=True)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


try:
    asyncio.run(main(sys.argv[1], sys.argv[2]))
except BaseException as error:
    # The client could not even connect: that is the answer to everything. What the SDK says of it leaves out the status.
    said = "; ".join(str(leaf) for leaf in leaves(error))
    for _ in sys.stdin:
        print(json.dumps(f"{statuses[-1] if statuses else 'no answer'} {said}"), flush=True)
