"""Says what Python reads in JSON-RPC bodies: for each line of base64 the method, the name and the arguments."""

import base64
import json
import struct
import sys


def canonical(value) -> str:
    """The value in the form that all readers write: no two values have the same."""
    if value is None:
        return "n"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf") if value > 0 else float("-inf")
        return "d" + struct.pack(">d", number + 0.0).hex()
    if isinstance(value, str):
        return "s" + value.encode("utf-8", "surrogatepass").hex()
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    members = sorted(f"{canonical(name)}:{canonical(member)}" for name, member in value.items())
    return "{" + ",".join(members) + "}"


def read(body: bytes) -> str:
    message = json.loads(body)
    params = message["params"]
    return " ".join(canonical(value) for value in (message["method"], params["name"], params.get("arguments")))


for line in sys.stdin:
    try:
        print(read(base64.b64decode(line)))
    except Exception:
        print("refused")
