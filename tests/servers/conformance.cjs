// What the official conformance suite expects of a server, on the 2.x line of the TypeScript SDK.

const { randomBytes } = require("node:crypto");
const { MissingRequiredClientCapabilityError, ProtocolError, Server, createRequestStateCodec } = require("@modelcontextprotocol/server");
const data = require("./conformance.json");
const { request, serve } = require("./endpoint_v2.cjs");

const INVALID_PARAMS = -32602;
const state = createRequestStateCodec({ key: randomBytes(32) });
const text = (value) => ({ content: [{ type: "text", text: value }] });
const wait = () => new Promise((resolve) => setTimeout(resolve, 50));

// Whether that is an answer to a request of the server, and one of its form.
function answers({ method, params }, response) {
  if (response === undefined || method !== "elicitation/create") return response !== undefined;
  const { required = [], properties } = params.requestedSchema;
  const fits = (name) => typeof response.content?.[name] === properties[name].type;
  return response.action === "accept" && required.every(fits);
}

// What the server asks in this round; nothing when all is said.
async function ask(name, { mcpReq }, capabilities) {
  let rounds = data.rounds[name];
  let now = mcpReq.requestState() ?? 0;
  if (name === "test_input_required_result_capabilities") {
    const can = { "elicitation/create": capabilities?.elicitation, "sampling/createMessage": capabilities?.sampling };
    rounds = [Object.fromEntries(Object.entries(rounds[0]).filter(([, { method }]) => can[method]))];
  }
  if (Object.entries(rounds[now]).every(([key, asked]) => answers(asked, mcpReq.inputResponses?.[key]))) now++;
  if (now === rounds.length) return undefined;
  const keepsState = rounds.length > 1 || name.includes("state") || name.includes("multiple");
  const question = { resultType: "input_required", inputRequests: rounds[now] };
  return keepsState ? { ...question, requestState: await state.mint(now) } : question;
}

async function call(server, notify, { name, arguments: args }, context) {
  const { token, notify: tell, close } = request(context);
  if (name in data.results) return data.results[name];
  const capabilities = context.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"];
  if (name in data.rounds) return (await ask(name, context, capabilities)) ?? text(`Hello! ${name} state-ok`);
  if (name in data.elicitations) {
    const properties = data.elicitations[name];
    const requestedSchema = { type: "object", properties, required: Object.keys(properties) };
    const said = await context.mcpReq.elicitInput({ message: args?.message ?? "Please say", requestedSchema });
    return text(`action=${said.action}, content=${JSON.stringify(said.content)}`);
  }
  switch (name) {
    case "test_sampling": {
      const messages = [{ role: "user", content: { type: "text", text: args.prompt } }];
      const said = await context.mcpReq.requestSampling({ messages, maxTokens: 100 });
      return text(`LLM response: ${said.content.text}`);
    }
    case "test_tool_with_logging":
    case "test_logging_tool":
      for (const said of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
        await context.mcpReq.log("info", said);
        await wait();
      }
      break;
    case "test_tool_with_progress":
      for (const progress of [0, 50, 100]) {
        await tell({ method: "notifications/progress", params: { progressToken: token, progress, total: 100 } });
        await wait();
      }
      break;
    case "test_reconnection":
      close?.();
      await wait();
      break;
    case "test_missing_capability":
      if (!capabilities?.sampling) throw new MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
      break;
    case "test_trigger_tool_change":
      notify?.toolsChanged();
      break;
    case "test_trigger_prompt_change":
      notify?.promptsChanged();
      break;
    default:
      throw new ProtocolError(INVALID_PARAMS, `Unknown tool: ${name}`);
  }
  return text("done");
}

function read(uri) {
  const named = /^test:\/\/template\/(.+)\/data$/.exec(uri);
  const template = named && { id: named[1], templateTest: true, data: `Data for ID: ${named[1]}` };
  const content = template ? { mimeType: "application/json", text: JSON.stringify(template) } : data.contents[uri];
  if (content === undefined) throw new ProtocolError(INVALID_PARAMS, "Resource not found", { uri });
  return { contents: [{ uri, ...content }] };
}

async function prompt({ name, arguments: args }, context) {
  if (!(name in data.messages)) throw new ProtocolError(INVALID_PARAMS, `Unknown prompt: ${name}`);
  const question = name in data.rounds && (await ask(name, context));
  if (question) return question;
  let messages = JSON.stringify(data.messages[name]);
  for (const [key, value] of Object.entries(args ?? {})) {
    messages = messages.replaceAll(`{${key}}`, JSON.stringify(value).slice(1, -1));
  }
  return { messages: JSON.parse(messages) };
}

serve((notify) => {
  const lists = { listChanged: true };
  const capabilities = { tools: lists, prompts: lists, resources: { subscribe: true }, completions: {}, logging: {} };
  const server = new Server({ name: "conformance", version: "1" }, { capabilities, requestState: { verify: state.verify } });
  const handle = (method, handler) => server.setRequestHandler(method, ({ params }, context) => handler(params, context));
  handle("tools/list", () => ({ tools: data.tools }));
  handle("tools/call", (params, context) => call(server, notify, params, context));
  handle("resources/list", () => ({ resources: data.resources }));
  handle("resources/templates/list", () => ({ resourceTemplates: data.resourceTemplates }));
  handle("resources/read", ({ uri }) => read(uri));
  handle("resources/subscribe", () => ({}));
  handle("resources/unsubscribe", () => ({}));
  handle("prompts/list", () => ({ prompts: data.prompts }));
  handle("prompts/get", prompt);
  handle("completion/complete", () => ({ completion: { values: [] } }));
  return server;
});
