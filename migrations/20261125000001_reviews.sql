-- A person's verdict.

create table reviews (
    id              uuid        primary key,
    verification_id uuid        not null,
    about           uuid        not null,
    outcome         text        not null check (outcome in ('approve', 'retry', 'reject')),
    reason          text        not null,
    note            bytea,
    reviewer        text        not null,
    reviewed_at     timestamptz not null,
    decision_id     uuid
);
create index reviews_of on reviews (verification_id, id);
comment on table reviews is 'A person''s verdict about a decision; append-only: one that counts names the decision it made, the first of two reads null there';
comment on column reviews.id is 'UUIDv7';
comment on column reviews.verification_id is 'What was looked at';
comment on column reviews.about is 'The standing decision it was about: a verdict about one that stands no more makes nothing';
comment on column reviews.outcome is 'approve, retry or reject';
comment on column reviews.reason is 'A code, of the reviewers'' own list';
comment on column reviews.note is 'In the reviewer''s words, sealed with the verification''s data key: it may name the person';
comment on column reviews.reviewer is 'key: and the API key''s id';
comment on column reviews.reviewed_at is 'When, by the clock of the replica that took it';
comment on column reviews.decision_id is 'The decision it made; null: another person has to agree';
create trigger reviews_append_only before update on reviews
    for each row execute function verdict_append_only();

-- With its owner's rights: who takes verdicts can add a person's decision and no other.
create function verdict_person_decides(decision uuid, verification uuid, result uuid, policy text,
    outcome text, reason text, at timestamptz) returns uuid language sql
    security definer set search_path from current as $$
    insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at)
    values (decision, verification, result, policy, outcome,
        jsonb_build_array(jsonb_build_object('code', reason, 'rule', null, 'outcome', outcome,
            'observed', '[]'::jsonb)),
        'person', at)
    returning id
$$;
comment on function verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz) is 'Adds a decision by a person';
revoke execute on function verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz) from public;
