"""What operators do and suffer in the day: a function for each happening.

Each takes the day (__main__.py) and returns a sentence that says what was measured. The load goes on
meanwhile. `Failed` ends the part.
"""

import json
import os
import time

from installation import new_secret
from load import REPEAT_AFTER, VERIFY_SCENE
from long_runs import Failed, tell, wait_for

PURPOSE = "a day in production"
# Persons of one happening who are erased.
ERASED_AT_ONCE = 5
# A receiver is broken until it has refused so many deliveries.
REFUSED = 2
# A failing endpoint is tried at most a minute apart. The rest is for a loaded machine.
CAUGHT_UP_WITHIN = 180
# The backlog has drained where no more are due.
FEW_DUE = 10
# A request that was signed before a secret changed has arrived by then.
ON_ITS_WAY = 5  # seconds


def ask(day, method, path, person, body=None, kind="application/json", fine=(200, 201, 202, 204)):
    """A request of an operator, repeated as docs/api.md says: status and JSON."""

    def answered():
        status, answer = day.caller.request(method, path, {
            "authorization": f"Bearer {day.state['keys'][person]['key']}", "content-type": kind,
            "verdict-purpose": PURPOSE,
        }, body)
        if status in REPEAT_AFTER:
            return None
        if status not in fine:
            raise Failed(f"{method} {path} got {status} {(answer or {}).get('code')}")
        return status, answer

    return wait_for(f"an answer to {method} {path}", 180, answered)


def next_202(day, seconds=120):
    """Waits for the next acknowledged callback, and says how long there was none since `begin_gap`."""
    since = time.monotonic()
    wait_for("a 202", seconds, lambda: day.ledger.newest_202 > since)
    return day.ledger.longest_gap


# --- policies ---


def activate_policy(day):
    """Two persons put another policy in force: anna proposes it, bert agrees."""
    text = day.service.must("policy", "show")
    # As docs/policies.md does: fewer reviews.
    text = text.replace('= "far-0.01%"', "= 85").replace("89.99", "84.99")
    digest = ask(day, "POST", "/v1/policies", "anna", text, kind="application/toml")[1]["digest"]
    path = f"/v1/policies/{digest}/activate"
    proposed, _ = ask(day, "POST", path, "anna", "{}")
    again, _ = ask(day, "POST", path, "anna", "{}")
    agreed, _ = ask(day, "POST", path, "bert", "{}")
    if (proposed, again, agreed) != (202, 202, 204):
        raise Failed(f"a policy was proposed ({proposed}), proposed again ({again}) and agreed to ({agreed})")
    return f"{digest[:15]} decides, proposed and agreed to by two persons"


def roll_back_policy(day):
    digest = ask(day, "POST", "/v1/policies/rollback", "anna", "{}")[1]["digest"]
    return f"{digest[:15]} decides again"


# --- secrets ---


def rotate_api_key(day):
    """The readers get another key. Then the old one is revoked and must stop working."""
    old = day.state["keys"]["reader"]
    day.make_key("reader")
    time.sleep(ON_ITS_WAY)
    day.service.must("keys", "revoke", old["id"])
    began = time.monotonic()

    def refused():
        # Several requests, so that each api process is asked.
        authorization = {"authorization": f"Bearer {old['key']}"}
        statuses = [day.caller.request("GET", "/v1/verifications?limit=1", authorization)[0] for _ in range(12)]
        return set(statuses) == {401}

    # 2 s by docs/numbers.md. A process that lags on a loaded machine is not a fault.
    wait_for("a revoked key is refused", 60, refused)
    return f"another key reads; the old one was refused {time.monotonic() - began:.1f} s after it was revoked"


def rotate_callback_secret(day):
    """As docs/upgrades.md says: both secrets, then the sender, then only the new one. No restart."""
    old, new = day.state["callback_secret"], new_secret()
    apply_callback_secrets(day, old, new)
    day.state["callback_secret"] = new
    day.state.save()
    time.sleep(ON_ITS_WAY)
    apply_callback_secrets(day, new)
    body = json.dumps({"biz_type": VERIFY_SCENE, "biz_id": "pass-97_signed-with-the-old-secret"})
    status, _ = day.load.send_signed(day.caller, f"old-secret-{day.part}-{time.time_ns()}", body, secret=old)
    if status == 202:
        day.ledger.fault("a removed callback secret still verified")
    return f"without a restart; a callback signed with the old one got {status}"


def apply_callback_secrets(day, *secrets):
    """Writes the file, and waits until every api process has taken it over."""
    before = {slot: process.applied_reloads() for slot, process in day.service.processes.items()}
    day.service.write_callback_secrets(*secrets)
    for slot, process in day.service.processes.items():
        wait_for(f"{slot} has applied the changed secrets", 30,
                 lambda slot=slot, process=process: process.applied_reloads() > before[slot])


def rotate_vault_key(day):
    """Another key-encryption key while everything serves: docs/personal-data.md."""
    old = day.state["vault_keys"][0]
    new = f"k{int(old[1:]) + 1}"
    day.state["vault_keys"] = [new, old]
    day.service.configure()
    day.service.replace_all()
    began = time.monotonic()
    # It waits until no process has wrapped with the old key for a minute.
    said = day.service.must("vault", "rotate").strip().splitlines()
    took = time.monotonic() - began
    day.state["vault_keys"] = [new]
    day.state.save()
    day.service.configure()
    day.service.replace_all()
    return f"{new} in place of {old}, rewrapped in {took:.0f} s ({said[-1] if said else 'nothing said'})"


def rotate_webhook_secret(day):
    """Both receivers accept the old and the new secret for a while, then only the new one."""
    keep = 5
    for receiver in day.receivers:
        endpoint = day.state["endpoints"][receiver.ordering]
        said = day.service.must("webhooks", "rotate", endpoint["id"], "--keep-seconds", str(keep), "--json")
        receiver.secrets.append(json.loads(said)["secret"])
    time.sleep(keep + 5)
    for receiver in day.receivers:
        del receiver.secrets[:-1]
    day.state.save()
    return "of both endpoints; the receivers know only the new ones"


# --- persons ---


def erase_persons(day):
    """Some persons of this part are erased by the API. Nothing of them may be found at the end."""
    known = day.ledger.of_this_part()
    chosen = day.dice.sample(known, min(ERASED_AT_ONCE, len(known)))
    numbers = 0
    for entry in chosen:
        verification = entry["verification"]
        status, material = ask(day, "GET", f"/v1/verifications/{verification}/material", "reader", fine=(200, 404))
        needles = [entry["canary"]]
        if status == 200 and material.get("number") and "测试甲" not in (material.get("name") or ""):
            needles.append(material["number"])
            numbers += 1
        day.ledger.mark_erased(verification, needles)
        ask(day, "DELETE", f"/v1/verifications/{verification}/material", "operator", fine=(202,))
        day.ledger.acknowledge_erasure(verification)
    return f"{len(chosen)} persons, of whom {numbers} had a number on record"


def erase_by_number(day):
    """One person with two verifications is erased by `verdict erase --person`."""
    entries = []
    for which in ("a", "b"):
        number = day.load.next_number()
        canary = f"canary-{day.part}-{number}-person"
        body = json.dumps({"biz_type": VERIFY_SCENE, "reference": canary,
                           "biz_id": f"pass-97-person-{day.seed * 10 + day.part}_{which}{number}"})
        entry = day.load.post(day.caller, number, body, {"approve"}, canary)
        if entry is None:
            raise Failed("a callback about the person was refused")
        day.ledger.kept.add(entry["verification"])
        entries.append(entry)

    def number_of(entry):
        status, material = day.caller.request("GET", f"/v1/verifications/{entry['verification']}/material",
                                              day.load.authorization(**{"verdict-purpose": PURPOSE}))
        return status == 200 and material["number"]

    numbers = {wait_for("the person is known", 120, lambda entry=entry: number_of(entry)) for entry in entries}
    if len(numbers) != 1:
        raise Failed("the simulated provider gave one person two numbers")
    for entry in entries:
        day.ledger.mark_erased(entry["verification"], [entry["canary"], *numbers])
    said = day.service.must("erase", "--person", "--purpose", PURPOSE, given=numbers.pop() + "\n")
    receipts = {json.loads(line)["verification_id"] for line in said.splitlines() if line.startswith("{")}
    for entry in entries:
        if entry["verification"] not in receipts:
            day.ledger.fault("verdict erase --person left out a verification of the person")
        day.ledger.acknowledge_erasure(entry["verification"])
    return f"one person with {len(receipts)} verifications"


# --- receivers and the provider ---


def break_receiver(day):
    before = {receiver: receiver.refused for receiver in day.receivers}
    for receiver in day.receivers:
        receiver.is_broken = True
    wait_for("both receivers have refused deliveries", 180,
             lambda: all(receiver.refused >= count + REFUSED for receiver, count in before.items()))
    return "both receivers answer 500"


def mend_receiver(day):
    for receiver in day.receivers:
        receiver.is_broken = False
    began = time.monotonic()
    strict = next(receiver for receiver in day.receivers if receiver.ordering == "strict")
    # An endpoint does not get the events about itself.
    newest = int(day.pair.sql("select max(number) from events where kind not like 'endpoint.%'"))
    try:
        wait_for("the strict receiver has caught up", CAUGHT_UP_WITHIN, lambda: strict.last.get("log", 0) >= newest)
    except Failed as why:
        day.ledger.fault(str(why))
    refusals = sum(receiver.refused for receiver in day.receivers)
    return (f"both receivers answer again, after {refusals} refusals so far; "
            f"the strict one waited {time.monotonic() - began:.0f} s for what it had missed")


def freeze_provider(day):
    """The provider takes connections and answers nothing. No start is begun: its answer would be lost."""
    day.load.may_start.clear()
    time.sleep(3)  # starts that are under way
    day.freeze_provider()
    return f"no answer from the provider; due: {day.due()}"


def thaw_provider(day):
    """The outage ends; the backlog must drain."""
    backlog = wait_for("a backlog", 180, lambda: day.due() if day.due() > FEW_DUE else 0)
    day.thaw_provider()
    began = time.monotonic()
    wait_for("the backlog has drained", 1800, lambda: day.due() <= FEW_DUE, pause=1)
    day.load.may_start.set()
    return f"{backlog} were due; {time.monotonic() - began:.0f} s later at most {FEW_DUE}"


# --- processes ---


def upgrade_binary(day):
    """Grows the schema by the new version, then replaces the processes one by one."""
    said = day.service.must("migrate", binary=day.service.new)
    old = day.service.binary
    day.state["upgraded"] = True
    day.state.save()
    day.ledger.begin_gap()
    day.service.replace_all()
    versions = [day.service.command("--version", binary=binary).stdout.split("(")[-1].strip(" )\n")
                for binary in (old, day.service.new)]
    return (f"from {versions[0]} to {versions[1]}, longest time without a 202: {next_202(day):.1f} s "
            f"({said.strip().splitlines()[-1]})")


def kill_processes(day):
    """One process of each kind ends without a farewell."""
    for slot in ("api-1", "worker-1"):
        day.service.balancer.take_out(slot)
        day.service.processes[slot].process.kill()
        day.service.processes[slot].process.wait()
        time.sleep(2)
        day.service.fill(slot)
    return "an api process and a worker by SIGKILL, started again 2 s later"


# --- Postgres ---


def fill_disk(day):
    """Nothing is left of the filesystem on which the primary is."""
    if not day.pair.is_mounted:
        return "left out: no small filesystem could be mounted here"
    if day.pair.primary.name != "a":
        raise Failed("the primary is not on the small filesystem: change the timetable")
    log = day.pair.log(day.pair.primary)
    before = complaints(log)
    free = fill(day.pair.volume / "ballast")
    # What is deleted meanwhile, a segment of WAL for example, is filled too.
    time.sleep(1)
    fill(day.pair.volume / "ballast-2")
    wait_for("Postgres lacks room", 180, lambda: complaints(log) > before)
    return f"{free >> 20} MiB were free; Postgres lacked room {complaints(log) - before} times so far"


def complaints(log):
    return log.read_text(errors="replace").count("No space left on device")


def fill(path):
    """Takes all room in ever smaller pieces, without writing to it, and says how many bytes."""
    taken = 0
    with open(path, "wb") as file:
        for piece in (64 << 20, 1 << 20, 64 << 10, 4 << 10):
            try:
                while True:
                    os.posix_fallocate(file.fileno(), taken, piece)
                    taken += piece
            except OSError:
                pass
    return taken


def free_disk(day):
    """Room is made. Where Postgres has ended, it is started again, as an operator would."""
    if not day.pair.is_mounted:
        return "left out"
    day.ledger.begin_gap()
    for ballast in day.pair.volume.glob("ballast*"):
        ballast.unlink()
    began, starts = time.monotonic(), 0
    while day.ledger.newest_202 <= began:
        if time.monotonic() > began + 180:
            raise Failed("no 202 within 180 s after there was room again")
        # It may end only now, of what it met before.
        if day.pair.primary.pid() is None:
            day.pair.primary.start()
            starts += 1
        time.sleep(0.2)
    gap = day.ledger.longest_gap
    day.pair.wait_for_standby()
    return f"Postgres had {'ended, and was started again' if starts else 'gone on'}; a 202 {gap:.1f} s later"


def fail_over(day):
    """The primary is lost with all its processes, and the synchronous standby is promoted."""
    day.pair.wait_for_standby()
    before = day.pair.primary.name
    day.ledger.begin_gap()
    day.pair.fail_over()
    day.state.save()
    gap = next_202(day)
    return f"from {before} to {day.pair.primary.name}, longest time without a 202: {gap:.1f} s"


def bring_back_standby(day):
    began = time.monotonic()
    day.pair.attach_standby()
    return f"{day.pair.standby.name} made anew and synchronous in {time.monotonic() - began:.1f} s"


def happen(day, name):
    began = time.monotonic()
    said = globals()[name](day)
    tell(f"{name}: {said}")
    return {"second": round(began - day.began), "name": name, "took": round(time.monotonic() - began, 1), "said": said}
