"""A client on either line of the Python SDK that does what every client of the tests does; prints what came of it as JSON.

usage: use.py URL TOKEN VERSION
"""

import asyncio
import contextlib
import json
import sys

import anyio

try:
    import httpx2
    import mcp_types as types
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.exceptions import MCPError
except ImportError:
    from mcp import ClientSession, types
    from mcp import McpError as MCPError
    from mcp.client.streamable_http import streamablehttp_client

    Client = None

updates = asyncio.Queue()


async def hear(message) -> None:
    notification = getattr(message, "root", message)
    if isinstance(notification, types.ResourceUpdatedNotification):
        updates.put_nowait(str(notification.params.uri))


@contextlib.asynccontextmanager
async def connected(url: str, token: str, version: str):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if Client is None:
        async with streamablehttp_client(url, headers=headers) as (read, write, _):
            async with ClientSession(read, write, message_handler=hear) as session:
                await session.initialize()
                yield session
    else:
        mode = "legacy" if version < "2026" else version
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=mode, message_handler=hear) as client:
                yield client


async def outcome(action):
    """A result, or the code of an error."""
    try:
        return await action
    except MCPError as error:
        return {"code": error.error.code}


async def use(client, version: str) -> dict:
    async def call(name: str, arguments: dict) -> str:
        return (await client.call_tool(name, arguments)).content[0].text

    async def get(name: str, arguments: dict) -> str:
        return (await client.get_prompt(name, arguments)).messages[0].content.text

    async def read(uri: str) -> str:
        return (await client.read_resource(uri)).contents[0].text

    async def complete(prompt: str) -> list[str]:
        ref = types.PromptReference(type="ref/prompt", name=prompt)
        return (await client.complete(ref, {"name": "name", "value": "a"})).completion.values

    async def updated(heard) -> str:
        # Touches until an update comes: nobody says when a subscription begins.
        for _ in range(50):
            await call("touch", {"uri": "note://today"})
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(heard(), 0.1)
        return "no update"

    async def subscribe() -> str:
        if version < "2026":
            await client.subscribe_resource("note://today")
            return await updated(updates.get)
        async with client.listen(resource_subscriptions=["note://today"]) as subscription:
            events = aiter(subscription)
            heard = asyncio.ensure_future(anext(events))

            async def next_event() -> str:
                return (await asyncio.shield(heard)).uri

            return await updated(next_event)

    async def cancel() -> str:
        with anyio.move_on_after(1) as scope:
            await call("count", {"to": 200})
        return "cancelled" if scope.cancelled_caught else "not cancelled"

    templates = await client.list_resource_templates()
    report = {
        "tools": [tool.name for tool in (await client.list_tools()).tools],
        "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
        "resources": [str(resource.uri) for resource in (await client.list_resources()).resources],
        "templates": [
            template["uriTemplate"] for template in templates.model_dump(by_alias=True)["resourceTemplates"]
        ],
    }
    for name in ["add", "multiply"]:
        report[name] = await outcome(call(name, {"a": 6, "b": 7}))
    report["greeting"] = await outcome(get("greeting", {"name": "Bob"}))
    report["secret"] = await outcome(get("secret", {}))
    for uri in ["note://today", "note://secret"]:
        report[uri] = await outcome(read(uri))
    for prompt in ["greeting", "secret"]:
        report[f"complete {prompt}"] = await outcome(complete(prompt))
    report["subscribe"] = await outcome(subscribe())
    report["cancel"] = await outcome(cancel())
    if version < "2026":
        report["pause"] = await outcome(call("pause", {}))
    return report


async def main(url: str, token: str, version: str) -> None:
    async with connected(url, token, version) as client:
        print(json.dumps(await asyncio.wait_for(use(client, version), 60)))


asyncio.run(main(*sys.argv[1:]))
