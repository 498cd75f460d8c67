// A client on the 2.x line of the TypeScript SDK.
//
// usage: typescript_v2.cjs URL TOKEN VERSION

const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { use } = require("./typescript.cjs");

const [url, token, version] = process.argv.slice(2);
const isOld = version < "2026";

(async () => {
  const mode = isOld ? "legacy" : { pin: version };
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const updates = [];
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => void updates.push(params.uri));
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const subscribe = (uri) => (isOld ? client.subscribeResource({ uri }) : client.listen({ resourceSubscriptions: [uri] }));
  const call = (name, args, options) => client.callTool({ name, arguments: args }, options);
  await use(client, version, call, updates, subscribe);
})();
