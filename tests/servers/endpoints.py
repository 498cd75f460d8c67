"""A stand-in for servers over HTTP+SSE, the transport of revision 2024-11-05, that say whose session it is in all the ways there are:
GET /sse/STYLE opens a stream that announces where to POST. Whoever knows a session's id, in whatever place of the URL, is in it."""

import json
import os
import queue
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STYLES = {
    "sessionId": "/messages?sessionId={id}",
    "session_id": "/messages/?session_id={id}&x=1",
    "sid": "/messages?sid={id}",
    "session": "/messages?session={id}",
    "connectionId": "/messages?connectionId={id}",
    "brackets": "/messages?sessionId[]={id}",
    "encoded-brackets": "/messages?sessionId%5B%5D={id}",
    "index": "/messages?sessionId[0]={id}",
    "semicolon": "/messages?a=1;sid={id}",
    "bare": "/messages?{id}",
    "path": "/messages/{id}",
    "middle": "/messages/{id}/send?x=1",
    "matrix": "/messages;jsessionid={id}",
    # What leads elsewhere; behind an MCPBackend the host that the server sees is its own, and not the gateway's.
    "absolute": "http://{host}/messages?sid={id}",
    "foreign": "http://127.0.0.1:9/messages?sid={id}",
    "network": "//127.0.0.1:9/messages?sid={id}",
    "dots": "/sse/../messages?sid={id}",
    "fragment": "/messages?sid={id}#x",
    "relative": "messages?sid={id}",
    "scheme": "javascript:alert('{id}')",
}

streams = {}


def tell(text):
    print(text, file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        style = self.path.split("?")[0].removeprefix("/sse/")
        session, events = uuid.uuid4().hex, queue.Queue()
        streams[session] = events
        tell(f"OPENED {style} {session}")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        endpoint = STYLES[style].format(id=session, host=self.headers["host"])
        events.put(f"event: endpoint\ndata: {endpoint}\n\n")
        try:
            while True:
                self.wfile.write(events.get().encode())
        except OSError:
            pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session = next((id for id in streams if id in self.path), None)
        tell("RAN POST")
        tell(f"SENT {self.path} {body.get('method')}")
        self.send_response(404 if session is None else 202)
        self.send_header("content-length", "0")
        self.end_headers()
        if session is not None:
            answer = {"jsonrpc": "2.0", "id": body.get("id"), "result": {"said": body.get("method")}}
            streams[session].put(f"id: {session}-1\nevent: message\ndata: {json.dumps(answer)}\n\n")

    do_DELETE = do_POST

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
