"""What is measured all day, and the rules by which the end is compared with the beginning."""

import json
import os
import pathlib
import statistics
import threading
import time

from long_runs import Failed, tell

# Of a part: the windows that are compared.
EARLY, LATE = (0.1, 0.2), 0.1
SAMPLES = 90  # of a part, so one a minute in a part of 90 minutes
LEAST_PAUSE = 3  # seconds

# A process of Verdict may have so much more at the end than in the second tenth, at the same load.
MEMORY_FACTOR, MEMORY_SLACK_KIB = 1.3, 24 << 10
DESCRIPTORS_SLACK, THREADS_SLACK = 16, 8
# Connections to Postgres, of all processes.
CONNECTIONS_SLACK = 12
# A table may grow as its rows do: at most this factor more bytes a row, and this much beside it.
TABLE_FACTOR, TABLE_SLACK = 1.5, 8 << 20
# Dead rows: this share of the rows, and this many beside it (autovacuum begins at a fifth).
DEAD_SHARE, DEAD_SLACK = 0.4, 20_000

SIZES = """
select json_build_object(
    'connections', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
    'due', (select count(*) from verifications where due_at <= now()),
    'tasks', (select count(*) from tasks),
    'events', (select number from event_log),
    'undelivered', (select (select number from event_log) - min(cursor) from webhook_endpoints),
    'tables', (select json_object_agg(name, sizes) from (
        select coalesce(pg_partition_root(c.oid)::oid, c.oid)::regclass::text as name,
            json_build_array(sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)),
                coalesce(sum(s.n_live_tup), 0), coalesce(sum(s.n_dead_tup), 0)) as sizes
        from pg_class c left join pg_stat_user_tables s on s.relid = c.oid
        where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
        group by 1) t))
"""
TABLES = """
select string_agg(format('select %L, count(*) from %s', name, name), ' union all ') from (
    select distinct coalesce(pg_partition_root(oid)::oid, oid)::regclass::text as name
    from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace) t
"""


def of_process(pid):
    """Memory in KiB, descriptors, threads. Pages of the program itself differ from one version to the next."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "Threads"):
            found[name] = int(value.split()[0])
    return {"rss_kib": found["VmRSS"], "own_kib": found["RssAnon"], "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": found["Threads"]}


def of_postgres(pids):
    """Processes share memory, so each counts with its share."""
    total = 0
    for pid in pids:
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass  # ended meanwhile
    return {"pss_kib": total, "processes": len(pids)}


def exact_rows(pair):
    """Rows of each table, counted. Partitions count for their table."""
    rows = pair.sql(pair.sql(TABLES)).splitlines()
    return {name: int(count) for name, count in (row.split("|") for row in rows)}


class Measures:
    """Samples of a part, each also appended to a TSV: time, part, second, subject, measure, value."""

    def __init__(self, day, seconds):
        self.day, self.pause = day, max(LEAST_PAUSE, seconds / SAMPLES)
        self.samples = []  # (second, {subject: {measure: value}})
        self.ended = threading.Event()
        path = day.folder / "measures.tsv"
        is_new = not path.exists()
        self.file = open(path, "a")
        if is_new:
            self.file.write("time\tpart\tsecond\tsubject\tmeasure\tvalue\n")
        self.thread = threading.Thread(target=self.sample_always, daemon=True)
        self.thread.start()

    def sample_always(self):
        while not self.ended.wait(self.pause):
            self.sample()

    def end(self):
        self.ended.set()
        self.thread.join()

    def sample(self):
        found = {}
        for slot, process in list(self.day.service.processes.items()):
            try:
                found[slot] = of_process(process.pid)
            except (OSError, KeyError):
                pass  # replaced meanwhile
        for node in self.day.pair.nodes.values():
            found[f"postgres-{node.name}"] = of_postgres(node.processes())
        try:
            sizes = json.loads(self.day.pair.sql(SIZES))
            for name, (table, indexes, live, dead) in sizes.pop("tables").items():
                found[f"table {name}"] = {"table_bytes": table, "index_bytes": indexes, "live": live, "dead": dead}
            found["database"] = sizes
        except (Failed, OSError, ValueError):
            pass  # Postgres is away
        second = time.monotonic() - self.day.began
        self.samples.append((second, found))
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for subject, values in found.items():
            for measure, value in values.items():
                self.file.write(f"{now}\t{self.day.part}\t{second:.0f}\t{subject}\t{measure}\t{value}\n")
        self.file.flush()

    def medians(self, begin, end):
        """Of each subject and measure, between two seconds of the part."""
        values = {}
        for second, found in self.samples:
            if begin <= second <= end:
                for subject, measures in found.items():
                    for measure, value in measures.items():
                        if value is not None:
                            values.setdefault((subject, measure), []).append(value)
        return {key: statistics.median(found) for key, found in values.items()}


def compare(early, late, early_rows, late_rows):
    """Lines for people, and what grew without a reason."""
    lines, wrong = [], []

    def judge(subject, what, before, after, limit, unit=""):
        verdict = "" if after <= limit else f"GREW beyond {limit:,.0f}"
        lines.append([subject, what, before, after, unit, verdict])
        if verdict:
            wrong.append(f"{subject}: {what} {before:,.0f} to {after:,.0f}{unit}, at most {limit:,.0f}")

    for subject, measure in sorted(early):
        before, after = early[subject, measure], late.get((subject, measure))
        if after is None:
            continue
        if measure == "own_kib":
            judge(subject, "memory without the program", before, after, before * MEMORY_FACTOR + MEMORY_SLACK_KIB, " KiB")
        elif measure == "descriptors":
            judge(subject, "descriptors", before, after, before + DESCRIPTORS_SLACK)
        elif measure == "threads":
            judge(subject, "threads", before, after, before + THREADS_SLACK)
        elif measure == "connections":
            judge(subject, "connections", before, after, before + CONNECTIONS_SLACK)
        elif measure == "table_bytes":
            name = subject.removeprefix("table ")
            rows, rows_after = early_rows.get(name, 0), late_rows.get(name, 0)
            before += early[subject, "index_bytes"]
            after += late[subject, "index_bytes"]
            growth = max(1, rows_after / max(rows, 1))
            judge(subject, f"bytes, at {rows:,} and {rows_after:,} rows", before, after,
                  before * growth * TABLE_FACTOR + TABLE_SLACK)
            judge(subject, "dead rows", early[subject, "dead"], late[subject, "dead"],
                  DEAD_SHARE * rows_after + DEAD_SLACK)
    return lines, wrong


def show(lines):
    """Without tables that stayed small."""
    for subject, what, before, after, unit, verdict in lines:
        is_small = subject.startswith("table ") and max(before, after) < 1 << 20
        if verdict or not is_small:
            tell(f"  {subject:<28} {what:<44} {before:>14,.0f} {after:>14,.0f}{unit}  {verdict}")
