"""A proxy between an example and the service that fails in the ways a caller must bear.

    faulty-proxy.py http://127.0.0.1:8080

Prints its own URL. Of each message (by `webhook-id`) and of each start (by its body) the first try is
delivered, but its answer is lost; the second gets 503 with `Retry-After: 2`; the third is delivered.
The first question about a verification is answered at once with `pending`, as when a long poll runs
out. Whoever does not sign anew, sends another body or comes back too early is refused with a code
that says so.
"""

import http.client
import http.server
import json
import sys
import threading
import time
import urllib.parse

SERVICE = urllib.parse.urlsplit(sys.argv[1])
RETRY_AFTER = 2


class Proxy(http.server.BaseHTTPRequestHandler):
    tries = {}  # by webhook-id, or body: (when, timestamp, signature, body) of each try
    lost = {}  # by path of a verification: the answer that was lost, until it is asked for
    lock = threading.Lock()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        this = (
            time.monotonic(),
            self.headers.get("webhook-timestamp"),
            self.headers.get("webhook-signature"),
            body,
        )
        with self.lock:
            tries = self.tries.setdefault(self.headers.get("webhook-id", body), [])
            tries.append(this)
        if len(tries) > 1:
            before = tries[-2]
            is_signed = this[1] is not None
            if is_signed and (this[1] == before[1] or this[2] == before[2]):
                return self.refuse("not-signed-anew")
            if this[3] != before[3]:
                return self.refuse("another-body")
        if len(tries) == 1:
            status, _, text = self.deliver(body)
            if status == 202:
                path = f"/v1/verifications/{json.loads(text)['id']}"
                with self.lock:
                    self.lost[path] = text
            self.close_connection = True  # and not a byte of an answer
        elif len(tries) == 2:
            self.answer(503, {"retry-after": str(RETRY_AFTER)}, b'{"code":"unavailable"}')
        elif len(tries) == 3 and this[0] - before[0] < RETRY_AFTER:
            self.refuse("too-early")
        else:
            self.answer(*self.deliver(body))

    def do_GET(self):
        with self.lock:
            pending = self.lost.pop(urllib.parse.urlsplit(self.path).path, None)
        if pending is None:
            self.answer(*self.deliver(None))
        else:
            self.answer(200, {"content-type": "application/json"}, pending)

    def deliver(self, body):
        service = http.client.HTTPConnection(SERVICE.hostname, SERVICE.port, timeout=60)
        dropped = ("host", "connection", "content-length", "upgrade", "http2-settings")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        service.request(self.command, self.path, body, headers)
        answer = service.getresponse()
        kept = ("content-type", "location", "retry-after")
        told = {k: v for k, v in answer.getheaders() if k.lower() in kept}
        return answer.status, told, answer.read()

    def refuse(self, code):
        self.answer(
            400, {"content-type": "application/problem+json"}, json.dumps({"code": code}).encode()
        )

    def answer(self, status, headers, text):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
