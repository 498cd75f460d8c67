"""What the official conformance suite expects of a server, on the 2.x line of the Python SDK."""

import asyncio
import json
import os
import pathlib
import re

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

from events import EventLog

DATA = json.loads(pathlib.Path(__file__).with_name("conformance.json").read_text())
bus = InMemorySubscriptionBus()


def done(text: str = "done") -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def answers(request: dict, response) -> bool:
    """Whether that is an answer to a request of the server, and one of its form."""
    response = response if isinstance(response, dict) or response is None else response.model_dump(by_alias=True)
    if response is None:
        return False
    if request["method"] != "elicitation/create":
        return True
    schema, content = request["params"]["requestedSchema"], response.get("content") or {}
    forms = {"string": str, "boolean": bool}
    return response.get("action") == "accept" and all(
        isinstance(content.get(name), forms[schema["properties"][name]["type"]]) for name in schema.get("required", [])
    )


def ask(name: str, params, capabilities) -> types.InputRequiredResult | None:
    """What the server asks in this round; nothing when all is said."""
    rounds, responses, state = DATA["rounds"][name], params.input_responses or {}, params.request_state
    now = int(state) if state else 0
    if name == "test_input_required_result_capabilities":
        wanted = {"elicitation/create": capabilities.elicitation, "sampling/createMessage": capabilities.sampling}
        rounds = [{key: each for key, each in rounds[0].items() if wanted[each["method"]] is not None}]
    if all(answers(request, responses.get(key)) for key, request in rounds[now].items()):
        now += 1
    if now == len(rounds):
        return None
    keeps_state = len(rounds) > 1 or "state" in name or "multiple" in name
    value = {"resultType": "input_required", "inputRequests": rounds[now]}
    return types.InputRequiredResult.model_validate(value | ({"requestState": str(now)} if keeps_state else {}))


async def call_tool(ctx, params) -> types.CallToolResult | types.InputRequiredResult:
    session, name, arguments = ctx.session, params.name, params.arguments or {}
    if name in DATA["results"]:
        return types.CallToolResult.model_validate(DATA["results"][name])
    if name in DATA["rounds"]:
        return ask(name, params, session.client_capabilities) or done(f"Hello! {name} state-ok")
    if name in DATA["elicitations"]:
        properties = DATA["elicitations"][name]
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        result = await session.elicit_form(arguments.get("message", "Please say"), schema, ctx.request_id)
        return done(f"action={result.action}, content={result.content}")
    match name:
        case "test_sampling":
            content = types.TextContent(type="text", text=arguments["prompt"])
            message = types.SamplingMessage(role="user", content=content)
            result = await session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
            return done(f"LLM response: {result.content.text}")
        case "test_tool_with_logging" | "test_logging_tool":
            for text in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
                await session.send_log_message(level="info", data=text, related_request_id=ctx.request_id)
                await asyncio.sleep(0.05)
        case "test_tool_with_progress":
            for progress in [0, 50, 100]:
                await session.report_progress(progress, 100)
                await asyncio.sleep(0.05)
        case "test_reconnection":
            if ctx.close_sse_stream:
                await ctx.close_sse_stream()
            await asyncio.sleep(0.1)
        case "test_missing_capability":
            if session.client_capabilities is None or session.client_capabilities.sampling is None:
                data = {"requiredCapabilities": {"sampling": {}}}
                raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", data)
        case "test_trigger_tool_change":
            await bus.publish(ToolsListChanged())
        case "test_trigger_prompt_change":
            await bus.publish(PromptsListChanged())
        case _:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")
    return done()


async def list_tools(ctx, params) -> types.ListToolsResult:
    return types.ListToolsResult.model_validate({"tools": DATA["tools"]})


async def list_resources(ctx, params) -> types.ListResourcesResult:
    return types.ListResourcesResult.model_validate({"resources": DATA["resources"]})


async def list_templates(ctx, params) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": DATA["resourceTemplates"]})


async def read_resource(ctx, params) -> types.ReadResourceResult:
    uri = str(params.uri)
    content = DATA["contents"].get(uri)
    if named := re.fullmatch(r"test://template/(.+)/data", uri):
        data = {"id": named[1], "templateTest": True, "data": f"Data for ID: {named[1]}"}
        content = {"mimeType": "application/json", "text": json.dumps(data)}
    if content is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
    return types.ReadResourceResult.model_validate({"contents": [{"uri": uri, **content}]})


async def list_prompts(ctx, params) -> types.ListPromptsResult:
    return types.ListPromptsResult.model_validate({"prompts": DATA["prompts"]})


async def get_prompt(ctx, params) -> types.GetPromptResult | types.InputRequiredResult:
    if params.name not in DATA["messages"]:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    if params.name in DATA["rounds"] and (question := ask(params.name, params, None)):
        return question
    text = json.dumps(DATA["messages"][params.name])
    for name, value in (params.arguments or {}).items():
        text = text.replace(f"{{{name}}}", json.dumps(value)[1:-1])
    return types.GetPromptResult.model_validate({"messages": json.loads(text)})


async def complete(ctx, params) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[]))


async def accept(ctx, params) -> types.EmptyResult:
    return types.EmptyResult()


server = Server(
    "conformance",
    version="1",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_completion=complete,
    on_set_logging_level=accept,
    on_subscribe_resource=accept,
    on_unsubscribe_resource=accept,
    on_subscriptions_listen=ListenHandler(bus),
    get_tool_input_schema=lambda name: next((each["inputSchema"] for each in DATA["tools"] if each["name"] == name), None),
)
server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="conformance"))
app = server.streamable_http_app(event_store=EventLog(), retry_interval=10)
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
