"""A second OAuth authorization server, independent of the first (Authlib): an issuer with a path, metadata of RFC 8414,
authorization code with PKCE, dynamic registration, access tokens of RFC 9068 signed with ES256. It does not know the parameter
`resource` (RFC 8707): its tokens are for one audience. Whoever is sent to log in is Bob and consents.

With `strict` it is as Microsoft Entra ID is: clients can't register, it knows one, pages can't read its metadata, and it
refuses requests with the parameter `resource`.

usage: second_authorization_server.py PORT AUDIENCE [strict]
"""

import re
import sys
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify, request
from joserfc.jwk import ECKey

port, audience, *mode = sys.argv[1:]
strict = mode == ["strict"]
issuer = f"http://127.0.0.1:{port}/tenant"
key = ECKey.generate_key("P-256", {"kid": "second", "use": "sig", "alg": "ES256"})
app = Flask(__name__)
clients, codes = {}, {}


class Bob:
    def get_user_id(self):
        return "bob"


class Client(ClientMixin):
    def __init__(self, info, metadata):
        self.id, self.metadata = info["client_id"], metadata

    def get_client_id(self):
        return self.id

    def get_default_redirect_uri(self):
        return self.metadata["redirect_uris"][0]

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, uri):
        # Loopback with any port (RFC 8252 section 7.3).
        of_any_port = re.sub(r"^http://127\.0\.0\.1:\d+/", "http://127.0.0.1/", uri)
        return uri in self.metadata["redirect_uris"] or of_any_port in self.metadata["redirect_uris"]

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "none"

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


class Code(AuthorizationCodeMixin):
    def __init__(self, asked):
        payload = asked.payload
        self.client_id, self.redirect_uri, self.scope = asked.client.id, payload.redirect_uri, payload.scope
        self.code_challenge = payload.data.get("code_challenge")
        self.code_challenge_method = payload.data.get("code_challenge_method")

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def save_authorization_code(self, code, asked):
        codes[code] = Code(asked)

    def query_authorization_code(self, code, client):
        found = codes.get(code)
        return found if found and found.client_id == client.id else None

    def delete_authorization_code(self, authorization_code):
        for code in [code for code, kept in codes.items() if kept is authorization_code]:
            del codes[code]

    def authenticate_user(self, authorization_code):
        return Bob()


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return key

    def get_audiences(self, client, user, scope):
        return audience


class Registration(ClientRegistrationEndpoint):
    def authenticate_token(self, asked):
        return "anybody"

    def get_server_metadata(self):
        return {}

    def generate_client_id(self, asked):
        return f"client-{len(clients)}-{int(time.time())}"

    def generate_client_secret(self, asked):
        return ""

    def save_client(self, client_info, client_metadata, asked):
        clients[client_info["client_id"]] = Client(client_info, client_metadata)
        return clients[client_info["client_id"]]


server = AuthorizationServer(app, query_client=clients.get, save_token=lambda token, asked: None)
server.register_grant(CodeGrant, [CodeChallenge(required=True)])
server.register_endpoint(Registration)
server.register_token_generator("default", Tokens(issuer, alg="ES256", expires_generator=lambda client, grant: 600))


if strict:
    redirects = ["http://127.0.0.1/callback", "http://127.0.0.1/oauth/callback", "http://127.0.0.1/"]
    clients["known-client"] = Client({"client_id": "known-client"}, {"redirect_uris": redirects})


@app.before_request
def refuse():
    if strict and "resource" in request.values:
        text = "AADSTS901002: The 'resource' request parameter is not supported."
        return jsonify(error="invalid_request", error_description=text), 400
    if strict and request.path == "/tenant/register":
        return jsonify(error="not_found"), 404


@app.get("/.well-known/oauth-authorization-server/tenant")
def metadata():
    registration = {} if strict else {"registration_endpoint": f"{issuer}/register"}
    return jsonify(
        **registration,
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}/token",
        jwks_uri=f"{issuer}/jwks",
        response_types_supported=["code"],
        grant_types_supported=["authorization_code"],
        token_endpoint_auth_methods_supported=["none"],
        code_challenge_methods_supported=["S256"],
    )


@app.get("/tenant/jwks")
def jwks():
    return jsonify(keys=[key.as_dict(private=False)])


@app.get("/tenant/authorize")
def authorize():
    return server.create_authorization_response(grant_user=Bob())


@app.post("/tenant/token")
def token():
    return server.create_token_response()


@app.post("/tenant/register")
def register():
    return server.create_endpoint_response(Registration.ENDPOINT_NAME)


if __name__ == "__main__":
    app.run("127.0.0.1", int(port), threaded=True)
