"""Verdict from Python: signs and posts callbacks, waits for decisions, verifies webhooks.

Everything else is in the client that scripts/clients.sh generates: Verdict(...).api.
"""

import base64
import hashlib
import hmac
import json
import secrets as randomness
import time

import httpx
from verdict_client import AuthenticatedClient
from verdict_client.api.verifications import get_verification

TOLERANCE_SECONDS = 300
REPEATABLE = {408, 429, 500, 502, 503, 504}


class InvalidSignature(Exception):
    """The request was not signed by Verdict, or too long ago. Answer it with 401."""


class Refused(Exception):
    """Verdict refused the request. `problem` has its `code` and what to do."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('title')}")
        self.status, self.problem = status, problem


def sign(secret, message_id, timestamp, body):
    """The signature of Standard Webhooks, over bytes."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verify(secret, headers, body, now=None):
    """The event of a delivery, if the secret has signed it. Give the bytes as they came."""
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id = given["webhook-id"]
        timestamp = int(given["webhook-timestamp"])
        signatures = given["webhook-signature"].split()
    except (KeyError, ValueError):
        raise InvalidSignature("a header is missing or malformed") from None
    if abs((time.time() if now is None else now) - timestamp) > TOLERANCE_SECONDS:
        raise InvalidSignature("the timestamp is too old, or in the future")
    expected = sign(secret, message_id, timestamp, body).encode()
    # All of them are compared, so that the time says nothing.
    matches = [hmac.compare_digest(expected, each.encode()) for each in signatures]
    if not any(matches):
        raise InvalidSignature("no signature matches")
    return json.loads(body)


class Verdict:
    def __init__(self, url, api_key, source="app", secret=None, attempts=6):
        self.api = AuthenticatedClient(base_url=url, token=api_key, timeout=httpx.Timeout(70))
        self.address = f"{url}/v1/callbacks/{source}"
        self.secret, self.attempts = secret, attempts

    def post_callback(self, biz_type, biz_id, message_id=None, **members):
        """Posts a callback until Verdict has it. Keep `message_id` to repeat it in another process."""
        message_id = message_id or "msg_" + randomness.token_hex(16)
        body = json.dumps({"biz_type": biz_type, "biz_id": biz_id, **members}).encode()
        for attempt in range(1, self.attempts + 1):
            timestamp = int(time.time())
            headers = {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self.secret, message_id, timestamp, body),
            }
            wait = min(2.0 ** (attempt - 1), 30)
            try:
                answer = httpx.post(self.address, content=body, headers=headers, timeout=15)
            except httpx.TransportError:
                if attempt == self.attempts:
                    raise
            else:
                if answer.status_code == 202:
                    return answer.json()
                if answer.status_code not in REPEATABLE or attempt == self.attempts:
                    raise Refused(answer.status_code, _problem(answer))
                wait = float(answer.headers.get("retry-after", wait))
            time.sleep(wait)

    def wait(self, verification_id, seconds=60):
        """The verification once it is settled, or as it is after so many seconds (at most 60)."""
        answer = get_verification.sync_detailed(verification_id, client=self.api, wait=seconds)
        if answer.status_code != 200:
            raise Refused(int(answer.status_code), json.loads(answer.content))
        return answer.parsed


def _problem(answer):
    try:
        return answer.json()
    except ValueError:
        # A proxy's answer, say.
        return {"code": None, "title": answer.reason_phrase}
