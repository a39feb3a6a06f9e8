-- Webhook endpoints: a cursor over the event log, exceptions to it, and every attempt.

create table webhook_endpoints (
    id                  uuid        primary key,
    url                 text        not null check (length(url) between 1 and 2048),
    description         text        not null default '' check (length(description) <= 200),
    types               text[]      check (cardinality(types) between 1 and 50),
    biz_types           text[]      check (cardinality(biz_types) between 1 and 100),
    ordering            text        not null default 'per-verification'
        check (ordering in ('per-verification', 'strict')),
    signing             text        not null default 'v1' check (signing in ('v1', 'v1a')),
    max_in_flight       integer     not null default 10 check (max_in_flight between 1 and 100),
    requests_per_second float8      check (requests_per_second between 0.1 and 1000),
    status              text        not null default 'active'
        check (status in ('active', 'failing', 'paused', 'disabled')),
    revision            integer     not null default 0,
    cursor              bigint      not null check (cursor >= 0),
    key_id              text        not null,
    wrapped             bytea       not null,
    secret              bytea       not null,
    public_key          bytea       check (octet_length(public_key) = 32),
    previous_secret     bytea,
    previous_public_key bytea       check (octet_length(previous_public_key) = 32),
    previous_until      timestamptz,
    failing_since       timestamptz,
    last_status         integer,
    failures            integer     not null default 0,
    next_try_at         timestamptz,
    warned              smallint    not null default 0 check (warned between 0 and 2),
    disabled_because    text        check (disabled_because in ('gone', 'failing')),
    due_at              timestamptz,
    lease_token         uuid,
    lease_until         timestamptz,
    created_at          timestamptz not null,
    created_by          text        not null,
    updated_at          timestamptz not null,
    check ((signing = 'v1a') = (public_key is not null)),
    check ((previous_secret is null) = (previous_until is null)),
    check ((disabled_because is not null) = (status = 'disabled')),
    check ((lease_token is null) = (lease_until is null))
);
create index webhook_endpoints_keys on webhook_endpoints (key_id);
comment on table webhook_endpoints is 'Where events are delivered to: each is a cursor over the event log';
comment on column webhook_endpoints.id is 'UUIDv7';
comment on column webhook_endpoints.url is 'The target; it may hold a token of the receiver, so neither logs nor the audit name more than its origin';
comment on column webhook_endpoints.description is 'As its owner wrote it';
comment on column webhook_endpoints.types is 'Kinds of events that it gets; null: every kind';
comment on column webhook_endpoints.biz_types is 'Scenes whose events it gets; null: every scene, and events without one';
comment on column webhook_endpoints.ordering is 'per-verification: a failed event holds back later ones of its verification; strict: all later ones';
comment on column webhook_endpoints.signing is 'v1: HMAC-SHA256; v1a: ed25519';
comment on column webhook_endpoints.max_in_flight is 'Most requests at the same time';
comment on column webhook_endpoints.requests_per_second is 'Most requests begun per second; null: no limit';
comment on column webhook_endpoints.status is 'active; failing: it fails as a whole, only its oldest event is tried; paused: by its owner; disabled: after days of failure, or for a 410';
comment on column webhook_endpoints.revision is 'Incremented by each change of its owner, so that the worker that delivers reads the row again';
comment on column webhook_endpoints.cursor is 'Each number of the log up to this one is delivered, skipped by a filter, or a row of webhook_pending';
comment on column webhook_endpoints.key_id is 'The key of the ring that wraps the data key; a rotation changes it';
comment on column webhook_endpoints.wrapped is 'The endpoint''s data key, wrapped';
comment on column webhook_endpoints.secret is 'The secret that signs, sealed with the data key: 32 bytes, of the HMAC key or the ed25519 seed';
comment on column webhook_endpoints.public_key is 'For v1a: the key that verifies its signatures';
comment on column webhook_endpoints.previous_secret is 'The secret before the last rotation, sealed likewise; it signs as well until previous_until';
comment on column webhook_endpoints.previous_public_key is 'For v1a: the key that verifies the signatures of previous_secret';
comment on column webhook_endpoints.previous_until is 'When previous_secret stops signing, by verdict_now()';
comment on column webhook_endpoints.failing_since is 'When it began to fail as a whole; null: it does not';
comment on column webhook_endpoints.last_status is 'HTTP status of the newest attempt; null: none yet, or no answer came';
comment on column webhook_endpoints.failures is 'Consecutive failed attempts';
comment on column webhook_endpoints.next_try_at is 'When a failing endpoint is tried next; null: at once';
comment on column webhook_endpoints.warned is 'Number of endpoint.failing events since it began to fail';
comment on column webhook_endpoints.disabled_because is 'gone: it answered 410; failing: it failed for too long';
comment on column webhook_endpoints.due_at is 'When it needs a worker, by verdict_now(), whatever its cursor is; null: when the log has grown';
comment on column webhook_endpoints.lease_token is 'Fencing token of the worker that delivers; null: none does';
comment on column webhook_endpoints.lease_until is 'When the lease ends, by verdict_now()';
comment on column webhook_endpoints.created_at is 'When it was added';
comment on column webhook_endpoints.created_by is 'Who added it, as in the audit';
comment on column webhook_endpoints.updated_at is 'When its owner last changed it, or its status last changed';

create table webhook_pending (
    endpoint_id     uuid        not null references webhook_endpoints (id) on delete cascade,
    redelivery      boolean     not null,
    number          bigint      not null check (number >= 0),
    verification_id uuid,
    test_id         uuid,
    state           text        not null check (state in ('retry', 'held', 'dead')),
    attempts        integer     not null default 0,
    first_at        timestamptz not null,
    next_at         timestamptz,
    primary key (endpoint_id, redelivery, number),
    check ((test_id is not null) = (number = 0)),
    check (number > 0 or redelivery),
    check ((next_at is not null) = (state = 'retry'))
);
create index webhook_pending_open on webhook_pending (endpoint_id, next_at) where state <> 'dead';
comment on table webhook_pending is 'Exceptions to the cursor of an endpoint: events that are still to be delivered, or to be redelivered';
comment on column webhook_pending.endpoint_id is 'The endpoint that it is for';
comment on column webhook_pending.redelivery is 'It was requested; false: it is at or before the cursor and not yet delivered';
comment on column webhook_pending.number is 'Number of the event in the log; 0: a test, which is not in the log';
comment on column webhook_pending.verification_id is 'Verification of the event, if it has one';
comment on column webhook_pending.test_id is 'The id of a test, like the id of an event';
comment on column webhook_pending.state is 'retry: tried at next_at; held: behind an earlier event of its verification; dead: the schedule has ended, only a redelivery sends it';
comment on column webhook_pending.attempts is 'Attempts so far';
comment on column webhook_pending.first_at is 'When the first attempt was, or when it was requested';
comment on column webhook_pending.next_at is 'When it is tried next, by verdict_now()';

create table webhook_attempts (
    id          bigint      generated always as identity primary key,
    endpoint_id uuid        not null,
    number      bigint,
    event_id    text        not null,
    at          timestamptz not null,
    attempt     integer     not null,
    status      integer,
    error       text,
    latency_ms  integer     not null,
    answer      bytea,
    next_at     timestamptz
);
create index webhook_attempts_of on webhook_attempts (endpoint_id, id);
comment on table webhook_attempts is 'One row for each request to an endpoint, kept for [webhooks] keep_deliveries_days; those of a removed endpoint stay as long, unreadable without its data key';
comment on column webhook_attempts.id is 'In the order in which the attempts ended';
comment on column webhook_attempts.endpoint_id is 'The endpoint that it is for';
comment on column webhook_attempts.number is 'Number of the event in the log; null: a test';
comment on column webhook_attempts.event_id is 'webhook-id: evt_ and 32 hex digits';
comment on column webhook_attempts.at is 'When it began';
comment on column webhook_attempts.attempt is 'From 1, for this event';
comment on column webhook_attempts.status is 'HTTP status of the answer; null: none came';
comment on column webhook_attempts.error is 'Why it failed, one of a closed list of words; null: it did not';
comment on column webhook_attempts.latency_ms is 'From the beginning to the end of the answer, or to the failure';
comment on column webhook_attempts.answer is 'The first KiB of the answer''s body, sealed with the endpoint''s data key; null: there was none';
comment on column webhook_attempts.next_at is 'When the event is tried next; null: it is not, or the endpoint as a whole decides';

-- A failing or disabled endpoint causes an event, which the other endpoints get.
create function verdict_note_endpoint() returns trigger
    language plpgsql security definer as $$
declare
    told text;
begin
    if new.status = 'disabled' and old.status <> 'disabled' then
        told := 'endpoint.disabled';
    elsif new.warned > old.warned then
        told := 'endpoint.failing';
    else
        return null;
    end if;
    insert into event_notes (id, kind, at, details)
    values (gen_random_uuid(), told, new.updated_at, jsonb_build_object(
        'endpoint_id', new.id,
        'since', to_char(coalesce(new.failing_since, new.updated_at) at time zone 'utc',
            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'last_status', new.last_status));
    return null;
end $$;
comment on function verdict_note_endpoint() is 'Writes endpoint.failing when warned goes up, and endpoint.disabled, at updated_at';
create trigger webhook_endpoints_noted after update of status, warned on webhook_endpoints
    for each row execute function verdict_note_endpoint();

-- An API process wraps only here. It does not report every few seconds which key it wraps with.
create function verdict_endpoint_key_in_use() returns trigger
    language plpgsql security definer as $$
begin
    insert into vault_keys (key_id, first_used_at, wraps_at)
    values (new.key_id, verdict_now(), verdict_now())
    on conflict (key_id) do update set retired_at = null, wraps_at = verdict_now();
    return null;
end $$;
comment on function verdict_endpoint_key_in_use() is 'A key that wraps the data key of a new endpoint is in use';
create trigger webhook_endpoints_key after insert on webhook_endpoints
    for each row execute function verdict_endpoint_key_in_use();

-- Functions of this migration, as in 20261126000990.
do $$
declare
    mine record;
begin
    for mine in
        select p.oid::regprocedure as signature from pg_proc p
        where p.pronamespace = current_schema()::regnamespace
            and p.proname in ('verdict_note_endpoint', 'verdict_endpoint_key_in_use')
    loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp',
            mine.signature, current_schema());
        execute format('revoke execute on function %s from public', mine.signature);
    end loop;
end $$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261127000010;
