"""What all modules of the day use."""

import subprocess
import threading
import time

BEGAN = time.monotonic()
OUTPUT = threading.Lock()


class Failed(Exception):
    """The part cannot go on."""


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


def draw(dice, weighted):
    """One of (…, weight, …): the whole tuple."""
    return dice.choices(weighted, [one[1] for one in weighted])[0]
