"""The installation of the day: two Postgres servers, the simulated provider, four processes of Verdict."""

import base64
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from long_runs import Failed, run, tell, wait_for

# Processes of Verdict: a slot is filled by one process after the other.
SLOTS = {"api-1": "api", "api-2": "api", "worker-1": "worker", "worker-2": "worker"}
POSTGRES_SETTINGS = """
max_connections = 120
shared_buffers = 64MB
max_wal_size = 256MB
wal_keep_size = 128MB
wal_log_hints = on
"""
# Of the small filesystem, for each minute of the day.
VOLUME_MIB_PER_MINUTE, LEAST_VOLUME_MIB = 40, 512


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def new_secret():
    return base64.b64encode(os.urandom(32)).decode()


def state_and_parent(pid):
    # The name of the program before them, in brackets, may hold anything.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def is_alive(pid):
    """A zombie, which nobody has waited for yet, is not."""
    try:
        return state_and_parent(pid)[0] != "Z"
    except OSError:
        return False


def children(parent):
    """The pids of the processes that a process has started."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and state_and_parent(name)[1] == parent:
                found.append(int(name))
        except OSError:
            pass  # ended meanwhile
    return found


class State(dict):
    """What one part leaves to the next: a JSON file that only its owner reads."""

    def __init__(self, path):
        super().__init__(json.loads(path.read_text()) if path.exists() else {})
        self.path = path

    def save(self):
        beside = self.path.with_suffix(".new")
        beside.touch(0o600)
        beside.write_text(json.dumps(self, indent=1))
        beside.replace(self.path)


# --- Postgres ---


class Node:
    """One Postgres server."""

    def __init__(self, name, folder, port, pair):
        self.name, self.folder, self.port, self.pair = name, folder, port, pair

    def program(self, name, *words):
        return run(*self.pair.as_postgres, f"{self.pair.programs}/{name}", *words, cwd="/", stdin=subprocess.DEVNULL)

    def initialize(self):
        self.program("initdb", "-D", str(self.folder), "-U", "verdict", "-A", "trust", "-E", "UTF8", "--locale=C",
                     "--wal-segsize=4")
        with open(self.folder / "postgresql.conf", "a") as settings:
            settings.write(POSTGRES_SETTINGS)

    def start(self, upstream=None):
        options = f"-h 127.0.0.1 -p {self.port} -k {self.pair.sockets}"
        if upstream:
            # On the command line, so that the folder does not say who was the primary once.
            server = f"host=127.0.0.1 port={upstream.port} user=verdict application_name={self.name}"
            options += f" -c primary_conninfo='{server}'"
        self.program("pg_ctl", "-D", str(self.folder), "-w", "-t", "120", "-s", "-l", str(self.pair.log(self)), "-o",
                     options, "start")

    def pid(self):
        """The postmaster, if it runs."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split()[0])
            return pid if is_alive(pid) else None
        except (OSError, ValueError, IndexError):
            return None

    def processes(self):
        pid = self.pid()
        return [pid, *children(pid)] if pid else []

    def kill(self):
        """As when the machine is lost."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_for(f"Postgres {self.name} is gone", 30, lambda: self.pid() is None)
        # Not removed by a server that was killed.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def stop(self, mode="fast"):
        if self.pid():
            self.program("pg_ctl", "-D", str(self.folder), "-m", mode, "-w", "-t", "120", "-s", "stop")

    def psql(self, *statements, database="verdict"):
        words = [word for statement in statements for word in ("-c", statement)]
        return run(f"{self.pair.programs}/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "verdict", "-d",
                   database, "-qAtX", "-v", "ON_ERROR_STOP=1", *words, stdin=subprocess.DEVNULL).strip()

    def answers(self):
        try:
            return self.psql("select true", database="postgres") == "t"
        except Failed:
            return False


class Pair:
    """A primary and its synchronous standby. The first one is on a small filesystem, where one can be mounted."""

    def __init__(self, folder, state, programs):
        self.folder, self.state, self.programs = folder, state, programs
        self.as_postgres = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.sockets = folder / "data"
        self.volume = folder / "volume"
        self.is_mounted = False
        state.setdefault("postgres_ports", [free_port(), free_port()])
        state.setdefault("primary", "a")
        ports = state["postgres_ports"]
        self.nodes = {"a": Node("a", self.volume / "postgres", ports[0], self),
                      "b": Node("b", self.sockets / "postgres", ports[1], self)}

    def log(self, node):
        return self.sockets / f"postgres-{node.name}.log"

    @property
    def primary(self):
        return self.nodes[self.state["primary"]]

    @property
    def standby(self):
        return self.nodes["b" if self.state["primary"] == "a" else "a"]

    def url(self):
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes.values())
        return f"postgres://verdict@{hosts}/verdict"

    def sql(self, *statements, **options):
        return self.primary.psql(*statements, **options)

    def prepare(self, minutes):
        """The places. What the first part could not mount, the second does not mount either."""
        for place in (self.sockets, self.volume):
            place.mkdir(exist_ok=True)
        image = self.folder / "volume.img"
        if "volume" not in self.state:
            self.state["volume"] = os.getuid() == 0 and self.make_image(image, minutes)
        if self.state["volume"]:
            run("mount", "-o", "loop", str(image), str(self.volume))
            self.is_mounted = True
        if os.getuid() == 0:
            for place in (self.sockets, self.volume):
                shutil.chown(place, "postgres", "postgres")

    def make_image(self, image, minutes):
        with open(image, "wb") as file:
            file.truncate(max(LEAST_VOLUME_MIB, int(VOLUME_MIB_PER_MINUTE * minutes)) << 20)
        try:
            # Nothing kept for root, so that full is full.
            run("mkfs.ext4", "-q", "-m", "0", str(image))
            run("mount", "-o", "loop", str(image), str(self.volume))
            run("umount", str(self.volume))
        except (Failed, OSError) as why:
            tell(f"no small filesystem can be mounted here, so the disk will not be filled: {why}")
            image.unlink()
            return False
        return True

    def create(self):
        self.primary.initialize()
        self.primary.start()
        self.primary.psql("create database verdict", database="postgres")
        self.attach_standby()

    def attach_standby(self):
        """Makes the other server anew from the primary. From then on commits wait for it."""
        node = self.standby
        if node.folder.exists():
            shutil.rmtree(node.folder)
        node.program("pg_basebackup", "-D", str(node.folder), "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p",
                     str(self.primary.port), "-U", "verdict")
        # What the primary was told by `alter system`: once promoted, this server must not wait for a standby.
        (node.folder / "postgresql.auto.conf").write_text("")
        signal_file = node.folder / "standby.signal"
        signal_file.touch()
        if os.getuid() == 0:
            shutil.chown(signal_file, "postgres", "postgres")
        node.start(self.primary)
        self.primary.psql("alter system set synchronous_standby_names = '*'", "select pg_reload_conf()",
                          database="postgres")
        self.wait_for_standby()

    def wait_for_standby(self):
        wait_for("the standby is synchronous", 120, self.is_synchronous)

    def is_synchronous(self):
        try:
            return self.primary.psql("select sync_state from pg_stat_replication", database="postgres") == "sync"
        except Failed:
            return False

    def start(self):
        self.primary.start()
        self.standby.start(self.primary)
        self.wait_for_standby()

    def fail_over(self):
        """Loses the primary, and promotes the standby."""
        self.primary.kill()
        self.standby.program("pg_ctl", "-D", str(self.standby.folder), "-w", "-t", "60", "-s", "promote")
        self.state["primary"] = self.standby.name

    def stop(self, mode="fast"):
        # The primary first: it sends the rest to the standby.
        for node in (self.primary, self.standby):
            node.stop(mode)

    def give_back(self):
        if self.is_mounted:
            run("umount", str(self.volume))
            self.is_mounted = False


# --- Verdict ---


class Balancer:
    """The addresses of the api processes that take requests."""

    def __init__(self):
        self.lock, self.addresses = threading.Lock(), {}

    def put(self, slot, port):
        with self.lock:
            self.addresses[slot] = port

    def take_out(self, slot):
        with self.lock:
            self.addresses.pop(slot, None)

    def choose(self):
        with self.lock:
            return random.choice(list(self.addresses.values())) if self.addresses else None


class Process:
    """One process of Verdict."""

    def __init__(self, slot, service):
        self.slot, self.http, self.operations = slot, free_port(), free_port()
        environment = service.environment() | {
            "VERDICT__HTTP__LISTEN": f"127.0.0.1:{self.http}",
            "VERDICT__OPERATIONS__LISTEN": f"127.0.0.1:{self.operations}",
        }
        with open(service.folder / f"{slot}.log", "ab") as log:
            self.process = subprocess.Popen(
                [service.binary, "serve", "--role", SLOTS[slot], "--config", str(service.configuration)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
            )
        try:
            wait_for(f"{slot} is ready", 90, self.is_ready)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    @property
    def pid(self):
        return self.process.pid

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.operations, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None, ""
        finally:
            connection.close()

    def is_ready(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.slot} ended with {self.process.returncode}: see its log")
        return self.ask("/readyz")[0] == 200

    def applied_reloads(self):
        """How often it has taken over a changed configuration."""
        applied = r'^verdict_config_reloads_total\{outcome="applied"\} ([0-9.]+)'
        found = re.search(applied, self.ask("/metrics")[1], re.M)
        return float(found[1]) if found else 0


class Service:
    """The processes of Verdict, its provider and its commands."""

    def __init__(self, folder, state, pair, new):
        self.folder, self.state, self.pair, self.new = folder, state, pair, new
        self.configuration = folder / "verdict.toml"
        self.processes, self.balancer = {}, Balancer()
        self.faults = []  # of processes: ended by themselves, or did not stop as they should
        self.provider = None
        self.provider_port = free_port()
        state.setdefault("vault_keys", ["k1"])
        state.setdefault("callback_secret", new_secret())

    @property
    def binary(self):
        return self.new if self.state.get("upgraded") else self.state["old"]

    def environment(self):
        return {name: value for name, value in os.environ.items()
                if name != "DATABASE_URL" and not name.startswith("VERDICT")}

    def configure(self):
        """Writes the configuration with the present keys. Running processes notice only changed sources."""
        self.write_callback_secrets(self.state["callback_secret"])
        keys = ""
        for name in self.state["vault_keys"]:
            secret = self.folder / f"vault-{name}"
            if not secret.exists():
                secret.touch(0o600)
                secret.write_text(new_secret())
            keys += f'[[vault.keys]]\nid = "{name}"\nsecret_file = "{secret}"\n'
        self.configuration.write_text(f"""
[database]
url = "{self.pair.url()}"
[sources.app]
secrets_file = "{self.folder}/callback-secrets"
[provider]
endpoint = "http://127.0.0.1:{self.provider_port}"
access_key_id = "day"
access_key_secret = "day"
queries_per_second = 100
[images]
store = "file://{self.folder}/images"
[webhooks]
allow_private = ["127.0.0.1"]
[reviews]
four_eyes = "approvals"
[policies]
four_eyes = "on"
{keys}""")

    def write_callback_secrets(self, *secrets):
        path = self.folder / "callback-secrets"
        path.touch(0o600)
        path.write_text("".join(f"whsec_{secret}\n" for secret in secrets))

    # --- commands ---

    def command(self, *words, binary=None, given=None, **environment):
        return subprocess.run(
            [binary or self.binary, *words], text=True, capture_output=True, input=given or "",
            env=self.environment() | environment, check=False,
        )

    def must(self, *words, **options):
        done = self.command(*words, "--config", str(self.configuration), **options)
        if done.returncode:
            raise Failed(f"verdict {' '.join(words)}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def make_key(self, name, scopes, *more):
        return json.loads(self.must("keys", "create", "--name", name, "--scopes", scopes, "--json", *more))

    # --- processes ---

    def start_provider(self):
        with open(self.folder / "provider.log", "ab") as log:
            self.provider = subprocess.Popen(
                [self.new, "sandbox", "--listen", f"127.0.0.1:{self.provider_port}", "--access-key-id", "day",
                 "--access-key-secret", "day"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self.environment(),
            )

    def start(self):
        for slot in SLOTS:
            self.fill(slot)

    def fill(self, slot):
        """A process takes the place; the one before is returned and gets no more requests."""
        before = self.processes.get(slot)
        process = Process(slot, self)
        self.processes[slot] = process
        if SLOTS[slot] == "api":
            self.balancer.put(slot, process.http)
        return before

    def stop_process(self, process):
        process.process.terminate()
        try:
            code = process.process.wait(60)
        except subprocess.TimeoutExpired:
            process.process.kill()
            code = f"SIGKILL after 60 s ({process.process.wait()})"
        if code != 0:
            self.faults.append(f"{process.slot} ended with {code} when it was stopped")

    def replace_all(self):
        """A rolling restart: the new process is ready before the old one goes."""
        for slot in SLOTS:
            before = self.fill(slot)
            time.sleep(0.5)  # requests that were on their way to the old one
            self.stop_process(before)

    def look_after(self):
        """Notes processes that ended by themselves, and replaces them."""
        for slot, process in list(self.processes.items()):
            if process.process.poll() is not None:
                self.faults.append(f"{slot} ended by itself with {process.process.returncode}")
                self.fill(slot)

    def stop(self):
        processes, self.processes = list(self.processes.values()), {}
        for slot in SLOTS:
            self.balancer.take_out(slot)
        for process in processes:
            self.stop_process(process)
        self.stop_provider()

    def stop_provider(self):
        if self.provider:
            self.provider.send_signal(signal.SIGCONT)
            self.provider.terminate()
            self.provider.wait()
            self.provider = None

    def kill(self):
        """What is left when a part fails."""
        for process in self.processes.values():
            process.process.kill()
            process.process.wait()
        self.stop_provider()
