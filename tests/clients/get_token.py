"""Gets a token by authorization code with PKCE (RFC 7636), as known-client.

usage: get_token.py ISSUER RESOURCE SCOPE
"""

import base64
import hashlib
import json
import secrets
import sys
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import browser  # noqa: E402

CALLBACK = "http://127.0.0.1/callback"
issuer, resource, scope = sys.argv[1:]
verifier = secrets.token_urlsafe(32)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
common = {"client_id": "known-client", "redirect_uri": CALLBACK, "resource": resource}
asked = common | {"response_type": "code", "scope": scope, "code_challenge": challenge, "code_challenge_method": "S256"}
code = browser.log_in(f"{issuer}/auth?{urllib.parse.urlencode(asked)}", CALLBACK)["code"]
answered = common | {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
with urllib.request.urlopen(f"{issuer}/token", urllib.parse.urlencode(answered).encode(), timeout=20) as answer:
    print(json.load(answer)["access_token"])
