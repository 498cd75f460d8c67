"""What VS Code does when it is pointed at a URL, step by step as its source has it, and as strictly: the challenge's scheme
compared with case, its parameters split in the naive way, the metadata's resource equal to the URL, a loopback redirect on a
port of its own, no MCP-Protocol-Version on messages, the GET channel after initialize. Prints every HTTP step as JSON.

usage: vscode.py URL register|2025-03-26|token=TOKEN|CLIENT_ID TOOL...

2025-03-26: as clients of that revision do, which take the gateway for the issuer and know no resources (VS Code falls back
to this where there are no metadata of a resource). token: as `headers` of its settings have it.
"""

import base64
import hashlib
import json
import re
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import resolve  # noqa: E402, F401
import browser  # noqa: E402

url, flow, *tools = sys.argv[1:]
steps = []
REDIRECTS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:33418/",
    "https://vscode.dev/redirect",
    "https://insiders.vscode.dev/redirect",
]


def ask(method, to, body=None, headers=None, stream=False):
    data = None if body is None else body.encode()
    request = urllib.request.Request(to, data, headers or {}, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    steps.append([method, to.split("?")[0], answer.status, answer.headers.get("www-authenticate")])
    text = "" if stream and answer.status == 200 else answer.read().decode()
    if stream:
        answer.close()
    return answer.status, answer.headers, text


def challenge(headers):
    scheme, _, rest = (headers.get("www-authenticate") or "").partition(" ")
    if scheme != "Bearer":
        raise SystemExit(f"no Bearer challenge: {scheme!r}")
    parameters = {}
    for part in re.split(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", rest):
        name, _, value = part.strip().partition("=")
        parameters[name] = value.strip('"')
    return parameters


def well_known(issuer):
    parts = urllib.parse.urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    for at in ["oauth-authorization-server", "openid-configuration"]:
        yield f"{origin}/.well-known/{at}{path}"
    yield f"{origin}{path}/.well-known/openid-configuration"


def log_in(headers):
    if flow == "2025-03-26":
        parts = urllib.parse.urlsplit(url)
        status, _, text = ask("GET", f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server")
        server = json.loads(text)
        return get_token(server, server["issuer"], "tools.read", {})
    parameters = challenge(headers)
    status, _, text = ask("GET", parameters["resource_metadata"], headers={"MCP-Protocol-Version": "2025-11-25"})
    metadata = json.loads(text)
    if status != 200 or metadata["resource"] != url:
        raise SystemExit(f"Protected Resource Metadata resource {metadata['resource']!r} does not match {url!r}")
    issuer = metadata["authorization_servers"][0]
    for at in well_known(issuer):
        status, _, text = ask("GET", at, headers={"MCP-Protocol-Version": "2025-11-25"})
        if status == 200:
            break
    server = json.loads(text)
    if server["issuer"] != issuer:
        raise SystemExit(f"{server['issuer']!r} is not {issuer!r}")
    scope = parameters.get("scope") or " ".join(metadata.get("scopes_supported", []))
    return get_token(server, issuer, scope, {"resource": metadata["resource"]})


def get_token(server, issuer, scope, resource):
    client = flow
    if flow in ("register", "2025-03-26"):
        registration = {
            "client_name": "Visual Studio Code",
            "application_type": "native",
            "redirect_uris": [uri for uri in REDIRECTS if uri.startswith("http://127")],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": scope,
        }
        body = json.dumps(registration)
        status, _, text = ask("POST", server["registration_endpoint"], body, {"content-type": "application/json"})
        if status != 201:
            raise SystemExit(f"registration: {status} {text}")
        client = json.loads(text)["client_id"]
    if "S256" not in server["code_challenge_methods_supported"]:
        raise SystemExit("no PKCE")
    redirect = "http://127.0.0.1:33418/" if flow != "known-client" else "http://127.0.0.1/callback"
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": client,
        "response_type": "code",
        "redirect_uri": redirect,
        "state": state,
        "code_challenge": digest,
        "code_challenge_method": "S256",
        "scope": scope,
    } | resource
    to = f"{server['authorization_endpoint']}?{urllib.parse.urlencode(asked)}"
    steps.append(["BROWSER", to.split("?")[0], 302, None])
    back = browser.log_in(to, redirect)
    if back["state"] != state or back.get("iss", issuer) != issuer:
        raise SystemExit(f"mixed up: {back}")
    body = {
        "client_id": client,
        "grant_type": "authorization_code",
        "code": back["code"],
        "redirect_uri": redirect,
        "code_verifier": verifier,
    } | resource
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, _, text = ask("POST", server["token_endpoint"], urllib.parse.urlencode(body), form)
    if status != 200:
        raise SystemExit(f"token: {status} {text}")
    return json.loads(text)


def main():
    sent = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
    tokens = {}
    if flow.startswith("token="):
        sent["authorization"] = f"Bearer {flow.removeprefix('token=')}"

    def post(message):
        status, headers, text = ask("POST", url, json.dumps(message), sent)
        if status in (401, 403) and "scope" not in tokens:
            tokens.update(log_in(headers))
            sent["authorization"] = f"Bearer {tokens['access_token']}"
            status, headers, text = ask("POST", url, json.dumps(message), sent)
        if headers.get("mcp-session-id"):
            sent["mcp-session-id"] = headers["mcp-session-id"]
        if status >= 400:
            raise SystemExit(f"{message['method']}: {status} {text}")
        if headers.get("content-type", "").startswith("text/event-stream"):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:") and line[5:].strip())
        return json.loads(text) if text.strip() else None

    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "Visual Studio Code", "version": "1"}}
    post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
    post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    channel = {name: value for name, value in sent.items() if name != "content-type"} | {"accept": "text/event-stream"}
    channel_status = ask("GET", url, headers=channel, stream=True)[0]
    listed = post({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    calls = {}
    for number, tool in enumerate(tools, 3):
        call = {"name": tool, "arguments": {"a": 6, "b": 7}}
        answer = post({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call})
        calls[tool] = answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["message"]
    return {
        "tools": [tool["name"] for tool in listed["result"]["tools"]],
        "calls": calls,
        "channel": channel_status,
        "scope": tokens.get("scope"),
    }


try:
    print(json.dumps(main() | {"exchanges": steps}))
except BaseException as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}", "exchanges": steps}))
