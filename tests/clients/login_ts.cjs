// A client on the TypeScript SDK that has no token: it finds out where to log in, does so, then lists the tools and calls
// some. Prints JSON: with all HTTP exchanges of the client.
//
// usage: login_ts.cjs URL register|known|cimd=URL TOOL...

const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { logIn } = require("./browser.cjs");

const CALLBACK = "http://127.0.0.1/callback";
const [url, flow, ...tools] = process.argv.slice(2);
const exchanges = [];

async function recorded(input, init) {
  const answer = await fetch(input, init);
  const method = init?.method ?? "GET";
  exchanges.push([method, String(input.url ?? input), answer.status, answer.headers.get("www-authenticate")]);
  return answer;
}

let login;
const memory = {
  redirectUrl: CALLBACK,
  clientMetadata: {
    client_name: "test",
    redirect_uris: [CALLBACK],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
    application_type: "native",
  },
  clientMetadataUrl: flow.startsWith("cimd=") ? flow.slice(5) : undefined,
  client: flow === "known" ? { client_id: "known-client" } : undefined,
  clientInformation() {
    return this.client;
  },
  saveClientInformation(client) {
    this.client = client;
  },
  tokens() {
    return this.saved;
  },
  saveTokens(tokens) {
    this.saved = tokens;
  },
  async redirectToAuthorization(to) {
    exchanges.push(["BROWSER", String(to).split("?")[0], 302, null]);
    login = await logIn(String(to), CALLBACK);
  },
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  },
  codeVerifier() {
    return this.verifier;
  },
};

// What was refused for want of a login, once there has been one.
async function loggedIn(transport, error) {
  if (!login) throw error;
  await transport.finishAuth(new URLSearchParams(login));
  login = undefined;
}

async function connected() {
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: memory, fetch: recorded });
  const client = new Client({ name: "test", version: "1" });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    await loggedIn(transport, error);
  }
  const again = new Client({ name: "test", version: "1" });
  await again.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider: memory, fetch: recorded }));
  return again;
}

// A call that asks for a login with more scopes is made again after it.
async function called(client, call) {
  try {
    return await client.callTool(call);
  } catch (error) {
    await loggedIn(client.transport, error);
  }
  return client.callTool(call);
}

async function main() {
  const client = await connected();
  const report = { tools: (await client.listTools()).tools.map((tool) => tool.name), calls: {} };
  for (const name of tools) {
    try {
      const result = await called(client, { name, arguments: { a: 6, b: 7 } });
      report.calls[name] = result.content[0].text;
    } catch (error) {
      report.calls[name] = error.message;
    }
  }
  await client.close();
  return { ...report, scope: memory.saved?.scope };
}

main()
  .catch((error) => ({ error: `${error.name}: ${error.message} ${error.cause ?? ""}` }))
  .then((report) => {
    console.log(JSON.stringify({ ...report, exchanges }));
    process.exit(0);
  });
