-- API keys name the person who holds them, end by themselves and can be limited; what needs two
-- persons waits as a proposal.

alter table api_keys
    add column person text,
    add column scenes text[],
    add column requests_per_second integer,
    add column expires_at timestamptz,
    add column last_used_at timestamptz;
comment on column api_keys.person is 'The person who holds it: several keys of one person are one pair of eyes; null: held by a program, which cannot vote where two persons must agree';
comment on column api_keys.scenes is 'The only scenes (biz_type) it reaches; null: every scene';
comment on column api_keys.requests_per_second is 'Requests that one process takes from it per second; null: no limit';
comment on column api_keys.expires_at is 'It stops working then; null: only when it is revoked';
comment on column api_keys.last_used_at is 'Its last use, to five minutes: written at most that often; null: never used';

alter table reviews add column person text;
comment on column reviews.person is 'The person who held the key; null: the key named none, or the row is older than this column, and does not count where two persons must agree';

create table proposals (
    id              uuid        primary key,
    call            bytea       not null check (octet_length(call) = 32),
    action          text        not null,
    subject         uuid,
    key_id          uuid        not null,
    person          text        not null,
    purpose         text,
    proposed_at     timestamptz not null,
    closed_at       timestamptz,
    seconded_by     uuid,
    seconded_person text
);
create unique index proposals_open on proposals (call) where closed_at is null;
comment on table proposals is 'A call that needs two persons, made by the first of them; an identical call by the second within 24 hours carries it out';
comment on column proposals.id is 'UUIDv7';
comment on column proposals.call is 'SHA-256 over the call and what it was about: identical calls have the same';
comment on column proposals.action is 'What is proposed, as the audit names it when it is carried out';
comment on column proposals.subject is 'The verification, if it is about one';
comment on column proposals.key_id is 'The API key that proposed it: once revoked or expired, its proposals do not count';
comment on column proposals.person is 'The person who proposed it';
comment on column proposals.purpose is 'Why, as the proposer said';
comment on column proposals.proposed_at is 'When, by the database''s clock';
comment on column proposals.closed_at is 'When it was carried out or lapsed; null: it waits';
comment on column proposals.seconded_by is 'The API key that carried it out; null: it waits, or lapsed';
comment on column proposals.seconded_person is 'The person who carried it out';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000300;
