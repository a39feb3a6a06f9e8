"""The load: senders, readers, a reader of the feed, reviewers and receivers of events, and what they saw."""

import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import random
import threading
import time

from long_runs import EventOrder
from timetable import ACTIONS, FACE_VERIFY, STARTS, VERIFY_RESULT

SENDERS, READERS = 4, 2
READ_PAUSE = 0.15  # seconds between two requests of a reader
REVIEW_PAUSE = 4  # seconds between two cases of the reviewers
VERIFY_SCENE, FACE_SCENE = "day", "1000000006"
READ_SCOPES = "decisions:read,results:read,material:read,images:read,events:read,verifications:write"
# Answers after which a caller repeats its request, as docs/api.md says. None: there was no answer.
REPEAT_AFTER = (None, 408, 429, 500, 503)


def signature(secret, message, stamp, body):
    mac = hmac.new(base64.b64decode(secret), f"{message}.{stamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


class Caller:
    """Requests to any api process, over connections that are kept. Each thread has one."""

    def __init__(self, balancer):
        self.balancer, self.connections = balancer, {}

    def request(self, method, path, headers=None, body=None, timeout=40):
        """Status and JSON, each None where there is none. A text is sent as UTF-8."""
        body = body.encode() if isinstance(body, str) else body
        port = self.balancer.choose()
        if port is None:
            return None, None
        connection = self.connections.pop(port, None) or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None, None
        if len(self.connections) > 3:
            self.connections.clear()  # of processes that were replaced
        self.connections[port] = connection
        try:
            return answer.status, json.loads(text or b"null")
        except ValueError:
            return answer.status, None


def draw(dice, weighted):
    """One of (…, weight, …): the whole tuple."""
    return dice.choices(weighted, [one[1] for one in weighted])[0]


class Lines:
    """A file to which one JSON value a line is appended, and what it held before."""

    def __init__(self, path):
        self.before = [json.loads(line) for line in open(path)] if path.exists() else []
        self.file = open(path, "a")

    def append(self, value):
        self.file.write(json.dumps(value, separators=(",", ":")) + "\n")
        self.file.flush()


class Ledger:
    """What was acknowledged, over all parts of the day. It knows only the answers."""

    def __init__(self, folder, part):
        self.lock, self.part = threading.Lock(), part
        self.lines, self.erasure_lines = Lines(folder / "ledger.jsonl"), Lines(folder / "erased.jsonl")
        self.review_lines = Lines(folder / "reviewed.jsonl")
        self.entries = self.lines.before
        # Verifications whose person is being erased or is erased, and what may then be found nowhere.
        self.erased = {one["verification"]: one["needles"] for one in self.erasure_lines.before}
        self.reviewed = {one["verification"]: one["outcome"] for one in self.review_lines.before}
        self.kept = set()  # of happenings: nobody else erases them
        self.counts, self.faults = {}, []
        self.newest_202, self.longest_gap = time.monotonic(), 0.0

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fault(self, what):
        with self.lock:
            self.faults.append(what)

    def accepted(self):
        with self.lock:
            now = time.monotonic()
            self.longest_gap, self.newest_202 = max(self.longest_gap, now - self.newest_202), now

    def begin_gap(self):
        with self.lock:
            self.longest_gap, self.newest_202 = 0.0, time.monotonic()

    def acknowledge(self, entry):
        with self.lock:
            self.entries.append(entry)
            self.lines.append(entry)

    def mark_erased(self, verification, needles):
        """Before the erasure is requested, so that no sender is surprised."""
        with self.lock:
            self.erased[verification] = needles

    def acknowledge_erasure(self, verification):
        with self.lock:
            self.erasure_lines.append({"verification": verification, "needles": self.erased[verification]})

    def acknowledge_review(self, verification, outcome):
        with self.lock:
            self.reviewed[verification] = outcome
            self.review_lines.append({"verification": verification, "outcome": outcome})

    def of_this_part(self):
        with self.lock:
            return [one for one in self.entries if one["part"] == self.part
                    and one["verification"] not in self.erased and one["verification"] not in self.kept]


class Load:
    """All callers. `quiet`: nothing new; `closed`: nobody calls any more."""

    def __init__(self, seed, part, rate, ledger, service, receivers):
        self.seed, self.part, self.rate, self.ledger, self.service = seed, part, rate, ledger, service
        self.state, self.receivers = service.state, receivers
        self.quiet, self.closed, self.may_start = threading.Event(), threading.Event(), threading.Event()
        self.may_start.set()
        self.number, self.number_lock = 0, threading.Lock()
        self.feed_lines = Lines(service.folder / "feed.jsonl")
        self.feed = self.feed_lines.before
        self.senders = [self.thread(self.send, n) for n in range(SENDERS)] + [self.thread(self.review)]
        self.others = [self.thread(self.read, n) for n in range(READERS)] + [self.thread(self.follow)]

    def thread(self, target, *arguments):
        def guarded():
            try:
                target(*arguments)
            except Exception as error:  # or else a caller would be missing unnoticed
                self.ledger.fault(f"{target.__name__} ended with {error!r}")

        return threading.Thread(target=guarded, daemon=True)

    def begin(self):
        for thread in self.senders + self.others:
            thread.start()

    def authorization(self, name="reader", **more):
        return {"authorization": f"Bearer {self.state['keys'][name]['key']}"} | more

    def next_number(self):
        with self.number_lock:
            self.number += 1
            return self.number

    # --- senders ---

    def send(self, number):
        dice = random.Random(f"{self.seed}/{self.part}/sender/{number}")
        caller, mine = Caller(self.service.balancer), []
        due = time.monotonic()
        while not self.quiet.is_set():
            entry = getattr(self, draw(dice, ACTIONS)[0])(dice, caller, mine)
            if entry:
                mine.append(entry)
                del mine[:-2000]
            # At the same rate, whatever was missed before.
            due = max(due + SENDERS / self.rate, time.monotonic())
            self.quiet.wait(due - time.monotonic())

    def verify_result(self, dice, caller, _mine):
        script, _, outcomes = draw(dice, VERIFY_RESULT)
        return self.callback(caller, script, outcomes, {"biz_type": VERIFY_SCENE})

    def face_verify(self, dice, caller, _mine):
        script, _, outcomes = draw(dice, FACE_VERIFY)
        return self.callback(caller, script, outcomes, {"product": "face-verify", "biz_type": FACE_SCENE})

    def callback(self, caller, script, outcomes, body):
        """A new callback, whose reference is a canary."""
        number = self.next_number()
        # The underscore ends the script.
        name = f"{script}_{self.seed}-{self.part}-{number}"
        canary = f"canary-{self.part}-{number}-{os.urandom(4).hex()}"
        body |= {"certify_id" if script.startswith("fv-") else "biz_id": name, "reference": canary}
        return self.post(caller, number, json.dumps(body), outcomes, canary)

    def start(self, dice, caller, _mine):
        """A start by the API, and the callback after it. Where the start remains unknown, there is none."""
        if not self.may_start.is_set():
            return None
        script, _, outcomes = draw(dice, STARTS)
        number = self.next_number()
        # Letters and digits only; the u ends the script.
        order = f"{script}u{self.seed}p{self.part}n{number}"
        canary = f"canary-{self.part}-{number}-{os.urandom(4).hex()}"
        started = {
            "product": "face-verify", "biz_type": FACE_SCENE, "biz_id": order, "source": "app",
            "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD", "cert_name": "测试甲",
            "cert_no": "000000198501010018", "meta_info": {"deviceType": "ios"}, "reference": canary,
        }
        limit = time.monotonic() + 150  # longer than the lease of a start whose process was killed
        while time.monotonic() < limit and not self.closed.is_set():
            status, answer = caller.request("POST", "/v1/verifications", self.authorization(
                **{"content-type": "application/json"}), json.dumps(started))
            code = (answer or {}).get("code")
            if status in (200, 201):
                body = {"product": "face-verify", "biz_type": FACE_SCENE, "biz_id": order, "reference": canary}
                entry = self.post(caller, number, json.dumps(body), outcomes, canary)
                if entry and entry["verification"] != answer["verification"]["id"]:
                    self.ledger.fault("a callback about a start got another verification")
                return entry
            if code == "start-unknown":
                self.ledger.count("starts whose answer was lost")
                return None
            if status not in REPEAT_AFTER and code != "start-running":
                self.ledger.fault(f"a start got {status} {code}")
                return None
            self.closed.wait(0.5)
        self.ledger.count("starts that were given up")
        return None

    def post(self, caller, number, body, outcomes, canary):
        message = f"day-{self.seed}-{self.part}-{number}"
        verification = self.deliver(caller, message, body)
        if not verification:
            return None
        entry = {"message": message, "body": body, "verification": verification, "outcomes": sorted(outcomes),
                 "canary": canary, "part": self.part}
        self.ledger.acknowledge(entry)
        return entry

    def deliver(self, caller, message, body):
        """One signed callback until it is acknowledged, as every sender should: the verification."""
        while not self.closed.is_set():
            status, answer = self.send_signed(caller, message, body)
            if status == 202:
                self.ledger.accepted()
                return answer["id"]
            code = (answer or {}).get("code", "")
            self.ledger.count(f"callbacks answered {status} {code}".strip())
            if status not in REPEAT_AFTER:
                if code != "erased":
                    self.ledger.fault(f"a callback got {status} {code}")
                return None
            self.closed.wait(0.3)
        return None

    def send_signed(self, caller, message, body, secret=None, age=0, source="app"):
        body = body.encode()
        stamp = str(int(time.time()) - age)
        return caller.request("POST", f"/v1/callbacks/{source}", {
            "content-type": "application/json", "webhook-id": message, "webhook-timestamp": stamp,
            "webhook-signature": signature(secret or self.state["callback_secret"], message, stamp, body),
        }, body)

    def repeat(self, dice, caller, mine):
        """The same message again: the same answer."""
        known = [one for one in mine[-50:] if one["verification"] not in self.ledger.erased]
        if known:
            entry = dice.choice(known)
            verification = self.deliver(caller, entry["message"], entry["body"])
            if verification:
                self.ledger.count("repeats answered alike")
            if verification not in (None, entry["verification"]):
                self.ledger.fault("a repeated callback got another verification")
            if verification is None and entry["verification"] not in self.ledger.erased and not self.closed.is_set():
                self.ledger.fault("a repeated callback was refused as erased")

    def forge(self, dice, caller, mine):
        """What must not be accepted."""
        known = [one for one in mine[-50:] if one["verification"] not in self.ledger.erased]
        message = f"forged-{self.seed}-{self.part}-{self.next_number()}"
        body = json.dumps({"biz_type": VERIFY_SCENE, "biz_id": f"pass-97_{message}"})
        kind = dice.choice(["signature", "stale", "source", "bytes", "key"])
        wanted = 401
        if kind == "signature":
            status, _ = self.send_signed(caller, message, body, secret=base64.b64encode(os.urandom(32)))
        elif kind == "stale":
            status, _ = self.send_signed(caller, message, body, age=dice.choice([-3600, 3600]))
        elif kind == "source":
            status, _ = self.send_signed(caller, message, body, source="nobody")
        elif kind == "key":
            status, _ = caller.request("GET", "/v1/verifications", {"authorization": "Bearer vk_forged"})
        elif known:
            entry, wanted = dice.choice(known), 409
            status, _ = self.send_signed(caller, entry["message"], entry["body"].replace("canary", "forged"))
            if status == 410 and entry["verification"] in self.ledger.erased:
                return
        else:
            return
        if status == wanted:
            self.ledger.count("forgeries refused")
        elif status not in REPEAT_AFTER:
            self.ledger.fault(f"a forgery ({kind}) got {status}")

    # --- readers ---

    def read(self, number):
        dice = random.Random(f"{self.seed}/{self.part}/reader/{number}")
        caller = Caller(self.service.balancer)
        while not self.closed.is_set():
            known = self.ledger.entries
            if known:
                # The newest often: a server that is behind lacks it.
                entry = known[-1] if dice.random() < 0.3 else dice.choice(known)
                path, fine, headers = self.question(dice, entry)
                status, answer = caller.request("GET", path, self.authorization(**headers))
                self.ledger.count("reads" if status == 200 else f"reads answered {status}")
                if status not in (200, *fine, *REPEAT_AFTER):
                    self.ledger.fault(f"a read of {path.split('?')[0].rsplit('/', 1)[-1]} got {status} "
                                      f"{(answer or {}).get('code')}")
            self.closed.wait(READ_PAUSE * dice.uniform(0.5, 1.5))

    def question(self, dice, entry):
        """A path, the answers besides 200 that are right, and headers."""
        one = f"/v1/verifications/{entry['verification']}"
        kind = dice.randrange(10)
        if kind < 3:
            return one, (), {}
        if kind < 6:
            return one + dice.choice(["/decisions", "/results", "/timeline", "/images", "/waiting"]), (404, 410), {}
        if kind < 7:
            return one + "/material", (404, 410), {"verdict-purpose": "a day in production"}
        if kind < 8:
            return one + "?wait=3", (), {}
        if kind < 9:
            return "/v1/verifications?limit=20&" + dice.choice(
                ["state=decided", "state=failed", "outcome=review", "outcome=approve", f"biz_type={FACE_SCENE}"]), (), {}
        return f"/v1/search?text={entry['message']}", (), {}

    def follow(self):
        """A reader of the feed: each sequence once, without a gap."""
        caller, after = Caller(self.service.balancer), len(self.feed)
        while not self.closed.is_set():
            status, answer = caller.request("GET", f"/v1/events?after={after}&wait=5&limit=500", self.authorization())
            if status != 200:
                if status not in REPEAT_AFTER:
                    self.ledger.fault(f"the feed got {status}")
                self.closed.wait(0.5)
                continue
            for event in answer["items"]:
                if event["sequence"] != after + 1:
                    self.ledger.fault(f"the feed goes from {after} to {event['sequence']}")
                after = event["sequence"]
                self.feed.append(event["id"])
                self.feed_lines.append(event["id"])

    # --- reviewers ---

    def review(self):
        """Two persons decide cases at the command line. An approval needs both of them."""
        dice, caller = random.Random(f"{self.seed}/{self.part}/reviewers"), Caller(self.service.balancer)
        while not self.quiet.wait(REVIEW_PAUSE):
            status, answer = caller.request("GET", "/v1/verifications?outcome=review&limit=20", self.authorization())
            items = answer["items"] if status == 200 else []
            cases = [one["id"] for one in items if one["id"] not in self.ledger.erased]
            if not cases:
                continue
            case = dice.choice(cases)
            with self.ledger.lock:
                self.ledger.kept.add(case)
            outcome, reason = dice.choice([("approve", "faces-match"), ("reject", "different-person")])
            decided = self.decide(case, outcome, reason, "anna")
            if decided is False:
                # Four eyes.
                decided = self.decide(case, outcome, reason, "bert")
            if decided:
                self.ledger.acknowledge_review(case, outcome)

    def decide(self, case, outcome, reason, person):
        """Whether the review decided the case; None: it was refused, or the service was away."""
        port = self.service.balancer.choose()
        done = self.service.command(
            "review", "decide", case, outcome, "--reason", reason, "--purpose", "a day in production", "--note",
            "looked at by two", "--json", VERDICT_API_KEY=self.state["keys"][person]["key"],
            VERDICT_URL=f"http://127.0.0.1:{port}",
        )
        self.ledger.count("reviews given" if done.returncode == 0 else "reviews refused")
        return json.loads(done.stdout)["decided"] if done.returncode == 0 else None

    # --- the end ---

    def stop_senders(self):
        self.quiet.set()
        for thread in self.senders:
            thread.join(180)

    def close(self):
        self.closed.set()
        for thread in self.others:
            thread.join(60)


# --- receivers ---


class Receiver(EventOrder, http.server.ThreadingHTTPServer):
    """Takes deliveries, checks them, and keeps what is new in the order in which it came."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, ordering, folder, secrets):
        # Events of endpoints are not sent to the endpoint that they are about.
        EventOrder.__init__(self, ordering, may_skip=True)
        self.secrets, self.is_broken, self.refused = secrets, False, 0
        self.lines = Lines(folder / f"received-{ordering}.jsonl")
        for noted in self.lines.before:
            self.note(*noted)
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Delivery)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def keep(self, *noted):
        self.lines.append(noted)

    def is_signed(self, headers, body):
        message, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        given = headers["webhook-signature"].split()
        return any(signature(secret.removeprefix("whsec_"), message, stamp, body) in given for secret in self.secrets)


class Delivery(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = 204
        if self.server.is_broken:
            status = 500
            with self.server.lock:
                self.server.refused += 1
        elif not self.server.is_signed(self.headers, body):
            status = 401
            with self.server.lock:
                self.server.faults.append("a delivery without a signature that fits")
        else:
            self.server.take(json.loads(body))
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass
