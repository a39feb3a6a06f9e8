-- The main job: callbacks in, results fetched under leases, decisions out.

-- The database's clock, for due times and leases only. Replicas with wrong clocks can neither
-- steal nor keep a lease, and tests replace this function to move time.
create function verdict_now() returns timestamptz
    language sql stable parallel safe
    return statement_timestamp();
comment on function verdict_now() is 'The clock by which work falls due and leases end';

create table verifications (
    id           uuid        primary key,
    biz_type     text        not null,
    biz_id       text        not null,
    reference    text,
    state        text        not null
        check (state in ('pending', 'unfinished', 'decided', 'expired', 'failed', 'erased')),
    closed       boolean     not null default false,
    created_at   timestamptz not null,
    updated_at   timestamptz not null,
    callbacks    integer     not null default 0,
    attempts     integer     not null default 0,
    failures     integer     not null default 0,
    polls        integer     not null default 0,
    due_at       timestamptz,
    give_up_at   timestamptz not null,
    lease_token  uuid,
    lease_until  timestamptz,
    result_id    uuid,
    decision_id  uuid,
    constraint verifications_key unique (biz_type, biz_id),
    constraint verifications_lease check ((lease_token is null) = (lease_until is null))
) with (fillfactor = 80);
-- Claims walk this from the oldest due row; a claim or a renewal touches no indexed column, so
-- both are heap-only updates.
create index verifications_due on verifications (due_at, id) where due_at is not null;

comment on table verifications is 'One (biz_type, biz_id) at the provider, and the leased unit of fetching';
comment on column verifications.id is 'UUIDv7';
comment on column verifications.biz_type is 'The provider''s scene id';
comment on column verifications.biz_id is 'The caller''s id of the verification task at the provider';
comment on column verifications.reference is 'The caller''s own reference, from the first callback that carried one; in clear, so not the place for a name';
comment on column verifications.state is 'pending: work due; unfinished: the provider said -1 or 0; decided; expired; failed: given up; erased';
comment on column verifications.closed is 'The provider said 1, its only final status: no callback makes it due again';
comment on column verifications.created_at is 'When the first callback came';
comment on column verifications.updated_at is 'When anything last changed';
comment on column verifications.callbacks is 'How many callbacks and refetches there were; one that comes during a fetch makes the row due again after it';
comment on column verifications.attempts is 'How many times it was claimed for asking the provider';
comment on column verifications.failures is 'Failed attempts in a row; drives the backoff';
comment on column verifications.polls is 'Answers -1 or 0 since the last callback; drives the polling schedule';
comment on column verifications.due_at is 'When work is due, by verdict_now(); null: none';
comment on column verifications.give_up_at is 'When an unfinished verification expires: it outlives the provider''s token';
comment on column verifications.lease_token is 'Fencing token of the present claim: who does not hold it writes nothing';
comment on column verifications.lease_until is 'When the present claim ends, by verdict_now()';
comment on column verifications.result_id is 'The newest result';
comment on column verifications.decision_id is 'The standing decision: the newest';

create table callbacks (
    source             text        not null,
    message_id         text        not null,
    digest             bytea       not null check (octet_length(digest) = 32),
    verification_id    uuid        not null references verifications (id),
    received_at        timestamptz not null,
    occurred_at        timestamptz,
    hint_audit         text,
    hint_code          integer,
    hint_platform      text,
    answer_state       text        not null,
    answer_attempts    integer     not null,
    answer_reference   text,
    answer_decision_id uuid,
    primary key (source, message_id)
);
comment on table callbacks is 'One accepted message: a hint of the phone, and the proof that we answered 2xx';
comment on column callbacks.source is 'The configured source it came from';
comment on column callbacks.message_id is 'The webhook-id header; the idempotency key within its source';
comment on column callbacks.digest is 'SHA-256 of the exact bytes: the same id with other bytes is refused';
comment on column callbacks.verification_id is 'What it is about';
comment on column callbacks.received_at is 'When it came, by our clock';
comment on column callbacks.occurred_at is 'When the phone finished, as it claims';
comment on column callbacks.hint_audit is 'The SDK''s audit word, of a closed list';
comment on column callbacks.hint_code is 'The SDK''s numeric code';
comment on column callbacks.hint_platform is 'The phone''s platform, of a closed list';
comment on column callbacks.answer_state is 'The state we answered with: a repeat gets the same answer';
comment on column callbacks.answer_attempts is 'The attempts we answered with';
comment on column callbacks.answer_reference is 'The reference we answered with';
comment on column callbacks.answer_decision_id is 'The standing decision we answered with';

create table data_keys (
    verification_id uuid  primary key references verifications (id),
    key_id          text  not null,
    wrapped         bytea not null
);
comment on table data_keys is 'One verification''s data key, wrapped: destroying the row makes everything sealed with it unreadable';
comment on column data_keys.verification_id is 'Whose key';
comment on column data_keys.key_id is 'The key-encryption key that wraps it';
comment on column data_keys.wrapped is 'The wrapped key (AES-256-GCM-SIV, bound to verification and key id)';

create table results (
    id                 uuid        primary key,
    verification_id    uuid        not null references verifications (id),
    attempt            integer     not null,
    fetched_at         timestamptz not null,
    request_id         text,
    http_status        integer     not null,
    verify_status      integer,
    authority_score    double precision,
    face_score         double precision,
    id_card_face_score double precision,
    evidence           jsonb,
    error_class        text check (error_class in
        ('throttled', 'transient', 'clock', 'credentials', 'bad-request', 'gone', 'unreadable')),
    error_code         text,
    sealed_body        bytea       not null,
    -- Two results for one attempt cannot be.
    constraint results_attempt unique (verification_id, attempt),
    constraint results_kind check ((evidence is null) = (verify_status is null)
        and (evidence is null) <> (error_class is null))
);
-- Ciphertext does not compress; do not try.
alter table results alter column sealed_body set storage external;
comment on table results is 'One answer of the provider, refused ones included; append-only';
comment on column results.id is 'UUIDv7';
comment on column results.verification_id is 'What was asked about';
comment on column results.attempt is 'Which claim asked, from 1';
comment on column results.fetched_at is 'When the answer had come';
comment on column results.request_id is 'The provider''s request id';
comment on column results.http_status is 'HTTP status of the answer';
comment on column results.verify_status is 'VerifyStatus; null for errors';
comment on column results.authority_score is 'Live face against the government photo, 0 to 100; a reference, never a verdict';
comment on column results.face_score is 'Live face against the retained photo';
comment on column results.id_card_face_score is 'Live face against the portrait on the card';
comment on column results.evidence is 'What the policy sees: no personal data';
comment on column results.error_class is 'Why there is no evidence';
comment on column results.error_code is 'The provider''s own code';
comment on column results.sealed_body is 'The raw body as it came, sealed with the verification''s data key, decodable or not';

create table policies (
    digest   text        primary key,
    name     text        not null,
    body     text        not null,
    added_at timestamptz not null
);
comment on table policies is 'One policy text; append-only';
comment on column policies.digest is 'sha256: and the hex digest of the exact text';
comment on column policies.name is 'The name it gives itself';
comment on column policies.body is 'The text (TOML)';
comment on column policies.added_at is 'When it was added';

create table policy_activations (
    id           bigint      generated always as identity primary key,
    digest       text        not null references policies (digest),
    activated_at timestamptz not null,
    activated_by text        not null
);
comment on table policy_activations is 'Which policy was active when: the newest row is the active one; append-only';
comment on column policy_activations.id is 'Order of activation';
comment on column policy_activations.digest is 'The policy';
comment on column policy_activations.activated_at is 'Since when';
comment on column policy_activations.activated_by is 'By whom: a key''s name, or "seed" for the first one';

create table decisions (
    id              uuid        primary key,
    verification_id uuid        not null references verifications (id),
    result_id       uuid        not null references results (id),
    policy_digest   text        not null references policies (digest),
    outcome         text        not null check (outcome in ('approve', 'retry', 'review', 'reject')),
    reasons         jsonb       not null,
    decided_by      text        not null check (decided_by in ('policy', 'person')),
    decided_at      timestamptz not null,
    position        bigint      generated always as identity
);
create index decisions_of on decisions (verification_id, position);
comment on table decisions is 'One decision; append-only: the newest stands';
comment on column decisions.id is 'UUIDv7';
comment on column decisions.verification_id is 'What was decided about';
comment on column decisions.result_id is 'The answer it judged';
comment on column decisions.policy_digest is 'The policy that judged, or that stood when a person did';
comment on column decisions.outcome is 'The strictest outcome among the reasons';
comment on column decisions.reasons is 'Each with code, rule, outcome, observed values and bounds';
comment on column decisions.decided_by is 'policy or person';
comment on column decisions.decided_at is 'When, by the clock of the replica that decided';
comment on column decisions.position is 'Order of writing: within one verification the history''s true order, whatever the replicas'' clocks say';

create table accounts (
    account    text        primary key,
    spent_to   timestamptz not null default '-infinity',
    breaker    text        not null default 'closed'
        check (breaker in ('closed', 'credentials', 'clock', 'outage')),
    failures   integer     not null default 0,
    trips      integer     not null default 0,
    probe_at   timestamptz,
    opened_at  timestamptz
) with (fillfactor = 10);
comment on table accounts is 'One account at the provider: the budget and the breaker that all replicas share';
comment on column accounts.account is 'Name of the account';
comment on column accounts.spent_to is 'GCRA theoretical arrival time: up to when the budget is spent';
comment on column accounts.breaker is 'closed: calls go out; else why they do not';
comment on column accounts.failures is 'Passing faults in a row over all verifications; enough of them open the breaker';
comment on column accounts.trips is 'How often it opened since it last closed; spaces the probes';
comment on column accounts.probe_at is 'While open: when one call may find out whether things are better';
comment on column accounts.opened_at is 'Since when it is open';

create table api_keys (
    id         uuid        primary key,
    name       text        not null,
    digest     bytea       not null unique check (octet_length(digest) = 32),
    scopes     text[]      not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);
comment on table api_keys is 'One key of an internal caller';
comment on column api_keys.id is 'UUIDv7';
comment on column api_keys.name is 'Who holds it';
comment on column api_keys.digest is 'SHA-256 of the key (256 random bits, so a plain digest does)';
comment on column api_keys.scopes is 'What it may do';
comment on column api_keys.created_at is 'Since when';
comment on column api_keys.revoked_at is 'Until when; null: still good';

-- History is not edited. (Whole rows may go when their time of retention is over.)
create function verdict_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never edited', tg_table_name using errcode = 'restrict_violation';
end $$;
comment on function verdict_append_only() is 'Refuses edits of history';
create trigger results_append_only before update on results
    for each row execute function verdict_append_only();
create trigger decisions_append_only before update on decisions
    for each row execute function verdict_append_only();
create trigger policies_append_only before update on policies
    for each row execute function verdict_append_only();
create trigger policy_activations_append_only before update on policy_activations
    for each row execute function verdict_append_only();
