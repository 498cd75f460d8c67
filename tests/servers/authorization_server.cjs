// A real OAuth 2.1 authorization server (oidc-provider): authorization code with PKCE, dynamic registration, client ID
// metadata documents, resource indicators, access tokens as JWTs. Whoever is sent to log in is Bob and consents.
//
// usage: authorization_server.cjs PORT [SECONDS]        SECONDS: how long access tokens live

const { generateKeyPairSync } = require("node:crypto");
const { Provider } = require("oidc-provider");

const [port, seconds = "600"] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const account = { accountId: "bob", claims: () => ({ sub: "bob" }) };

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "known-client",
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/callback", "http://127.0.0.1/oauth/callback"],
    },
  ],
  jwks: { keys: [{ ...key, kid: "one", use: "sig", alg: "RS256" }] },
  cookies: { keys: ["for tests"] },
  findAccount: () => account,
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // So that clients in a browser can ask for tokens.
  clientBasedCORS: () => true,
  pkce: { required: () => true },
  // Clients' metadata documents are on loopback here, where it would not look by itself.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  scopes: ["openid", "offline_access", "tools.read", "tools.write"],
  ttl: { AccessToken: Number(seconds), Grant: 3600, Interaction: 600, Session: 3600, RefreshToken: 3600, IdToken: 600 },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    clientIdMetadataDocument: { enabled: true, ack: "draft-02" },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: "tools.read tools.write",
        accessTokenFormat: "jwt",
        accessTokenTTL: Number(seconds),
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});

// Bob logs in and consents to everything that is asked.
provider.use(async (context, next) => {
  if (!context.path.startsWith("/interaction/")) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(context.req, context.res);
  if (prompt.name === "login") {
    return provider.interactionFinished(context.req, context.res, { login: { accountId: "bob" } });
  }
  const grant =
    (grantId && (await provider.Grant.find(grantId))) ||
    new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return provider.interactionFinished(context.req, context.res, { consent: { grantId: await grant.save() } });
});

provider.on("server_error", (_, error) => console.error(error));
provider.on("grant.error", (_, error) => console.error(error.message, error.error_detail));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
