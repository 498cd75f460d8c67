// An MCP server on the 1.x line of the TypeScript SDK: Streamable HTTP with sessions.

const { randomUUID } = require("node:crypto");
const { completable } = require("@modelcontextprotocol/sdk/server/completable.js");
const { McpServer, ResourceTemplate } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = require("@modelcontextprotocol/sdk/server/streamableHttp.js");
const types = require("@modelcontextprotocol/sdk/types.js");
const { eventLog, furnish, listen } = require("./typescript.cjs");

const sessions = new Map();

const request = ({ signal, _meta, sendNotification, closeSSEStream }) => ({
  signal,
  token: _meta?.progressToken,
  notify: sendNotification,
  close: closeSSEStream,
});

async function open() {
  const mcp = new McpServer({ name: "math", version: "1" }, { capabilities: { logging: {}, resources: { subscribe: true } } });
  furnish(mcp, { completable, ResourceTemplate, schema: (members) => members }, request, (uri) => mcp.server.sendResourceUpdated({ uri }));
  mcp.server.setRequestHandler(types.SubscribeRequestSchema, () => ({}));
  mcp.server.setRequestHandler(types.UnsubscribeRequestSchema, () => ({}));
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventLog(),
    retryInterval: 10,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await mcp.connect(transport);
  return transport;
}

listen(async (incoming, outgoing) => {
  const id = incoming.headers["mcp-session-id"];
  const transport = id === undefined ? await open() : sessions.get(id);
  if (transport === undefined) return outgoing.writeHead(404).end();
  return transport.handleRequest(incoming, outgoing);
});
