// An issuer that signs whatever it is told to (oauth2-mock-server): the form field `forge` of a token request says what is
// put into header and claims, or with null taken out of them.
//
// usage: forging_issuer.cjs PORT

const { OAuth2Server } = require("oauth2-mock-server");

const port = Number(process.argv[2]);

function put(into, changes) {
  for (const [name, value] of Object.entries(changes ?? {})) {
    if (value === null) delete into[name];
    else into[name] = value;
  }
}

async function main() {
  const server = new OAuth2Server();
  await server.issuer.keys.generate("RS256");
  server.service.on("beforeTokenSigning", (token, request) => {
    const forge = JSON.parse(request.body.forge);
    put(token.header, forge.header);
    put(token.payload, forge.payload);
  });
  await server.start(port, "127.0.0.1");
  server.issuer.url = `http://127.0.0.1:${port}`;
}

main();
