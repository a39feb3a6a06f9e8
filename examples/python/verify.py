"""Posts a signed callback and prints the decision: verify.py BIZ_TYPE BIZ_ID [--start]

With --start it first starts a verification of face-verify; BIZ_ID is then a new order number.
"""

import json
import os
import sys
import time
import uuid
from datetime import datetime, timezone

import requests
from standardwebhooks import Webhook


def setting(name, default=None):
    return os.environ.get(name, default) or sys.exit(f"{name} is not set")


def persist(method, url, headers, body=None):
    """The answer; asks again where that may help, with new `headers()` each time."""
    for pause in (1, 2, 4, 8, 0):
        answer, after = None, ""
        try:
            # Longer than the service holds a request below.
            answer = requests.request(method, url, data=body, headers=headers(), timeout=40)
            after = answer.headers.get("retry-after", "")
            if not (after or answer.status_code in (408, 429) or answer.status_code >= 500):
                break
        except requests.RequestException:
            pass  # What became of the request is unknown.
        if pause:
            time.sleep(int(after) if after.isdecimal() else pause)
    if answer is None:
        sys.exit(f"no answer from {url}")
    if not answer.ok:
        is_problem = "problem+json" in answer.headers.get("content-type", "")
        code = answer.json()["code"] if is_problem else answer.reason
        sys.exit(f"Verdict refused: {answer.status_code} {code}")
    return answer.json()


if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--start"]):
    sys.exit("usage: verify.py BIZ_TYPE BIZ_ID [--start]")
url, webhook = setting("VERDICT_URL"), Webhook(setting("VERDICT_SECRET"))
api_key, source = setting("VERDICT_API_KEY"), setting("VERDICT_SOURCE", "app")
callback = {"biz_type": sys.argv[1], "biz_id": sys.argv[2]}
if starts := "--start" in sys.argv:
    callback["product"] = "face-verify"
body = json.dumps(callback)
# The same id for every try: what was accepted already is not accepted twice.
message_id = f"msg_{uuid.uuid4().hex}"


def signed():
    """Made anew for every try: an old timestamp is refused."""
    now = datetime.now(timezone.utc)  # The library takes any other zone's time for UTC.
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign(message_id, now, body),
    }


def authorized():
    return {"authorization": f"Bearer {api_key}"}


if starts:
    # Name and number come from your database, meta_info from the SDK in the app. They go into the
    # body, never into a URL or a log.
    start = {
        **callback,
        "product_code": "ID_PRO",
        "cert_type": "IDENTITY_CARD",
        "cert_name": setting("CERT_NAME"),
        "cert_no": setting("CERT_NO"),
        "meta_info": setting("META_INFO"),
    }
    as_json = {"content-type": "application/json"}
    # Nothing is started twice: a repetition gets the same answer.
    persist(
        "POST", f"{url}/v1/verifications", lambda: {**authorized(), **as_json}, json.dumps(start)
    )
    # The app goes on with `certify_id` of the answer, and tells your backend when the user has
    # finished. Then:
verification = persist("POST", f"{url}/v1/callbacks/{source}", signed, body)
one = f"{url}/v1/verifications/{verification['id']}"
while verification["state"] in ("pending", "unfinished"):
    # Held until there is something to tell, 30 seconds at most.
    verification = persist("GET", f"{one}?wait=30", authorized)
decision = verification["decision"] or {"outcome": "-", "reasons": ["-"]}
print(verification["state"], decision["outcome"], ",".join(decision["reasons"]))
