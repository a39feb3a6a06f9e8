#!/usr/bin/env python3
"""Is a receiver of events right? Starts it, sends it deliveries and compares what it answers and prints.

    scripts/receiver-check.py FOLDER COMMAND…

COMMAND listens on $PORT of 127.0.0.1, has the secret in $VERDICT_ENDPOINT_SECRET, keeps what it has
received in $VERDICT_EVENTS, which is in FOLDER, and prints a line for each event. `{port}` in COMMAND
is the port. Every receiver gets the same deliveries; they are signed here, not by the service.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import time

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
EPOCH, RESTORED = "6f1c7f5e-0000-4000-8000-000000000001", "6f1c7f5e-0000-4000-8000-000000000002"


def event(number, verification="a", sequence=1, kind="verification.decided", **data):
    """As Verdict writes it: these members in this order, nothing between them."""
    body = {
        "id": f"evt_{number:032x}",
        "type": kind,
        "timestamp": "2026-11-27T12:00:00.123456Z",
        "sequence": number,
        "data": {
            "verification_id": f"0000000{verification}-0000-7000-8000-000000000000",
            "verification_sequence": sequence,
            "product": "verify-result",
            "biz_type": "demo",
            "biz_id": f"order-{verification}",
            "reference": None,
            "state": "decided",
            "outcome": "approve",
            "reasons": ["provider-passed"],
            "decision_id": "00000000-0000-7000-8000-000000000009",
            "decided_by": "policy",
            "decided_at": "2026-11-27T12:00:00.123456Z",
            **data,
        },
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def small(kind, sequence, data):
    body = {"id": f"evt_{'e' * 32}", "type": kind, "timestamp": "2026-11-27T12:00:00.123456Z"}
    body |= {"sequence": sequence, "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


def signature(body, message, stamp, key=KEY):
    signed = f"{message}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Delivery:
    def __init__(self, what, body, status=204, prints=None, age=0, key=KEY, epoch=EPOCH, before="",
                 sent=None, without=None):
        self.what, self.status, self.prints = what, status, prints
        message = json.loads(body)["id"]
        stamp = int(time.time()) - age
        self.headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(stamp),
            "webhook-signature": before + signature(body, message, stamp, key),
            "Verdict-Epoch": epoch,
            "Verdict-Acknowledged-Through": "0",
        }
        self.headers.pop(without, None)
        self.body = body if sent is None else sent


def deliveries():
    """Before and after the receiver is started again."""
    other = bytes(range(1, 33))
    odd = 'Łódź <&> "订单" \\ 7'
    first = event(7)
    stranger = event(8, "b")
    rotated = signature(event(9, "c"), json.loads(event(9, "c"))["id"], int(time.time()), other)
    yield [
        Delivery("an event", first, prints="7 verification.decided order-a 1 approve"),
        Delivery("the same again", first, prints=f"again evt_{7:032x}"),
        Delivery("another secret", stranger, 401, key=other),
        Delivery("another body", stranger, 401, sent=stranger.replace(b"approve", b"retry")),
        Delivery("too old", stranger, 401, age=360),
        Delivery("from the future", stranger, 401, age=-360),
        Delivery("no signature", stranger, 401, without="webhook-signature"),
        Delivery("no timestamp", stranger, 401, without="webhook-timestamp"),
        Delivery("no id", stranger, 401, without="webhook-id"),
        Delivery("two signatures, as while a secret is rotated", event(9, "c"), before=f"{rotated} ",
                 prints="9 verification.decided order-c 1 approve"),
        Delivery("a signature of another kind beside it", event(10, "d"), before="v1a,AAAA ",
                 prints="10 verification.decided order-d 1 approve"),
        Delivery("any characters", event(11, "e", biz_id=odd),
                 prints=f"11 verification.decided {odd} 1 approve"),
        Delivery("no outcome", event(12, "f", kind="verification.failed", state="failed", outcome=None,
                 reasons=None, decision_id=None, decided_by=None, decided_at=None),
                 prints="12 verification.failed order-f 1 -"),
        Delivery("one is missing", event(14, sequence=3), prints="14 verification.decided order-a 3 approve missing 2..2"),
        Delivery("it comes late", event(13, sequence=2), prints="13 verification.decided order-a 2 approve late"),
        Delivery("the first ones are missing", event(15, "9", sequence=3),
                 prints="15 verification.decided order-9 3 approve missing 1..2"),
        Delivery("a test", small("endpoint.test", None, {"endpoint_id": "x"}), prints="- endpoint.test - - -"),
    ]
    yield [
        Delivery("the same again, after a restart", first, prints=f"again evt_{7:032x}"),
        Delivery("the next, after a restart", event(16, sequence=4),
                 prints="16 verification.decided order-a 4 approve"),
        Delivery("after a restore", event(1000, sequence=2), epoch=RESTORED,
                 prints="1000 verification.decided order-a 2 approve"),
        Delivery("the next after a restore", event(1001, sequence=3), epoch=RESTORED,
                 prints="1001 verification.decided order-a 3 approve"),
    ]


class Receiver:
    def __init__(self, folder, command):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        output = open(os.path.join(folder, "printed"), "w")
        # Opened by itself: it has a position of its own.
        self.printed = open(os.path.join(folder, "printed"), encoding="utf-8")
        environment = {**os.environ, "PORT": str(self.port), "VERDICT_ENDPOINT_SECRET": SECRET,
                       "VERDICT_EVENTS": os.path.join(folder, "events")}
        command = [word.replace("{port}", str(self.port)) for word in command]
        self.process = subprocess.Popen(command, env=environment, stdout=output,
                                        stderr=open(os.path.join(folder, "errors"), "w"))
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.process.kill()
        sys.exit(f"it does not listen on port {self.port}")

    def send(self, delivery):
        """What is wrong with its answer, or with what it prints."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", "/", delivery.body, delivery.headers)
        status = connection.getresponse().status
        connection.close()
        if status != delivery.status:
            return f"answered {status} instead of {delivery.status}"
        line = self.printed.readline().removesuffix("\n") or None
        return None if line == delivery.prints else f'printed "{line}" instead of "{delivery.prints}"'

    def stop(self):
        self.process.kill()
        self.process.wait()
        rest = self.printed.read()
        return f'printed besides: "{rest}"' if rest else None


def main():
    folder, command = sys.argv[1], sys.argv[2:]
    os.makedirs(folder, exist_ok=True)
    for name in ("events", "printed"):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    wrong = []
    for run in deliveries():
        receiver = Receiver(folder, command)
        try:
            for delivery in run:
                problem = receiver.send(delivery)
                if problem:
                    wrong.append(f"{delivery.what}: {problem}")
        finally:
            problem = receiver.stop()
        if problem:
            wrong.append(problem)
    print("\n".join(wrong) or "receives, verifies, notices")
    sys.exit(bool(wrong))


main()
