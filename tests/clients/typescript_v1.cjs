// A client on the 1.x line of the TypeScript SDK.
//
// usage: typescript_v1.cjs URL TOKEN VERSION

const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ResourceUpdatedNotificationSchema } = require("@modelcontextprotocol/sdk/types.js");
const { use } = require("./typescript.cjs");

const [url, token, version] = process.argv.slice(2);

(async () => {
  const client = new Client({ name: "test", version: "1" });
  const updates = [];
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updates.push(params.uri));
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  await use(client, version, call, updates, (uri) => client.subscribeResource({ uri }));
})();
