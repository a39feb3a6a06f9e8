"""FastAPI with asyncpg, two processes: one signed callback (Standard Webhooks), one durable row."""

import base64
import hashlib
import hmac
import os
import time
import uuid
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field, ValidationError

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
TOLERANCE = 300
INSERT = """insert into callbacks
              (source, message_id, digest, verification_id, biz_type, biz_id, reference)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (source, message_id) do nothing returning verification_id"""
KNOWN = "select digest, verification_id from callbacks where source = $1 and message_id = $2"


class Callback(BaseModel):
    biz_type: str = Field(min_length=1, max_length=64)
    biz_id: str = Field(min_length=1, max_length=64)
    reference: str | None = Field(default=None, max_length=128)


@asynccontextmanager
async def lifespan(app: FastAPI):
    # asyncpg prepares each statement once for each connection.
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], max_size=16) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


def is_signed(message_id: str, timestamp: str, signature: str, body: bytes) -> bool:
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    expected = b"v1," + base64.b64encode(hmac.digest(SECRET, signed, "sha256"))
    return any(hmac.compare_digest(expected, given.encode()) for given in signature.split(" "))


@app.post("/v1/callbacks/{source}", status_code=202)
async def accept(
    source: str,
    request: Request,
    webhook_id: Annotated[str, Header()],
    webhook_timestamp: Annotated[str, Header()],
    webhook_signature: Annotated[str, Header()],
):
    body = await request.body()
    if not is_signed(webhook_id, webhook_timestamp, webhook_signature, body):
        raise HTTPException(401, "signature-invalid")
    try:
        callback = Callback.model_validate_json(body)
    except ValidationError:
        raise HTTPException(422, "invalid-field") from None
    digest = hashlib.sha256(body).digest()
    about = (callback.biz_type, callback.biz_id, callback.reference)
    async with request.app.state.pool.acquire() as connection:
        # One statement is one transaction: it is committed when it has answered.
        verification = await connection.fetchval(
            INSERT, source, webhook_id, digest, uuid.uuid4(), *about
        )
        if verification is None:
            known = await connection.fetchrow(KNOWN, source, webhook_id)
            if known["digest"] != digest:
                raise HTTPException(409, "idempotency-mismatch")
            verification = known["verification_id"]
    return {
        "id": str(verification),
        "biz_type": callback.biz_type,
        "biz_id": callback.biz_id,
        "state": "pending",
    }
