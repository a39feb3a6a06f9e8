#!/usr/bin/env python3
"""Shows that the fault harness finds what it is there to find.

Each defect below is planted into a copy of this commit, alone. The copy is built and its faults run. The
run must fail, and one of the promises named here must be among those that it calls broken. A defect that
is not found is an error, and so is one whose place in the code has changed.

    scripts/planted-defects.py [--list | --places] [NAME...]

Takes about four minutes for each on two cores. `--places` only checks that each can still be planted;
./check does that. Results are appended to target/planted/results.tsv.
"""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAULTS, SEED = "150", "11"

# name: what is planted, where (file, text, replacement), and the promises that may break by it.
DEFECTS = {
    "fence-left-out": (
        "a completion does not ask whether its lease is the current one",
        [("src/store/sql/completions_complete.sql",
          "and v.id = i.verification_id and v.lease_token = i.lease_token",
          "and v.id = i.verification_id")],
        ["stale writes: results of another lease than the one that ended"]),
    "acknowledged-before-durable": (
        "a callback is acknowledged before its commit is on the disk",
        [("src/store/sql/new_callbacks_insert.sql", "with created as (",
          "with durability as materialized (\n"
          "    select set_config('synchronous_commit', 'off', true)\n), created as ("),
         ("src/store/sql/new_callbacks_insert.sql", "where (select count(*) from created) > 0",
          "where (select count(*) from created) > 0 and (select count(*) from durability) > 0")],
        ["accepted and lost"]),
    "budget-half-charged": (
        "a claim spends half of what its calls cost",
        [(f"src/store/sql/claims_{which}.sql", "ceil(taken.calls * $4 * 1e6",
          "ceil(taken.calls * $4 * 0.5e6")
         for which in ["claim_within_budget", "claim_in_turn_within_budget"]],
        ["budget broken"]),
    "numberer-skips": (
        "what commits while events are numbered counts as numbered",
        [("migrations/20261127000020_events_of_another_server.sql",
          "seen = case when given = most then log.seen else upto end,",
          "seen = case when given = most then log.seen else pg_current_snapshot() end,")],
        ["decisions and other changes without exactly one event"]),
    "cursor-passes-what-is-unacknowledged": (
        "an endpoint's cursor passes events that were read but not acknowledged",
        [("src/worker/deliveries/window.rs",
          "stop.map_or(self.examined, |(number, _)| number - 1)",
          "stop.map_or(self.examined, |_| self.examined)"),
         ("src/worker/deliveries/window.rs",
          "rows.extend(passed.filter(|(_, open)| !open.stored).map(|(n, _)| Key::log(n)));",
          "drop(passed);")],
        ["events that a receiver never acknowledged"]),
    "other-bytes-taken-for-a-repeat": (
        "a known message id is accepted whatever its body is",
        [("src/store/hot/callbacks.rs",
          "_ if batch[*index].body.made(digest, salt) => Accepted::Repeated(verification(row)?),",
          "_ if batch[*index].body.made(digest, salt) || ord > 0 => "
          "Accepted::Repeated(verification(row)?),")],
        ["other bytes under a known id, accepted"]),
    "strict-order-left-out": (
        "a strict endpoint is sent the events of each verification in order, and no more than that",
        [("src/worker/deliveries/lines.rs", "_ if self.strict => Line::Everything,",
          "_ if self.strict && number < 0 => Line::Everything,")],
        ["first deliveries before their predecessor was acknowledged"]),
    "started-again-after-no-answer": (
        "a start without an answer counts as not sent",
        [("src/provider/mod.rs", "_ => NotStarted::Unknown,",
          "_ => NotStarted::Unavailable { wait: None, code: None },"),
         ("src/provider/mod.rs", "                NotStarted::Unknown\n",
          "                NotStarted::Unavailable { wait: None, code: None }\n")],
        ["order numbers started twice at the provider",
         "called for again after an answer that proves nothing"]),
    "event-has-the-time-of-its-delivery": (
        "an event's body is written with the present time",
        [("src/domain/event.rs",
          "let body = Body { id: id.to_string(), kind, timestamp: timestamp(at), sequence, data };",
          "let at = OffsetDateTime::from(std::time::SystemTime::now().max(at.into()));\n"
          "    let body = Body { id: id.to_string(), kind, timestamp: timestamp(at), sequence, data };")],
        ["events whose bytes changed between two deliveries",
         "events whose bytes were others when they were read again",
         "events with other bytes at another receiver"]),
    "watermark-too-far": (
        "the watermark of an endpoint is what was read and not what was acknowledged",
        [("src/worker/deliveries/window.rs",
          "open.map_or(self.examined, |open| self.examined.min(open - 1))",
          "open.map_or(self.examined, |_| self.examined)")],
        ["watermarks beyond what was acknowledged"]),
    "panic-on-an-outage": (
        "numbering events panics while the database is away",
        [("src/worker/number_events.rs",
          'tracing::warn!(%error, cause = error.cause().code(), "events not numbered yet");',
          'panic!("{error}");')],
        ["panics in logs", "processes that exited by themselves"]),
    "late-callback-forgotten": (
        "a callback that came during the call does not make the verification due again",
        [("src/store/sql/completions_complete.sql",
          "state = case when v.callbacks > i.callbacks_seen and not i.closed then 'pending'",
          "state = case when v.callbacks < 0 then 'pending'"),
         ("src/store/sql/completions_complete.sql",
          "due_at = case when v.callbacks > i.callbacks_seen and not i.closed",
          "due_at = case when v.callbacks < 0")],
        ["decided without a call after the newest callback"]),
}


def planted(source: Path, edits):
    """The texts of the files with the defect in them, or a sentence about what has changed."""
    texts = {}
    for name, old, new in edits:
        text = texts.get(name) or (source / name).read_text()
        if text.count(old) != 1:
            return None, f"{name} has {text.count(old)} places like: {old}"
        texts[name] = text.replace(old, new)
    return texts, None


def places():
    wrong = [f"{name}: {why}" for name, (_, edits, _) in DEFECTS.items()
             for why in [planted(ROOT, edits)[1]] if why]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(DEFECTS) - len(wrong)} of {len(DEFECTS)} defects can be planted")
    return 1 if wrong else 0


def broken(output: str):
    return re.findall(r"^  (\S.*?)\s+\d+  <-- must be 0$", output, re.MULTILINE)


def run(name, commit, folder):
    what, edits, promises = DEFECTS[name]
    source = folder / "source"
    subprocess.run(["rm", "-rf", str(source)], check=True)
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    # As of now (-m): cargo looks at the times of files.
    subprocess.run(["tar", "-x", "-m", "-C", str(source)], input=archive.stdout, check=True)
    texts, why = planted(source, edits)
    if why:
        sys.exit(f"error: {name}: {why}")
    for file, text in texts.items():
        (source / file).write_text(text)
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(folder / "target"), "FAULTS": FAULTS, "SEED": SEED,
        # The defects leave things unused.
        "RUSTFLAGS": "--cap-lints=warn"}
    command = ["cargo", "test", "--quiet", "--locked", "--test", "scenarios",
               "faults::random", "--", "--nocapture"]
    print(f"== {name}: {what}", flush=True)
    done = subprocess.run(command, cwd=source, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (folder / f"{name}.log").write_text(done.stdout)
    if "faults, seed" not in done.stdout:
        sys.exit(f"error: {name}: it did not run; see {folder / name}.log")
    found = broken(done.stdout)
    hit = [promise for promise in promises if promise in found]
    print(f"   broken: {'; '.join(found) or 'nothing'}", flush=True)
    with open(folder / "results.tsv", "a") as results:
        day = datetime.date.today().isoformat()
        print(day, commit[:8], name, "found" if hit else "NOT FOUND", "; ".join(found),
              sep="\t", file=results)
    return bool(hit)


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--places"]:
        return places()
    if arguments[:1] == ["--list"]:
        for name, (what, _, promises) in DEFECTS.items():
            print(f"{name}: {what}\n    breaks: {', or: '.join(promises)}")
        return 0
    unknown = [name for name in arguments if name not in DEFECTS]
    if unknown:
        print(f"error: no such defect: {', '.join(unknown)}; --list names them", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, text=True,
                            stdout=subprocess.PIPE).stdout.strip()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    folder = target.resolve() / "planted"
    folder.mkdir(parents=True, exist_ok=True)
    missed = [name for name in arguments or DEFECTS if not run(name, commit, folder)]
    for name in missed:
        print(f"error: {name} was not found", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
