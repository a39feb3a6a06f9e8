"""What scripts/failover.py and scripts/production_day share."""

import subprocess
import threading
import time

BEGAN = time.monotonic()
OUTPUT = threading.Lock()


class Failed(Exception):
    """The run cannot go on."""


def tell(text):
    with OUTPUT:
        print(f"{time.monotonic() - BEGAN:8.1f} s  {text}", flush=True)


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode:
        raise Failed(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def wait_for(what, seconds, condition, pause=0.2):
    """What the condition returns, as soon as it is true."""
    limit = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > limit:
            raise Failed(f"not seen in {seconds} s: {what}")
        time.sleep(pause)


class EventOrder:
    """The events that one receiver had: each is noted once, and must be the next one of its chain."""

    def __init__(self, ordering, may_skip=False):
        """`may_skip`: a strict receiver need not get every sequence."""
        self.ordering, self.may_skip, self.lock = ordering, may_skip and ordering == "strict", threading.Lock()
        self.ids, self.last, self.repeats, self.faults = {}, {}, 0, []

    def take(self, event):
        number = event["sequence"]
        # Without a verification (a policy was activated) an event stands in no order but the strict one.
        if self.ordering == "strict":
            chain, place = "log", number
        else:
            chain, place = event["data"].get("verification_id"), event["data"].get("verification_sequence")
        with self.lock:
            if number in self.ids:
                self.repeats += 1
                if self.ids[number] != event["id"]:
                    self.faults.append(f"sequence {number} was given to two events")
                return
            self.note(number, event["id"], chain, place)
            self.keep(number, event["id"], chain, place)

    def note(self, number, event, chain, place):
        self.ids[number] = event
        if chain:
            last = self.last.get(chain, 0)
            if place <= last or (place != last + 1 and not self.may_skip):
                self.faults.append(f"{self.ordering}: {place} came after {last}")
            self.last[chain] = max(place, last)

    def keep(self, *noted):
        """For a receiver that keeps what it noted."""
