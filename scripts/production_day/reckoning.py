"""What must hold at the end of a part, over the whole day so far. Each count must be zero."""

import hashlib
import json
import pathlib
import random
import subprocess
import time

from load import REPEAT_AFTER, Caller
from long_runs import Failed, tell

# Verifications that the API is asked about again.
ASKED_AGAIN = 300

COUNTS = {
    "acknowledged and lost": """
        select count(*) from ledger l where not exists (
            select from verifications v where v.id = l.verification and (v.state = 'erased' or exists (
                select from callbacks c where c.source = 'app' and c.message_id = l.message
                    and c.verification_id = v.id)))""",
    "callbacks that are there twice": """
        select count(*) from (select from callbacks group by source, message_id having count(*) > 1) c""",
    "verifications that are there twice": """
        select count(*) from (select from verifications group by biz_type, biz_id having count(*) > 1) v""",
    "acknowledged and not settled": """
        select count(*) from ledger l join verifications v on v.id = l.verification
        where v.state in ('pending', 'unfinished')""",
    "settled otherwise than prescribed": """
        select count(*) from ledger l join verifications v on v.id = l.verification
            left join decisions d on d.id = v.decision_id
        where v.state in ('decided', 'expired', 'failed') and d.decided_by is distinct from 'person'
            and not l.outcomes ? case v.state when 'decided' then d.outcome else v.state end""",
    "settled, and still due or leased": """
        select count(*) from ledger l join verifications v on v.id = l.verification
        where v.state in ('decided', 'expired', 'failed') and (v.due_at is not null or v.lease_token is not null)""",
    "two decisions for one result": """
        select count(*) from (select from decisions where decided_by = 'policy'
            group by result_id having count(*) > 1) d""",
    "two results for one attempt": """
        select count(*) from (select from results group by verification_id, attempt having count(*) > 1) r""",
    "decisions not written with their result": """
        select count(*) from decisions d join results r on r.id = d.result_id
            join verifications v on v.id = d.verification_id
        where d.decided_by = 'policy' and v.state <> 'erased' and d.xmin <> r.xmin""",
    "current decisions that are not the newest": """
        select count(*) from verifications v where v.decision_id is distinct from (
            select d.id from decisions d where d.verification_id = v.id order by position desc limit 1)""",
    "gaps in the event log": "select coalesce(max(number) - count(*) + min(number) - 1, 0) from events",
    "decisions without exactly one event": """
        select count(*) from decisions d where (
            select count(*) from events e where e.verification_id = d.verification_id and e.decision_id = d.id
                and e.kind = 'verification.decided') <> 1""",
    "erasures acknowledged and not complete": """
        select count(*) from erased x where not exists (
            select from verifications v join erasures e on e.verification_id = v.id
            where v.id = x.verification and v.state = 'erased' and e.completed_at is not null)""",
    "copies at the provider that are not deleted": """
        select count(*) from provider_deletions where deleted_at is null""",
    "rows left of an erased person": """
        select count(*) from verifications v join (
            select verification_id from data_keys union all select verification_id from material
            union all select verification_id from images where state = 'archived' and sha256 is not null
            union all select verification_id from callbacks where digest is not null
            union all select verification_id from tasks where links is not null) t on t.verification_id = v.id
        where v.state = 'erased'""",
    "reviews acknowledged and not in force": """
        select count(*) from reviewed w where not exists (
            select from verifications v join decisions d on d.id = v.decision_id
            where v.id = w.verification and (v.state = 'erased'
                or (d.decided_by = 'person' and d.outcome = w.outcome)))""",
    "reviews by one person alone that approved": """
        select count(*) from reviews r where r.outcome = 'approve' and r.decision_id is not null and not exists (
            select from reviews o where o.verification_id = r.verification_id and o.about = r.about and o.outcome = r.outcome and o.person <> r.person)""",
    "images lost": """
        select count(*) from images i join verifications v on v.id = i.verification_id
        where i.state = 'lost' and v.state <> 'erased'""",
}

TOLD = """
select json_agg(json_build_array(v.id, v.state, d.outcome)) from verifications v
    left join decisions d on d.id = v.decision_id where v.id in ({ids})"""


def temporary_tables(day):
    """Statements that bring the ledger into the database, for one session."""
    place = pathlib.Path(day.folder)
    with open(place / "ledger.tsv", "w") as ledger, open(place / "erased.tsv", "w") as erased, \
            open(place / "reviewed.tsv", "w") as reviewed:
        for one in day.ledger.entries:
            ledger.write(f"{one['message']}\t{one['verification']}\t{json.dumps(one['outcomes'])}\n")
        for verification in day.ledger.erased:
            erased.write(f"{verification}\n")
        for verification, outcome in day.ledger.reviewed.items():
            reviewed.write(f"{verification}\t{outcome}\n")
    return [
        "create temp table ledger (message text primary key, verification uuid, outcomes jsonb)",
        f"\\copy ledger from '{place}/ledger.tsv'",
        "create temp table erased (verification uuid primary key)",
        f"\\copy erased from '{place}/erased.tsv'",
        "create temp table reviewed (verification uuid primary key, outcome text)",
        f"\\copy reviewed from '{place}/reviewed.tsv'",
        "analyze ledger",
    ]


def settle(day, seconds):
    """Waits until every acknowledged verification is settled, and every event has been told."""
    limit, told = time.monotonic() + seconds, time.monotonic()
    for receiver in day.receivers:
        day.service.must("webhooks", "resume", day.state["endpoints"][receiver.ordering]["id"])
    while True:
        # A start whose answer was lost may be due for half an hour; no callback was posted about it.
        due, tasks, events, own, unnumbered = json.loads(day.pair.sql("""select json_build_array(
            (select count(*) from verifications v where due_at is not null
                and exists (select from callbacks c where c.verification_id = v.id)),
            (select count(*) from tasks),
            (select number from event_log),
            (select count(*) from events where kind like 'endpoint.%'),
            (select count(*) from decisions where xid is not null)
                + (select count(*) from event_notes) - (select number from event_log))"""))
        had = [len(receiver.ids) for receiver in day.receivers]
        # An endpoint does not get the events about itself.
        if due == tasks == unnumbered == 0 and len(day.load.feed) == events and min(had) >= events - own:
            return
        if time.monotonic() > told + 20:
            told = time.monotonic()
            tell(f"waiting: {due} due, {tasks} tasks, {events} events, {len(day.load.feed)} in the feed, "
                 f"{had} at the receivers")
        if time.monotonic() > limit:
            tell("NOT SEEN: nothing is open any more")
            return
        time.sleep(0.5)


def while_serving(day):
    """Counts for which the service has to answer."""
    counts = {}
    tables = temporary_tables(day)
    named = ", ".join(f"'{name}', ({query})" for name, query in COUNTS.items())
    counts |= json.loads(day.pair.sql(*tables, f"select json_build_object({named})").splitlines()[-1])
    # An endpoint does not get the events about itself.
    events = int(day.pair.sql("select count(*) from events where kind not like 'endpoint.%'"))
    own = int(day.pair.sql("select count(*) from events where kind like 'endpoint.%'"))
    for receiver in day.receivers:
        lacks = max(0, events - len(receiver.ids))
        counts[f"events that the receiver ({receiver.ordering}) lacks"] = lacks
        counts[f"faults at the receiver ({receiver.ordering})"] = len(receiver.faults)
        for fault in receiver.faults[:5]:
            tell(f"receiver ({receiver.ordering}): {fault}")
    counts["events that the feed lacks"] = abs(events + own - len(day.load.feed))
    counts["events with another id in the feed than at a receiver"] = sum(
        1 for number, event in enumerate(day.load.feed, 1)
        for receiver in day.receivers if receiver.ids.get(number, event) != event)
    counts["summaries of the feed that differ"] = int(not summary_fits(day))
    counts["told otherwise by the API than by the database"] = told_otherwise(day)
    counts["faults that callers saw"] = len(day.ledger.faults)
    for fault in day.ledger.faults[:10]:
        tell(f"a caller: {fault}")
    configuration = ["--config", str(day.service.configuration)]
    replay = day.service.command("policy", "replay", "--full-speed", "--json", *configuration)
    counts["decisions that differ from a replay"] = int(replay.returncode != 0)
    expect = ["--expect", day.state["audit_head"]] if day.state.get("audit_head") else []
    audit = day.service.command("audit", "verify", "--strict", "--json", *expect, *configuration)
    counts["audit does not verify"] = int(audit.returncode != 0)
    if audit.returncode == 0:
        day.state["audit_head"] = json.loads(audit.stdout)["head"]
    else:
        tell(f"audit verify: {audit.stderr.strip()[-400:]}")
    doctor = day.service.command("doctor", *configuration, **day.free_addresses())
    (day.folder / "doctor.txt").write_text(doctor.stdout + doctor.stderr)
    counts["doctor finds a fault"] = int(doctor.returncode != 0)
    if doctor.returncode:
        tell("doctor: " + "; ".join(line for line in doctor.stdout.splitlines() if line.startswith("FAILED")))
    return counts


def summary_fits(day):
    digest = hashlib.sha256("".join(f"{one}\n" for one in day.load.feed).encode()).hexdigest()
    status, answer = day.caller.request("GET", f"/v1/events/summary?from=1&to={max(1, len(day.load.feed))}",
                                        day.load.authorization(), timeout=120)
    return status == 200 and answer["sha256"] == digest


def told_otherwise(day):
    dice = random.Random(day.part)
    entries = dice.sample(day.ledger.entries, min(ASKED_AGAIN, len(day.ledger.entries)))
    ids = ", ".join(f"'{one['verification']}'" for one in entries) or "null"
    rows = json.loads(day.pair.sql(TOLD.format(ids=ids)) or "[]")
    standing = {verification: (state, outcome) for verification, state, outcome in rows}
    caller, otherwise = Caller(day.service.balancer), 0
    for verification, (state, outcome) in standing.items():
        status, answer = None, None
        for _ in range(20):
            status, answer = caller.request("GET", f"/v1/verifications/{verification}", day.load.authorization())
            if status not in REPEAT_AFTER:
                break
        decision = (answer or {}).get("decision") or {}
        otherwise += not (status == 200 and answer["state"] == state and decision.get("outcome") == outcome)
    return otherwise + len({one["verification"] for one in entries}) - len(standing)


def found(needles, *places):
    """How many of the needles stand in any of the places, files or folders."""
    if not needles:
        return 0
    done = subprocess.run(["grep", "-raohF", "-f", "-", *map(str, places)], text=True, errors="replace",
                          input="\n".join(needles) + "\n", capture_output=True, env={"LC_ALL": "C"}, check=False)
    if done.returncode > 1:
        raise Failed(f"grep: {done.stderr.strip()[-300:]}")
    return len(set(done.stdout.splitlines()))


def secrets(day):
    known = [day.state["callback_secret"], *(one["key"] for one in day.state["keys"].values())]
    known += [secret for one in day.state["endpoints"].values() for secret in one["secrets"]]
    return known + [path.read_text().strip() for path in day.folder.glob("vault-*")]


def after_serving(day):
    """Counts that need all processes stopped: the store of images, logs, and what is left of erased persons."""
    counts = {}
    logs = sorted(day.folder.glob("api-*.log")) + sorted(day.folder.glob("worker-*.log"))
    counts["processes that ended by themselves, or not as told"] = len(day.service.faults)
    for fault in day.service.faults:
        tell(fault)
    counts["panics in the logs"] = found(['"message":"panic"', "verdict: internal error at", "panicked at"], *logs)
    counts["secrets in the logs"] = found(secrets(day), *logs)
    images = day.service.command("images", "check", "--json", "--config", str(day.service.configuration))
    counts["images and objects that do not fit"] = int(images.returncode != 0)
    if images.returncode:
        tell(f"images check: {(images.stdout + images.stderr).strip()[-400:]}")
    dump = day.folder / "dump.sql"
    day.dump(dump)
    erased = [needle for needles in day.ledger.erased.values() for needle in needles]
    others = [one["canary"] for one in day.ledger.entries if one["verification"] not in day.ledger.erased][-20:]
    counts["canaries of erased persons in a dump"] = found(erased, dump)
    # Or else the search finds nothing at all.
    counts["canaries of others that the dump lacks"] = len(others) - found(others, dump)
    numbers = [needle for needle in erased if not needle.startswith("canary-")]
    counts["canaries and numbers in the logs"] = found(["canary-", *numbers], *logs)
    store = day.folder / "images"
    counts["objects of erased persons"] = sum(
        1 for path in store.rglob("*") if path.is_file() and any(part in day.ledger.erased for part in path.parts))
    dump.unlink()
    return counts
