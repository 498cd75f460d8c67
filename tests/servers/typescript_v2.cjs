// An MCP server on the 2.x line of the TypeScript SDK: both eras of the protocol on one endpoint.

const sdk = require("@modelcontextprotocol/server");
const { z } = require("zod");
const { request, serve } = require("./endpoint_v2.cjs");
const { furnish } = require("./typescript.cjs");

serve((notify) => {
  const mcp = new sdk.McpServer({ name: "math", version: "1" }, { capabilities: { logging: {}, resources: { subscribe: true } } });
  const updated = (uri) => (notify ? notify.resourceUpdated(uri) : mcp.server.sendResourceUpdated({ uri }));
  furnish(mcp, { ...sdk, schema: z.object }, request, updated);
  mcp.server.setRequestHandler("resources/subscribe", () => ({}));
  mcp.server.setRequestHandler("resources/unsubscribe", () => ({}));
  return mcp;
});
