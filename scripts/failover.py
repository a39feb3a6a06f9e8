#!/usr/bin/env python3
"""Fails the primary of a Patroni cluster over and over under load, and checks what is left.

Started by scripts/failover.sh, in a network namespace of its own. Three nodes, each in a namespace of
its own with etcd, Patroni and Postgres. HAProxy before them, two api processes and two workers of
Verdict (one of each through HAProxy, one of each with all three hosts in its URL), the simulated
provider and two receivers of events.

A round strikes the primary in one of four ways, waits for another one, and brings the node back:

    killed   every process of the node gets SIGKILL
    frozen   Patroni and Postgres of the node are stopped, and go on later
    cut      the node loses its network
    split    the node loses the other nodes, and clients still reach it

Afterwards: every acknowledged callback is there once, with one verification and one decision; the
event log has no gap, and both receivers and the feed have had all of it, in order; the audit
verifies; no process of Verdict has ended; `verdict doctor` finds no fault.
"""

import argparse
import base64
import bisect
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from long_runs import EventOrder, Failed, run, tell, wait_for

NODES = ("one", "two", "three")
KINDS = ("killed", "frozen", "cut", "split")
ROUTES = {"haproxy": 8081, "hosts": 8082}
DATABASES = {
    "haproxy": "postgres://verdict@127.0.0.1:5000/verdict",
    # All nodes have the address of clients in this order.
    "hosts": "postgres://verdict@10.77.0.11,10.77.0.12,10.77.0.13/verdict?sslmode=disable",
}
SENDERS = 6
PAUSE = 0.15  # seconds between two callbacks of a sender
SECRET = os.urandom(32)


def clock():
    return time.strftime("%H:%M:%S", time.gmtime())


# --- the machine: namespaces as nodes ---


class Node:
    """A network namespace with etcd, Patroni and Postgres in it."""

    def __init__(self, number, home, arguments):
        self.name, self.number, self.home, self.arguments = NODES[number], number, home / NODES[number], arguments
        self.clients, self.cluster = f"10.77.0.{11 + number}", f"10.78.0.{11 + number}"
        self.home.mkdir()
        shutil.chown(self.home, "postgres", "postgres")
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        self.namespace = wait_for(
            "a namespace", 10, lambda: (found := os.readlink(f"/proc/{self.holder.pid}/ns/net")) != mine and found
        )
        self.inside("ip", "link", "set", "lo", "up")
        for network, address in (("clients", self.clients), ("cluster", self.cluster)):
            outer = f"{network[:3]}{number}"
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", network, "netns", str(self.holder.pid))
            run("ip", "link", "set", outer, "master", network, "up")
            self.inside("ip", "addr", "add", f"{address}/24", "dev", network)
            self.inside("ip", "link", "set", network, "up")

    def enter(self):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]

    def inside(self, *command):
        return run(*self.enter(), *command)

    def spawn(self, name, *command):
        with open(self.home / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [*self.enter(), "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.home, start_new_session=True,
            )

    def start(self):
        peers = ",".join(f"{name}=http://10.78.0.{11 + n}:2380" for n, name in enumerate(NODES))
        self.etcd = self.spawn(
            "etcd", "etcd", "--name", self.name, "--data-dir", str(self.home / "etcd"),
            "--listen-peer-urls", f"http://{self.cluster}:2380",
            "--initial-advertise-peer-urls", f"http://{self.cluster}:2380",
            "--listen-client-urls", f"http://{self.cluster}:2379",
            "--advertise-client-urls", f"http://{self.cluster}:2379",
            "--initial-cluster", peers, "--heartbeat-interval", "200", "--election-timeout", "2000",
        )
        self.spawn("patroni", self.arguments.patroni, str(self.home / "patroni.yml"))

    def configure(self, postgres_programs):
        trust = ["local all all trust", "host all all 0.0.0.0/0 trust", "host replication all 0.0.0.0/0 trust"]
        settings = {
            "scope": "verdict",
            "name": self.name,
            "restapi": {"listen": "0.0.0.0:8008", "connect_address": f"{self.cluster}:8008"},
            "etcd3": {"hosts": [f"10.78.0.{11 + n}:2379" for n in range(len(NODES))]},
            "bootstrap": {
                "dcs": {
                    "ttl": self.arguments.ttl,
                    "loop_wait": 2,
                    "retry_timeout": 3,
                    "maximum_lag_on_failover": 64 << 20,
                    "synchronous_mode": not self.arguments.asynchronous,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {
                            "wal_log_hints": "on", "shared_buffers": "32MB", "max_connections": 120,
                            "wal_keep_size": "256MB", "wal_sender_timeout": "5s", "wal_receiver_timeout": "5s",
                            "log_timezone": "UTC",
                        },
                    },
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": "0.0.0.0:5432",
                "connect_address": f"{self.cluster}:5432",
                "data_dir": str(self.home / "postgres"),
                "bin_dir": postgres_programs,
                "pgpass": str(self.home / "pgpass"),
                "pg_hba": trust,
                "authentication": {
                    "superuser": {"username": "postgres", "password": "unused"},
                    "replication": {"username": "replicator", "password": "unused"},
                },
                "parameters": {"unix_socket_directories": str(self.home)},
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }
        (self.home / "patroni.yml").write_text(json.dumps(settings))

    def processes(self):
        found = []
        for entry in os.scandir("/proc"):
            try:
                if entry.name.isdigit() and os.readlink(f"/proc/{entry.name}/ns/net") == self.namespace:
                    found.append(int(entry.name))
            except OSError:
                pass  # ended meanwhile
        return [pid for pid in found if pid != self.holder.pid]

    def signal(self, number, but=()):
        # Twice: a process that forks meanwhile leaves a child behind.
        for _ in range(2):
            for pid in set(self.processes()).difference(but):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def link(self, network, state):
        run("ip", "link", "set", f"{network[:3]}{self.number}", state)

    def strike(self, kind):
        if kind == "killed":
            self.signal(signal.SIGKILL)
        elif kind == "frozen":
            # Not etcd: one before 3.4.31 or 3.5.13 that is etcd's leader revokes the leases of others when it
            # wakes (issue 15247), and the new primary loses its role with what it acknowledged.
            self.signal(signal.SIGSTOP, but=[self.etcd.pid])
        else:
            self.link("cluster", "down")
            if kind == "cut":
                self.link("clients", "down")

    def bring_back(self, kind):
        if kind == "killed":
            self.start()
        elif kind == "frozen":
            self.signal(signal.SIGCONT)
        else:
            self.link("cluster", "up")
            self.link("clients", "up")

    def rest(self, path):
        """What Patroni on this node says: status and JSON; None: nothing."""
        connection = http.client.HTTPConnection(self.clients, 8008, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class Cluster:
    def __init__(self, home, arguments):
        self.asynchronous = arguments.asynchronous
        for network, address in (("clients", "10.77.0.1"), ("cluster", None)):
            run("ip", "link", "add", network, "type", "bridge")
            run("ip", "link", "set", network, "up")
            if address:
                run("ip", "addr", "add", f"{address}/24", "dev", network)
        self.nodes = [Node(number, home, arguments) for number in range(len(NODES))]
        for node in self.nodes:
            node.configure(arguments.postgres)

    def primary(self, besides=None):
        """The node that is primary and has the leader's key, in the eyes of another node than `besides`."""
        for node in self.nodes:
            if node is besides:
                continue
            said = node.rest("/cluster")
            for member in said[1].get("members", []) if said else []:
                named = next(node for node in self.nodes if node.name == member["name"])
                if member["role"] == "leader" and member["state"] == "running" and named is not besides:
                    answered = named.rest("/primary")
                    if answered and answered[0] == 200:
                        return named
        return None

    def healthy(self):
        """The primary, if the two others stream from it and one of them is synchronous."""
        primary = self.primary()
        said = primary and primary.rest("/cluster")
        if not said:
            return None
        others = [member for member in said[1]["members"] if member["role"] != "leader"]
        timeline = {member.get("timeline") for member in said[1]["members"]}
        running = [member for member in others if member["state"] in ("running", "streaming")]
        behind = [member for member in running if not isinstance(member.get("lag"), int) or member["lag"] > 1 << 20]
        synchronous = any(member["role"] == "sync_standby" for member in others)
        if len(running) < 2 or behind or len(timeline) != 1 or not (synchronous or self.asynchronous):
            return None
        return primary


# --- the load ---


class Ledger:
    """What was acknowledged, and when."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "w")
        self.accepted = []  # (message, biz_id, verification)
        self.moments = {route: [] for route in ROUTES}
        self.refused = {}

    def acknowledge(self, route, message, biz_id, verification):
        with self.lock:
            self.moments[route].append(time.monotonic())
            self.accepted.append((message, biz_id, verification))
            self.file.write(f"{message}\t{biz_id}\t{verification}\n")

    def again(self, route):
        with self.lock:
            self.moments[route].append(time.monotonic())

    def refuse(self, what):
        with self.lock:
            self.refused[what] = self.refused.get(what, 0) + 1

    def silence(self, since, until, routes):
        """The longest time without a 202 on these routes that overlaps since..until."""
        with self.lock:
            moments = sorted(moment for route in routes for moment in self.moments[route])
        longest, last = 0.0, since
        for moment in moments:
            if moment > since:
                longest = max(longest, moment - last)
            last = max(last, moment) if moment > since else moment
            if moment > until:
                break
        return longest


class Caller:
    """Requests to one api process, over a connection that is kept."""

    def __init__(self, route):
        self.route, self.connection = route, None

    def request(self, method, path, headers=None, body=None, timeout=20):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", ROUTES[self.route], timeout=timeout)
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.connection and self.connection.close()
            self.connection = None
            return type(error).__name__, None


class Load:
    def __init__(self, seed, ledger, key):
        self.ledger, self.key, self.seed = ledger, key, seed
        self.quiet, self.closed = threading.Event(), threading.Event()
        self.faults, self.unseen = [], []
        self.reads = 0
        self.feed = []
        self.threads = [threading.Thread(target=self.send, args=(n,), daemon=True) for n in range(SENDERS)]
        self.others = [threading.Thread(target=self.read, args=(route,), daemon=True) for route in ROUTES]
        self.others.append(threading.Thread(target=self.follow, daemon=True))
        for thread in self.threads + self.others:
            thread.start()

    def post(self, caller, message, biz_id):
        """One signed callback until it is acknowledged, as every sender should; the verification."""
        body = json.dumps({"biz_type": "failover", "biz_id": biz_id}).encode()
        while not self.closed.is_set():
            stamp = str(int(time.time()))
            mac = hmac.new(SECRET, f"{message}.{stamp}.".encode() + body, hashlib.sha256).digest()
            status, answer = caller.request("POST", "/v1/callbacks/app", {
                "content-type": "application/json", "webhook-id": message, "webhook-timestamp": stamp,
                "webhook-signature": "v1," + base64.b64encode(mac).decode(),
            }, body)
            if status == 202:
                return answer["id"]
            code = (answer or {}).get("code", "")
            self.ledger.refuse(f"{status} {code}".strip())
            if status not in (408, 429, 500, 503) and isinstance(status, int):
                self.faults.append(f"a callback got {status} {code}")
                return None
            time.sleep(0.2)
        return None

    def send(self, number):
        dice = random.Random(f"{self.seed}/{number}")
        caller = Caller(list(ROUTES)[number % len(ROUTES)])
        mine, n = [], 0
        while not self.quiet.is_set():
            n += 1
            if mine and dice.random() < 0.1:
                message, biz_id, verification = dice.choice(mine)
                found = self.post(caller, message, biz_id)
                if found:
                    self.ledger.again(caller.route)
                    if found != verification:
                        self.faults.append("a repeated callback got another verification")
            else:
                message, biz_id = f"msg-{self.seed}-{number}-{n}", f"pass-97-{self.seed}-{number}-{n}"
                verification = self.post(caller, message, biz_id)
                if verification:
                    self.ledger.acknowledge(caller.route, message, biz_id, verification)
                    mine.append((message, biz_id, verification))
            time.sleep(PAUSE * dice.uniform(0.5, 1.5))

    def read(self, route):
        """What was acknowledged can be read, by either process."""
        dice, caller = random.Random(f"{self.seed}/{route}"), Caller(route)
        while not self.closed.is_set():
            known = self.ledger.accepted
            if known:
                # The newest half the time: a primary that is behind lacks it.
                _, _, verification = known[-1] if dice.random() < 0.5 else dice.choice(known)
                status, _ = caller.request("GET", f"/v1/verifications/{verification}", self.authorization())
                self.reads += status == 200
                if status == 404:
                    self.unseen.append(f"an acknowledged verification was not found ({route}, {clock()})")
            time.sleep(0.2)

    def follow(self):
        """A reader of the feed: each sequence once, without a gap."""
        caller, after = Caller("haproxy"), 0
        while not self.closed.is_set():
            status, answer = caller.request("GET", f"/v1/events?after={after}&wait=1&limit=500", self.authorization())
            if status != 200:
                time.sleep(0.5)
                continue
            for event in answer["items"]:
                if event["sequence"] != after + 1:
                    self.faults.append(f"the feed goes from {after} to {event['sequence']}")
                after = event["sequence"]
                self.feed.append(event["id"])

    def authorization(self):
        return {"authorization": f"Bearer {self.key}"}


class Receiver(EventOrder, http.server.ThreadingHTTPServer):
    """Takes deliveries and notes what is new, in the order in which it came."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, ordering):
        EventOrder.__init__(self, ordering)
        http.server.ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Delivery)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Delivery(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.take(event)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


# --- the service ---


class Service:
    def __init__(self, home, arguments):
        self.home, self.verdict, self.processes, self.asides = home, arguments.verdict, {}, []
        (home / "secret").write_text("whsec_" + base64.b64encode(SECRET).decode())
        (home / "key").write_text(base64.b64encode(os.urandom(32)).decode())
        os.chmod(home / "key", 0o600)
        os.chmod(home / "secret", 0o600)
        (home / "verdict.toml").write_text(f"""
[sources.app]
secrets_file = "{home}/secret"
[provider]
endpoint = "http://127.0.0.1:9000"
access_key_id = "failover"
access_key_secret = "failover"
queries_per_second = 200
[images]
store = "file://{home}/images"
[webhooks]
allow_private = ["127.0.0.1"]
[[vault.keys]]
id = "k1"
secret_file = "{home}/key"
""")

    def environment(self, route, **more):
        return os.environ | {"DATABASE_URL": DATABASES[route]} | more

    def command(self, *words, route="haproxy", **more):
        return subprocess.run(
            [self.verdict, *words, "--config", str(self.home / "verdict.toml")],
            text=True, capture_output=True, env=self.environment(route, **more),
        )

    def must(self, *words):
        done = self.command(*words)
        if done.returncode:
            raise Failed(f"verdict {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout

    def aside(self, name, *command, **options):
        log = open(self.home / f"{name}.log", "ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
        self.asides.append(process)
        return process

    def haproxy(self):
        servers = "\n".join(
            f"    server {name} 10.77.0.{11 + n}:5432 check port 8008" for n, name in enumerate(NODES)
        )
        (self.home / "haproxy.cfg").write_text(f"""
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s
listen primary
    bind 127.0.0.1:5000
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
""")
        self.aside("haproxy", "haproxy", "-db", "-f", str(self.home / "haproxy.cfg"))

    def provider(self):
        self.aside("provider", self.verdict, "sandbox", "--listen", "127.0.0.1:9000", "--access-key-id", "failover",
                   "--access-key-secret", "failover")

    def serve(self):
        operations = 9464
        for role in ("api", "worker"):
            for route, port in ROUTES.items():
                operations += 1
                self.processes[f"{role}-{route}"] = self.aside(
                    f"{role}-{route}", self.verdict, "serve", "--role", role, "--config", str(self.home / "verdict.toml"),
                    env=self.environment(route, VERDICT__HTTP__LISTEN=f"127.0.0.1:{port}",
                                         VERDICT__OPERATIONS__LISTEN=f"127.0.0.1:{operations}"),
                )
                address = f"http://127.0.0.1:{operations}/readyz"
                wait_for(f"{role}-{route} is ready", 60, lambda address=address: answers(address))

    def ended(self):
        return [f"{name} ended with {process.returncode}" for name, process in self.processes.items()
                if process.poll() is not None]

    def stop(self):
        for process in reversed(self.asides):
            process.terminate()
        for process in self.asides:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except OSError:
        return False


def sql(statement, database="verdict", user="verdict"):
    return run("psql", f"postgres://{user}@127.0.0.1:5000/{database}", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement)


def settle(load, receivers):
    """Waits until nothing is open, and tells how far it is."""
    limit, told = time.monotonic() + 300, time.monotonic()
    while time.monotonic() < limit:
        due, events = json.loads(sql("""select json_build_array(
            (select count(*) from verifications where due_at is not null), (select count(*) from events))"""))
        had = [len(receiver.ids) for receiver in receivers]
        if due == 0 and {events} == {len(load.feed), *had}:
            return
        if time.monotonic() > told + 20:
            told = time.monotonic()
            state = sql("select ordering || ' ' || status || ', sent up to ' || cursor from webhook_endpoints").split("\n")
            tell(f"{due} due; {events} events, {len(load.feed)} in the feed, {had} at the receivers ({'; '.join(state)})")
        time.sleep(0.5)
    tell("NOT SEEN: nothing is open any more")


# --- what must hold ---


def reckon(home, ledger, load, receivers, service):
    """Every count that must be zero, by its name."""
    ledger.file.close()
    path = home / "ledger.tsv"
    counts = json.loads(run("psql", "postgres://verdict@127.0.0.1:5000/verdict", "-qAtX", "-v", "ON_ERROR_STOP=1",
                            "-c", "create temp table ledger (message text primary key, biz_id text, verification uuid)",
                            "-c", f"\\copy ledger from '{path}'", "-c", """
        select json_build_object(
            'acknowledged and lost', (select count(*) from ledger l where not exists (
                select from callbacks c where c.message_id = l.message and c.verification_id = l.verification)),
            'callbacks twice', (select count(*) from (
                select from callbacks group by source, message_id having count(*) > 1) c),
            'verifications twice', (select count(*) from (
                select from verifications group by biz_type, biz_id having count(*) > 1) v),
            'acknowledged without exactly one decision', (select count(*) from ledger l where (
                select count(*) from decisions d where d.verification_id = l.verification) <> 1),
            'gaps in the event log', (select max(number) - count(*) + min(number) - 1 from events),
            'decisions without exactly one event', (select count(*) from decisions d where (
                select count(*) from events e where e.decision_id = d.id and e.kind = 'verification.decided') <> 1),
            'images lost', (select count(*) from images where state = 'lost'))"""))
    events = int(sql("select count(*) from events"))
    for receiver in receivers:
        counts[f"events that the receiver ({receiver.ordering}) lacks"] = events - len(receiver.ids)
        counts[f"faults of order at the receiver ({receiver.ordering})"] = len(receiver.faults)
        for fault in receiver.faults[:5]:
            tell(f"receiver ({receiver.ordering}): {fault}")
    counts["events that the feed lacks"] = events - len(load.feed)
    counts["acknowledged verifications that a reader did not find"] = len(load.unseen)
    counts["other faults that callers saw"] = len(load.faults)
    for fault in load.faults[:10] + load.unseen[:10]:
        tell(f"a caller: {fault}")
    counts["events with another id in the feed than at a receiver"] = sum(
        1 for number, event in enumerate(load.feed, 1) if receivers[0].ids.get(number) not in (None, event))
    counts["processes that ended"] = len(service.ended())
    failed = sql("""select string_agg(n || ' ' || coalesce(status::text, error), ', ') from (
        select status, error, count(*) n from webhook_attempts where status is distinct from 204 group by 1, 2) a""").strip()
    tell(f"deliveries that failed: {failed or 'none'}")
    audit = service.command("audit", "verify")
    counts["audit does not verify"] = int(audit.returncode != 0)
    for route in ROUTES:
        doctor = service.command("doctor", route=route, VERDICT__HTTP__LISTEN="127.0.0.1:8090",
                                 VERDICT__OPERATIONS__LISTEN="127.0.0.1:9490")
        (home / f"doctor-{route}.txt").write_text(doctor.stdout + doctor.stderr)
        counts[f"doctor finds a fault ({route})"] = int(doctor.returncode != 0)
    return counts, events


def followed(home):
    """How long after each promotion the first 202 came by each route, in seconds. From the logs."""
    promoted = []
    for name in NODES:
        with open(home / name / "patroni.log", errors="replace") as lines:
            promoted += [line.split(" UTC ")[0] for line in lines
                         if line.rstrip().endswith("LOG:  database system is ready to accept connections")]
    # The first one is that of the new cluster.
    promoted = [datetime.datetime.fromisoformat(moment).timestamp() for moment in sorted(promoted)[1:]]
    found = {}
    for route in ROUTES:
        with open(home / f"api-{route}.log", errors="replace") as lines:
            accepted = sorted(
                datetime.datetime.fromisoformat(json.loads(line)["timestamp"].rstrip("Z")).timestamp()
                for line in lines if '"status":202' in line)
        firsts = [(moment, bisect.bisect_left(accepted, moment)) for moment in promoted]
        found[route] = [accepted[first] - moment for moment, first in firsts if first < len(accepted)]
    return found


def shares(seconds):
    ordered = sorted(seconds)
    p90 = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return f"{ordered[0]:.1f} / {statistics.median(ordered):.1f} / {p90:.1f} / {ordered[-1]:.1f}"


def table(path):
    """All parts so far, and the times without a 202 over all of them, as Markdown."""
    parts = [json.loads(line) for line in open(path)]
    print("| Date | Commit | Patroni | Seed | Standby | Rounds | Acknowledged | Events | Sum of all faults |")
    print("|---|---|---|---|---|---|---|---|---|")
    for part in parts:
        kinds = ", ".join(f"{part['kinds'].count(kind)} {kind}" for kind in KINDS)
        print(f"| {part['date']} | {part['commit']} | {part['patroni']} | {part['seed']} | {part['standby']} | {len(part['kinds'])}: {kinds} "
              f"| {part['acknowledged']} | {part['events']} | {sum(part['counts'].values())} |")
    rounds = [one for part in parts if part["standby"] == "synchronous" for one in part["rounds"]]
    if not rounds:
        return
    print("\n| Strike | Rounds | Either route | Through HAProxy | All hosts in the URL |\n|---|---|---|---|---|")
    for kind in (*KINDS, "all"):
        chosen = [one for one in rounds if kind in (one["kind"], "all")]
        if chosen:
            print(f"| {kind} | {len(chosen)} | " + " | ".join(
                shares([one[column] for one in chosen]) for column in ("either", *ROUTES)) + " |")
    print("\n| First 202 after a promotion | Promotions | Seconds |\n|---|---|---|")
    for route in ROUTES:
        seconds = [one for part in parts if part["standby"] == "synchronous"
                   for one in part["followed"][route]]
        if seconds:
            print(f"| {route} | {len(seconds)} | {shares(seconds)} |")


def strike_rounds(cluster, ledger, arguments):
    dice = random.Random(arguments.seed)
    order, rounds = [], []
    for number in range(1, arguments.rounds + 1):
        if not order:
            order = list(KINDS)
            dice.shuffle(order)
        kind = order.pop()
        primary = wait_for("a healthy cluster", 180, cluster.healthy)
        time.sleep(dice.uniform(0.5, 3))
        struck = time.monotonic()
        primary.strike(kind)
        successor = wait_for("another primary", 120, lambda: cluster.primary(besides=primary))
        taken = time.monotonic()
        for route in ROUTES:
            wait_for(f"a 202 through {route}", 120, lambda route=route: ledger.moments[route][-1] > taken)
        time.sleep(dice.uniform(0, 5))
        primary.bring_back(kind)
        whole = healthy_again(cluster)
        now = time.monotonic()
        rounds.append({
            "kind": kind, "primary": primary.name, "successor": successor.name,
            "either": ledger.silence(struck, now, ROUTES),
            **{route: ledger.silence(struck, now, [route]) for route in ROUTES},
        })
        told = rounds[-1]
        tell(f"round {number}: {primary.name} {kind}, then {successor.name}; without a 202: {told['either']:.1f} s, "
             f"through HAProxy {told['haproxy']:.1f} s, with all hosts {told['hosts']:.1f} s; "
             f"{'healthy again' if whole else 'not whole'} after {now - struck:.0f} s")
        if not whole:
            break
    return rounds


def healthy_again(cluster):
    """Whether the cluster is whole again. A standby that is not synchronous may have received what its
    new primary never had. Then it never streams again: the rounds end, and what is lost is counted."""
    try:
        return wait_for("a healthy cluster", 60 if cluster.asynchronous else 180, cluster.healthy)
    except Failed:
        if cluster.asynchronous:
            return None
        raise


def part(arguments, home):
    """One part: the counts that are not zero."""
    service, cluster = Service(home, arguments), Cluster(home, arguments)
    try:
        for node in cluster.nodes:
            node.start()
        service.haproxy()
        service.provider()
        wait_for("a healthy cluster", 180, cluster.healthy)
        wait_for("HAProxy leads to the primary", 30, lambda: subprocess.run(
            ["psql", "postgres://postgres@127.0.0.1:5000/postgres", "-qc", "select"], capture_output=True).returncode == 0)
        sql("create role verdict login", "postgres", "postgres")
        sql("create database verdict owner verdict", "postgres", "postgres")
        service.must("migrate")
        receivers = [Receiver("strict"), Receiver("per-verification")]
        for receiver in receivers:
            service.must("webhooks", "add", "--url", f"http://127.0.0.1:{receiver.server_port}/", "--ordering",
                         receiver.ordering, "--start", "beginning")
        key = service.must("keys", "create", "--name", "failover", "--scopes", "decisions:read,events:read").split()[0]
        service.serve()
        tell("everything runs")
        ledger = Ledger(home / "ledger.tsv")
        load = Load(arguments.seed, ledger, key)
        for route in ROUTES:
            wait_for("a first 202", 60, lambda route=route: ledger.moments[route])
        rounds = strike_rounds(cluster, ledger, arguments)
        load.quiet.set()
        for thread in load.threads:
            thread.join(120)
        tell("no more callbacks; waiting for what is open")
        settle(load, receivers)
        counts, events = reckon(home, ledger, load, receivers, service)
        load.closed.set()
        tell(f"{len(ledger.accepted)} acknowledged, {load.reads} reads, {events} events, "
             f"{sum(receiver.repeats for receiver in receivers)} deliveries repeated; refused: {ledger.refused}")
        for name, count in counts.items():
            tell(f"{count}  {name}")
        tell("time without a 202, in seconds, least / median / p90 / most: " + "; ".join(
            f"{column} {shares([one[column] for one in rounds])}" for column in ("either", *ROUTES)))
        with open(arguments.parts, "a") as parts:
            parts.write(json.dumps({
                "date": time.strftime("%Y-%m-%d"), "commit": arguments.commit, "seed": arguments.seed,
                "patroni": run(arguments.patroni, "--version").split()[-1],
                "standby": "asynchronous" if arguments.asynchronous else "synchronous",
                "kinds": [one["kind"] for one in rounds], "rounds": rounds, "acknowledged": len(ledger.accepted),
                "events": events, "counts": counts, "followed": followed(home),
            }) + "\n")
        return {name: count for name, count in counts.items() if count}
    finally:
        service.stop()
        for node in cluster.nodes:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGKILL)
            node.holder.kill()


def interrupt(*_):
    raise KeyboardInterrupt("ended by a signal")


def main():
    parser = argparse.ArgumentParser(prog="scripts/failover.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="strikes in this part (5)")
    parser.add_argument("--seed", type=int, default=1, help="order and moments of the strikes, and the callbacks' names (1)")
    parser.add_argument("--ttl", type=int, default=20,
                        help="seconds after which a silent primary loses its role (20, Patroni's minimum)")
    parser.add_argument("--asynchronous", action="store_true", help="no synchronous standby: the checks must find losses")
    parser.add_argument("--table", action="store_true", help="only print the table of all parts so far")
    arguments = parser.parse_args()
    here = pathlib.Path("target/failover").resolve()
    here.mkdir(parents=True, exist_ok=True)
    arguments.parts = here / "parts.jsonl"
    if arguments.table:
        table(arguments.parts)
        return 0
    arguments.verdict = os.path.abspath(os.environ.get("VERDICT", "target/debug/verdict"))
    arguments.postgres, arguments.patroni = os.environ["PG_BIN"], os.environ["PATRONI"]
    arguments.commit = run(arguments.verdict, "--version").split("(")[-1].strip(" )\n")
    # SIGINT too: a shell's background job ignores it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    run("ip", "link", "set", "lo", "up")
    home = pathlib.Path(tempfile.mkdtemp(prefix="failover."))
    home.chmod(0o755)
    try:
        wrong = part(arguments, home)
    except (Failed, KeyboardInterrupt) as failed:
        tell(f"error: {failed}")
        wrong = {"not finished": 1}
    kept = here / f"part-{arguments.seed}{'-asynchronous' if arguments.asynchronous else ''}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(home, kept, ignore=shutil.ignore_patterns("postgres", "etcd", "images", "key", "secret", "*.s.PGSQL*", ".s.*"))
    shutil.rmtree(home)
    if arguments.asynchronous:
        lost = wrong.get("acknowledged and lost", 0)
        tell(f"without a synchronous standby {lost} acknowledged callbacks were lost" + ("" if lost else ": the check found none"))
        return 0 if lost else 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
