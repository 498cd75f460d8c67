// A remote MCP server in the manner of gitlab.com: it knows itself as https://gitlab.com and answers to no other name, has an
// authorization server of its own (authorization code with PKCE, dynamic registration; the parameter `resource` of RFC 8707
// it does not know), and an MCP endpoint that takes its own tokens alone.
//
// usage: remote.cjs ADDRESS FOLDER        FOLDER: tls.crt and tls.key

const { generateKeyPairSync } = require("node:crypto");
const { readFileSync } = require("node:fs");
const https = require("node:https");
const { Provider } = require("oidc-provider");

const [address, folder] = process.argv.slice(2);
const issuer = "https://gitlab.com";
const endpoint = "/api/v4/mcp";
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const account = { accountId: "bob", claims: () => ({ sub: "bob" }) };

const provider = new Provider(issuer, {
  clients: [],
  jwks: { keys: [{ ...key, kid: "one", use: "sig", alg: "RS256" }] },
  cookies: { keys: ["for tests"] },
  findAccount: () => account,
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  routes: { authorization: "/oauth/authorize", token: "/oauth/token", registration: "/oauth/register" },
  scopes: ["openid", "offline_access", "mcp"],
  ttl: { AccessToken: 600, Grant: 3600, Interaction: 600, Session: 3600, RefreshToken: 3600, IdToken: 600 },
  features: { devInteractions: { enabled: false }, registration: { enabled: true }, resourceIndicators: { enabled: false } },
});

provider.use(async (context, next) => {
  if (!context.path.startsWith("/interaction/")) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(context.req, context.res);
  if (prompt.name === "login") {
    return provider.interactionFinished(context.req, context.res, { login: { accountId: "bob" } });
  }
  const grant =
    (grantId && (await provider.Grant.find(grantId))) ||
    new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(" "));
  return provider.interactionFinished(context.req, context.res, { consent: { grantId: await grant.save() } });
});

const tools = [
  { name: "get_issue", description: "An issue", inputSchema: { type: "object" } },
  { name: "delete_project", description: "Deletes a project", inputSchema: { type: "object" } },
];

function result({ method, params }) {
  switch (method) {
    case "initialize":
      return { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo: { name: "remote", version: "1" } };
    case "tools/list":
      return { tools };
    case "tools/call":
      return { content: [{ type: "text", text: `${params.name} done` }] };
    default:
      return undefined;
  }
}

async function mcp(request, response) {
  const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
  const found = token && (await provider.AccessToken.find(token));
  const good = found && found.isValid && found.scope?.split(" ").includes("mcp");
  console.log(`MCP ${request.method} ${good ? "good" : token ? "bad" : "none"}`);
  if (!good) {
    const metadata = `${issuer}/.well-known/oauth-protected-resource${endpoint}`;
    const error = token ? `error="invalid_token", error_description="not one of \\"ours\\"", ` : "";
    response.setHeader("www-authenticate", `Bearer realm="GitLab, remote", ${error}resource_metadata="${metadata}", scope="mcp"`);
    response.writeHead(401, { "content-type": "application/json" });
    return response.end(JSON.stringify({ message: "401 Unauthorized" }));
  }
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const timer = setInterval(() => response.write('data: {"jsonrpc":"2.0","method":"notifications/tick"}\n\n'), 500);
    return request.on("close", () => clearInterval(timer));
  }
  if (request.method !== "POST") return response.writeHead(405).end();
  let body = "";
  for await (const chunk of request) body += chunk;
  const message = JSON.parse(body);
  if (message.id === undefined) return response.writeHead(202).end();
  // A tool that hangs.
  if (message.params?.name === "hang") return undefined;
  const answered = result(message);
  response.writeHead(200, { "content-type": "application/json" });
  const error = { code: -32601, message: "Method not found" };
  return response.end(JSON.stringify({ jsonrpc: "2.0", id: message.id, ...(answered ? { result: answered } : { error }) }));
}

const oauth = provider.callback();
const tls = { cert: readFileSync(`${folder}/tls.crt`), key: readFileSync(`${folder}/tls.key`) };
https
  .createServer(tls, (request, response) => {
    if (request.headers.host !== "gitlab.com") return response.writeHead(421).end();
    if (request.url === endpoint) return mcp(request, response);
    if (request.url === `/.well-known/oauth-protected-resource${endpoint}`) {
      response.writeHead(200, { "content-type": "application/json", "cache-control": "max-age=60" });
      const metadata = { resource: issuer + endpoint, authorization_servers: [issuer], scopes_supported: ["mcp"] };
      return response.end(JSON.stringify(metadata));
    }
    return oauth(request, response);
  })
  .listen(443, address, () => console.log("ready"));
