"""Tries the client against a demo: signs, posts, waits, verifies. Run by `scripts/clients.sh check`."""

import json
import os
import time

from verdict import InvalidSignature, Refused, Verdict, sign, verify
from verdict_client.api.events import list_events

url, key, secret = (os.environ[name] for name in ("VERDICT_URL", "VERDICT_API_KEY", "VERDICT_SECRET"))
verdict = Verdict(url, key, secret=secret)

accepted = verdict.post_callback("demo", "pass-97-python", message_id="msg_python", reference="user-1")
assert verdict.post_callback("demo", "pass-97-python", message_id="msg_python", reference="user-1") == accepted
settled = verdict.wait(accepted["id"])
assert (settled.state, settled.decision.outcome) == ("decided", "approve"), settled
weak = verdict.wait(verdict.post_callback("demo", "pass-88.5-python")["id"])
assert weak.decision.reasons == ["score-too-low"], weak

try:
    Verdict(url, key, secret="whsec_" + "A" * 44).post_callback("demo", "pass")
    raise AssertionError("a wrong secret was accepted")
except Refused as refused:
    assert refused.problem["code"] == "signature-invalid", refused

events = json.loads(list_events.sync_detailed(client=verdict.api, after=0, limit=1).content)["items"]
body, now = json.dumps(events[0]).encode(), int(time.time())
headers = {"Webhook-Id": "evt_1", "Webhook-Timestamp": str(now), "Webhook-Signature": "v1,AAAA " + sign(secret, "evt_1", now, body)}
assert verify(secret, headers, body) == events[0]
for changed in (
    dict(headers, **{"Webhook-Id": "evt_2"}),
    dict(headers, **{"Webhook-Timestamp": "x"}),
    {name: value for name, value in headers.items() if name != "Webhook-Id"},
):
    try:
        verify(secret, changed, body)
        raise AssertionError(f"accepted: {changed}")
    except InvalidSignature:
        pass
try:
    verify(secret, headers, body, now=now + 301)
    raise AssertionError("an old delivery was accepted")
except InvalidSignature:
    pass
# The example of Standard Webhooks' own specification.
assert sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
print("python: ok")
