// Both eras of the protocol on one endpoint, on the 2.x line of the TypeScript SDK; the old one with sessions.

const { randomUUID } = require("node:crypto");
const { toNodeHandler } = require("@modelcontextprotocol/node");
const sdk = require("@modelcontextprotocol/server");
const { eventLog, listen } = require("./typescript.cjs");

// What of a tool's context every line of the SDK has.
exports.request = ({ mcpReq, http }) => ({
  signal: mcpReq.signal,
  token: mcpReq._meta?.progressToken,
  notify: mcpReq.notify,
  close: http?.closeSSE,
});

// Serves what `server` makes, once per session or request. It gets what tells subscribers of the new era; in the old era nothing.
exports.serve = (server) => {
  const sessions = new Map();
  const modern = sdk.createMcpHandler(() => server(modern.notify), { legacy: "reject" });

  async function open() {
    const transport = new sdk.WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: eventLog(),
      retryInterval: 10,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    await server().connect(transport);
    return transport;
  }

  async function old(request) {
    const id = request.headers.get("mcp-session-id");
    const transport = id === null ? await open() : sessions.get(id);
    return transport === undefined ? new Response(null, { status: 404 }) : transport.handleRequest(request);
  }

  const own = [sdk.localhostAllowedHostnames(), sdk.localhostAllowedOrigins()];
  const fetch = async (request, options) =>
    sdk.hostHeaderValidationResponse(request, own[0]) ??
    sdk.originValidationResponse(request, own[1]) ??
    ((await sdk.isLegacyRequest(request)) ? old(request) : modern.fetch(request, options));
  listen(toNodeHandler({ fetch }));
};
