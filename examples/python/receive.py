"""Receives events, verifies them and prints a line for each new one: receive.py"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(
    os.environ.get("VERDICT_ENDPOINT_SECRET") or sys.exit("VERDICT_ENDPOINT_SECRET is not set")
)
# In your service: a table whose primary key is the event's id. Write the row in the transaction
# of what the event causes, so that both happen or neither does.
kept = os.environ.get("VERDICT_EVENTS", "events.log")
seen, newest, lock = set(), {}, threading.Lock()


def remember(epoch, event):
    """What is remarkable about a new event: others are missing before it, or it comes late."""
    seen.add(event["id"])
    verification = event["data"].get("verification_id")
    number = event["data"].get("verification_sequence")
    if number is None:
        return ""
    counted_in, last = newest.get(verification, (epoch, 0))
    if counted_in != epoch:
        last = number - 1  # A restored database counts on from an earlier number.
    newest[verification] = (epoch, max(number, last))
    if number > last + 1:
        return f" missing {last + 1}..{number - 1}"
    # What it reports is outdated: a newer event of this verification is known.
    return " late" if number <= last else ""


def receive(epoch, body):
    event = json.loads(body)
    if event["id"] in seen:
        print("again", event["id"], flush=True)
        return
    with open(kept, "a", encoding="utf-8") as file:
        file.write(f"{epoch} {body}\n")
        file.flush()
        os.fsync(file.fileno())
    remarkable = remember(epoch, event)
    data = event["data"]
    shown = event["sequence"], event["type"], data.get("biz_id")
    shown += data.get("verification_sequence"), data.get("outcome")
    print(*("-" if value is None else value for value in shown), end=f"{remarkable}\n", flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if length > 20_480:
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            # Over the bytes that came: JSON that was parsed and written again may differ.
            webhook.verify(body, dict(self.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return self.answer(401)
        with lock:
            receive(self.headers.get("verdict-epoch", "-"), body.decode())
        # Only now: Verdict sends again what has no 2xx.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if os.path.exists(kept):
    with open(kept, encoding="utf-8") as file:
        for line in file:
            epoch, _, body = line.partition(" ")
            remember(epoch, json.loads(body))
ThreadingHTTPServer.request_queue_size = 64
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Receiver).serve_forever()
