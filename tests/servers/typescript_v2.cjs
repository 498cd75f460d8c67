// An MCP server on the 2.x line of the TypeScript SDK: both eras of the protocol on one endpoint, the old one with sessions.

const { randomUUID } = require("node:crypto");
const { toNodeHandler } = require("@modelcontextprotocol/node");
const sdk = require("@modelcontextprotocol/server");
const { z } = require("zod");
const { eventLog, furnish, listen } = require("./typescript.cjs");

const sessions = new Map();

const request = ({ mcpReq, http }) => ({
  signal: mcpReq.signal,
  token: mcpReq._meta?.progressToken,
  notify: mcpReq.notify,
  close: http?.closeSSE,
});

function server(updated) {
  const mcp = new sdk.McpServer({ name: "math", version: "1" }, { capabilities: { logging: {}, resources: { subscribe: true } } });
  furnish(mcp, { ...sdk, schema: z.object }, request, (uri) => updated(mcp, uri));
  return mcp;
}

const modern = sdk.createMcpHandler(() => server((_, uri) => modern.notify.resourceUpdated(uri)), { legacy: "reject" });

async function open() {
  const mcp = server((own, uri) => own.server.sendResourceUpdated({ uri }));
  mcp.server.setRequestHandler("resources/subscribe", () => ({}));
  mcp.server.setRequestHandler("resources/unsubscribe", () => ({}));
  const transport = new sdk.WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventLog(),
    retryInterval: 10,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await mcp.connect(transport);
  return transport;
}

async function old(request) {
  const id = request.headers.get("mcp-session-id");
  const transport = id === null ? await open() : sessions.get(id);
  return transport === undefined ? new Response(null, { status: 404 }) : transport.handleRequest(request);
}

const fetch = async (request, options) => ((await sdk.isLegacyRequest(request)) ? old(request) : modern.fetch(request, options));
listen(toNodeHandler({ fetch }));
