"""A client on the 1.x line of the Python SDK that has no token: it finds out where to log in, does so, then lists the tools
and calls some. Prints JSON: with all HTTP exchanges of the client.

usage: login_v1.py URL register|known|cimd=URL TOOL...     register: as a new client; known: as known-client; cimd: as
the client that the document at this URL describes
"""

import asyncio
import json
import sys
from pathlib import Path

import httpx
from mcp import ClientSession, McpError
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

sys.path.insert(0, str(Path(__file__).parent))
import resolve  # noqa: E402, F401
import browser  # noqa: E402

CALLBACK = "http://127.0.0.1/callback"


class Memory:
    def __init__(self, client):
        self.tokens, self.client = None, client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


exchanges = []


async def main(url: str, flow: str, tools: list[str]) -> dict:
    login = {}

    async def record(answer):
        challenge = answer.headers.get("www-authenticate")
        exchanges.append([answer.request.method, str(answer.request.url), answer.status_code, challenge])

    async def go(to: str) -> None:
        exchanges.append(["BROWSER", to.split("?")[0], 302, None])
        login.clear()
        login.update(await asyncio.to_thread(browser.log_in, to, CALLBACK))

    async def come_back() -> tuple[str, str | None]:
        return login["code"], login.get("state")

    known = OAuthClientInformationFull(
        client_id="known-client", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"
    )
    memory = Memory(known if flow == "known" else None)
    metadata = OAuthClientMetadata(redirect_uris=[CALLBACK], client_name="test", token_endpoint_auth_method="none")
    document = flow.removeprefix("cimd=") if flow.startswith("cimd=") else None
    provider = OAuthClientProvider(url, metadata, memory, go, come_back, client_metadata_url=document)
    async with httpx.AsyncClient(auth=provider, event_hooks={"response": [record]}, timeout=30) as http:
        async with streamable_http_client(url, http_client=http) as (read, write, *_), ClientSession(read, write) as client:
            await client.initialize()
            report = {"tools": [tool.name for tool in (await client.list_tools()).tools], "calls": {}}
            for tool in tools:
                try:
                    result = await client.call_tool(tool, {"a": 6, "b": 7})
                    report["calls"][tool] = result.content[0].text
                except McpError as error:
                    report["calls"][tool] = error.error.message
    return report | {"exchanges": exchanges, "scope": memory.tokens.scope, "token": memory.tokens.access_token}


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


try:
    print(json.dumps(asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2], sys.argv[3:]), 60))))
except BaseException as error:
    print(json.dumps({"error": "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error)), "exchanges": exchanges}))
