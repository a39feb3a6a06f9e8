#!/usr/bin/env python3
"""A day in production, compressed: started by scripts/production-day.sh, which says how.

A part begins with the installation as the part before left it. The load begins, the happenings of the
timetable follow each other, and everything is measured meanwhile. Then the load ends, what is open is
waited for, and everything is counted: what callers had acknowledged against the database, the API, the
feed and the receivers; what erased persons left behind; what grew.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import happenings
import measures
import reckoning
from installation import Pair, Service, State, free_port
from load import READ_SCOPES, Caller, Ledger, Load, Receiver
from long_runs import Failed, run, tell, wait_for
from timetable import TIMETABLE

PARTS = len(TIMETABLE)
MOST_MINUTES = 100  # of one call
SHORT = 20  # minutes: below, one call runs all parts
SETTLE_SECONDS = 1200
ORDERINGS = ("strict", "per-verification")
KEYS = {
    "reader": (READ_SCOPES, None),
    "anna": ("reviews:write,policies:write,decisions:read", "anna@example.com"),
    "bert": ("reviews:write,policies:write,decisions:read", "bert@example.com"),
    "operator": ("erasures:write,webhooks:write", None),
}


class Day:
    """One part of the day: everything that a happening needs."""

    def __init__(self, arguments):
        self.folder, self.seed, self.new = arguments.folder, arguments.seed, arguments.verdict
        self.state = State(self.folder / "day.json")
        self.part = self.state.get("part", 0) + 1
        self.began = time.monotonic()
        self.dice = random.Random(f"{self.seed}/{self.part}/operator")
        self.state.setdefault("old", arguments.old)
        self.pair = Pair(self.folder, self.state, arguments.postgres)
        self.service = Service(self.folder, self.state, self.pair, self.new)
        self.ledger = self.load = self.measures = None
        self.receivers = []

    # --- from the beginning to the end of a part ---

    def begin(self, minutes_of_day):
        if self.state.get("runs"):
            raise Failed(f"part {self.part} did not end: look at {self.folder}, then delete it")
        self.state["runs"] = True
        self.state.save()
        self.pair.prepare(minutes_of_day)
        if self.part == 1:
            self.pair.create()
        else:
            self.pair.start()
        self.service.configure()
        self.service.start_provider()
        if self.part == 1:
            self.service.must("migrate")
            for name in KEYS:
                self.make_key(name)
            self.state["endpoints"] = {}
        for ordering in ORDERINGS:
            self.open_receiver(ordering)
        self.state.save()
        self.service.start()
        for receiver in self.receivers:
            # Another port than in the part before.
            happenings.ask(self, "PATCH", f"/v1/webhook-endpoints/{self.state['endpoints'][receiver.ordering]['id']}",
                           "operator", json.dumps({"url": receiver.url()}))

    def make_key(self, name):
        scopes, person = KEYS[name]
        more = ["--person", person] if person else []
        self.state.setdefault("keys", {})[name] = self.service.make_key(name, scopes, *more)
        self.state.save()

    def open_receiver(self, ordering):
        endpoint = self.state["endpoints"].setdefault(ordering, {"secrets": []})
        receiver = Receiver(ordering, self.folder, endpoint["secrets"])
        self.receivers.append(receiver)
        if "id" not in endpoint:
            added = json.loads(self.service.must("webhooks", "add", "--url", receiver.url(), "--ordering", ordering,
                                                 "--start", "beginning", "--json"))
            endpoint["id"] = added["id"]
            endpoint["secrets"].append(added["secret"])

    def run(self, seconds, rate):
        """The load and the happenings: the line of the part, without its counts."""
        self.ledger = Ledger(self.folder, self.part)
        self.load = Load(self.seed, self.part, rate, self.ledger, self.service, self.receivers)
        self.load.begin()
        wait_for("a first 202", 60, lambda: self.ledger.entries)
        self.began = time.monotonic()
        self.measures = measures.Measures(self, seconds)
        tell(f"part {self.part}: the load has begun")
        happened, early_rows = [], None
        for share, name in TIMETABLE[self.part]:
            if early_rows is None:
                self.wait_until(measures.EARLY[1] * seconds)
                early_rows = measures.exact_rows(self.pair)
            self.wait_until(share * seconds)
            happened.append(happenings.happen(self, name))
        # The last tenth without anything but the load.
        end = max(seconds, time.monotonic() - self.began + measures.LATE * seconds)
        self.wait_until(end)
        late = self.measures.medians(end - measures.LATE * seconds, end)
        late_rows = measures.exact_rows(self.pair)
        early = self.measures.medians(*(share * seconds for share in measures.EARLY))
        lines, grown = measures.compare(early, late, early_rows, late_rows)
        self.load.stop_senders()
        tell("no more callbacks; waiting for what is open")
        return {"minutes": round(end / 60, 1), "happened": happened, "measures": lines, "grown": grown,
                "rows": sum(late_rows.values())}

    def wait_until(self, second):
        while True:
            self.service.look_after()
            left = self.began + second - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 1))

    def end(self, line):
        """Counts everything, and stops. The folder is ready for the next part."""
        self.began = time.monotonic()
        reckoning.settle(self, SETTLE_SECONDS)
        counts = reckoning.while_serving(self)
        self.load.close()
        self.measures.end()
        line |= {
            "acknowledged": len(self.ledger.entries), "erased": len(self.ledger.erased),
            "reviewed": len(self.ledger.reviewed), "events": len(self.load.feed), "callers": self.ledger.counts,
        }
        self.service.stop()
        counts |= reckoning.after_serving(self)
        counts["measures that grew without a reason"] = len(line["grown"])
        line["counts"] = counts
        for receiver in self.receivers:
            receiver.shutdown()
        self.pair.stop()
        self.pair.give_back()
        self.state |= {"part": self.part, "runs": False}
        self.state.save()

    def break_off(self):
        """Nothing that this part has started is left."""
        if self.load:
            self.load.quiet.set()
            self.load.closed.set()
        if self.measures:
            self.measures.ended.set()
        self.service.kill()
        try:
            self.pair.stop("immediate")
            self.pair.give_back()
        except Failed as why:
            tell(f"not cleaned up: {why}")

    # --- for happenings and counts ---

    @property
    def caller(self):
        """A new one each time: a connection that rested may be closed."""
        return Caller(self.service.balancer)

    def due(self):
        return int(self.pair.sql("select count(*) from verifications where due_at <= now()"))

    def freeze_provider(self):
        self.service.provider.send_signal(signal.SIGSTOP)

    def thaw_provider(self):
        self.service.provider.send_signal(signal.SIGCONT)

    def dump(self, path):
        with open(path, "wb") as file:
            subprocess.run(
                [f"{self.pair.programs}/pg_dump", "-h", "127.0.0.1", "-p", str(self.pair.primary.port), "-U", "verdict",
                 "verdict"], stdout=file, check=True,
            )

    def free_addresses(self):
        """For `verdict doctor`, which tries to listen."""
        return {f"VERDICT__{name}__LISTEN": f"127.0.0.1:{free_port()}" for name in ("HTTP", "OPERATIONS")}


def report(line):
    tell(f"part {line['part']}: {line['acknowledged']:,} acknowledged, {line['events']:,} events, "
         f"{line['reviewed']} reviewed, {line['erased']} erased, {line['rows']:,} rows")
    for name, count in sorted(line["callers"].items()):
        tell(f"  {count:8,}  {name}")
    tell("the second tenth against the last one:")
    measures.show(line["measures"])
    tell("each must be zero:")
    for name, count in line["counts"].items():
        tell(f"  {count:8,}  {name}{'' if count == 0 else '   <-- NOT ZERO'}")
    for what in line["grown"]:
        tell(f"  grew: {what}")


def part(arguments, seconds, minutes_of_day):
    """One part: whether all of it held."""
    day = Day(arguments)
    if day.part > PARTS:
        raise Failed(f"the day in {arguments.folder} is over: delete the folder, or name another one")
    try:
        day.begin(minutes_of_day)
        line = {
            "date": time.strftime("%Y-%m-%d"), "commit": arguments.commit, "old": version(day.state["old"]),
            "seed": arguments.seed, "part": day.part, "rate": arguments.rate,
            "processors": os.cpu_count(),
        }
        line |= day.run(seconds, arguments.rate)
        day.end(line)
    except BaseException:
        day.break_off()
        tell(f"kept to look at: {day.folder}")
        raise
    report(line)
    with open(arguments.results / "parts.jsonl", "a") as parts:
        parts.write(json.dumps(line) + "\n")
    shutil.copy(day.folder / "measures.tsv", arguments.results / f"measures-{arguments.seed}.tsv")
    return not any(line["counts"].values())


def table(path):
    """All parts so far, as Markdown: what was counted, and memory and tables at the beginning and the end."""
    parts = [json.loads(line) for line in open(path)]
    print("| Date | Commit | Seed | Part | Minutes | Acknowledged | Events | Reviewed | Erased | Sum of all counts |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for one in parts:
        print(f"| {one['date']} | {one['commit']} | {one['seed']} | {one['part']} | {one['minutes']} "
              f"| {one['acknowledged']:,} | {one['events']:,} | {one['reviewed']} | {one['erased']} "
              f"| {sum(one['counts'].values())} |")
    print("\n| Seed | Part | Of | Measure | Second tenth | Last tenth |\n|---|---|---|---|---|---|")
    for one in parts:
        for subject, what, before, after, unit, verdict in one["measures"]:
            if subject.startswith("table ") and max(before, after) < 1 << 20:
                continue
            after = f"{after:,.0f}{unit} {verdict}".strip()
            print(f"| {one['seed']} | {one['part']} | {subject} | {what} | {before:,.0f}{unit} | {after} |")


def version(binary):
    return run(binary, "--version").split("(")[-1].strip(" )\n")


def old_binary(folder, new):
    """The version with which the day begins: OLD, or the new one under another path."""
    if os.environ.get("OLD"):
        return os.path.abspath(os.environ["OLD"])
    path = folder / "verdict-of-yesterday"
    if not path.exists():
        path.symlink_to(new)
    return str(path)


def main():
    parser = argparse.ArgumentParser(prog="scripts/production-day.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="names, scripts and the order of requests (1)")
    parser.add_argument("--rate", type=float, default=5, help="what senders do a second, all together (5)")
    parser.add_argument("--folder", type=pathlib.Path,
                        help="the data folder of the day (production-day-SEED below the folder for temporary files)")
    parser.add_argument("--table", action="store_true", help="only print the tables of all parts so far")
    arguments = parser.parse_args()
    arguments.results = pathlib.Path("target/production-day").resolve()
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.table:
        table(arguments.results / "parts.jsonl")
        return 0
    minutes = float(os.environ.get("MINUTES", 90))
    if not 2 <= minutes <= MOST_MINUTES:
        parser.error(f"MINUTES must be from 2 to {MOST_MINUTES}")
    arguments.verdict = os.path.abspath(os.environ.get("VERDICT", "target/debug/verdict"))
    arguments.postgres = os.environ["PG_BIN"]
    folder = arguments.folder or pathlib.Path(tempfile.gettempdir(), f"production-day-{arguments.seed}")
    arguments.folder = folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    arguments.folder.chmod(0o755)
    arguments.commit = version(arguments.verdict)
    arguments.old = old_binary(arguments.folder, arguments.verdict)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    is_short = minutes < SHORT
    try:
        if is_short:
            held = all([part(arguments, minutes * 60 / PARTS, minutes) for _ in range(PARTS)])
        else:
            held = part(arguments, minutes * 60, minutes * PARTS)
    except (Failed, KeyboardInterrupt, subprocess.CalledProcessError) as failed:
        tell(f"error: {failed or 'interrupted'}")
        return 1
    if not held:
        tell(f"NOT ALL OF IT HELD; kept to look at: {arguments.folder}")
        return 1
    tell("all of it held")
    if State(arguments.folder / "day.json")["part"] == PARTS:
        shutil.rmtree(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
