-- The person's data apart from the results, erasure with receipts, the audit chain, and which
-- key-encryption keys data still needs.

create table material (
    result_id       uuid  primary key,
    verification_id uuid  not null,
    sealed          bytea not null,
    person          bytea check (octet_length(person) = 32)
);
-- Ciphertext does not compress; do not try.
alter table material alter column sealed set storage external;
create index material_of on material (verification_id, result_id);
create index material_by_person on material (person) where person is not null;
comment on table material is 'The person''s data in one answer, sealed with the verification''s data key';
comment on column material.result_id is 'The answer it came with';
comment on column material.verification_id is 'Whose; erased together with its data key';
comment on column material.sealed is 'A JSON document, sealed for this place';
comment on column material.person is 'Blind index: keyed digest of the identity number; finds all verifications of a person without keeping the number readable';

create table named_keys (
    name    text        primary key,
    key_id  text        not null,
    wrapped bytea       not null,
    made_at timestamptz not null
);
comment on table named_keys is 'Keys of the installation, made once at random, wrapped like data keys';
comment on column named_keys.name is 'What for: person-index, audit';
comment on column named_keys.key_id is 'The key-encryption key that wraps it';
comment on column named_keys.wrapped is 'The wrapped key, bound to its name and key id';
comment on column named_keys.made_at is 'Since when';

create table vault_keys (
    key_id        text        primary key,
    first_used_at timestamptz not null,
    retired_at    timestamptz
);
comment on table vault_keys is 'Key-encryption keys that have wrapped something; a process refuses to start without one that is not retired';
comment on column vault_keys.key_id is 'Its id in the configuration';
comment on column vault_keys.first_used_at is 'Since when it wraps';
comment on column vault_keys.retired_at is 'When a rotation had rewrapped everything; null: data may need it';
insert into vault_keys (key_id, first_used_at) select distinct key_id, now() from data_keys;

-- By verification: erasure redacts them, the timeline lists them. Ids are ordered by time, so new
-- entries go to the index's end.
create index callbacks_of on callbacks (verification_id);

create table erasures (
    verification_id uuid        primary key,
    requested_at    timestamptz not null,
    requested_by    text        not null,
    purpose         text        not null,
    completed_at    timestamptz,
    data_keys       integer     not null default 0,
    answers         integer     not null default 0,
    material        integer     not null default 0,
    callbacks       integer     not null default 0
);
create index erasures_open on erasures (requested_at) where completed_at is null;
comment on table erasures is 'One verification whose person was forgotten: the intent first, then what was destroyed';
comment on column erasures.verification_id is 'Whose';
comment on column erasures.requested_at is 'From then on nothing is written about the person';
comment on column erasures.requested_by is 'key: and the API key''s id, or cli: and the user';
comment on column erasures.purpose is 'Why, as the caller said';
comment on column erasures.completed_at is 'When everything was destroyed; null: a worker still has to';
comment on column erasures.data_keys is 'Wrapped data keys destroyed';
comment on column erasures.answers is 'Sealed answers made unreadable by that';
comment on column erasures.material is 'Rows of material deleted';
comment on column erasures.callbacks is 'Callbacks redacted';

create table audit (
    position bigint      primary key,
    at       timestamptz not null,
    actor    text        not null,
    action   text        not null,
    subject  uuid,
    purpose  text,
    details  text,
    previous bytea       not null,
    digest   bytea       not null
);
create index audit_of on audit (subject, position) where subject is not null;
comment on table audit is 'Who read, erased or changed what, and why: append-only, each row chained to the one before';
comment on column audit.position is 'From 1, without gaps';
comment on column audit.at is 'When, by the clock of the replica that did it';
comment on column audit.actor is 'key: and the API key''s id, cli: and the user, or service';
comment on column audit.action is 'What was done, of a closed list';
comment on column audit.subject is 'The verification, API key or policy concerned';
comment on column audit.purpose is 'Why, as the caller said';
comment on column audit.details is 'More, as JSON text; nothing of a person';
comment on column audit.previous is 'Digest of the row before';
comment on column audit.digest is 'SHA-256 over all other columns, each as a netstring';

create table audit_head (
    whole    boolean primary key default true check (whole),
    position bigint  not null,
    digest   bytea   not null
);
comment on table audit_head is 'The end of the audit chain: one row, under whose lock rows are added';
comment on column audit_head.whole is 'There is one row';
comment on column audit_head.position is 'Position of the newest row';
comment on column audit_head.digest is 'Its digest';
insert into audit_head (position, digest) values (0, sha256('verdict audit'));

create table audit_checkpoints (
    position bigint      primary key,
    at       timestamptz not null,
    digest   bytea       not null,
    mac      bytea       not null
);
comment on table audit_checkpoints is 'The chain''s end at some moment, under a key that the database does not hold in the clear';
comment on column audit_checkpoints.position is 'Position of the newest row then';
comment on column audit_checkpoints.at is 'When';
comment on column audit_checkpoints.digest is 'Its digest';
comment on column audit_checkpoints.mac is 'HMAC-SHA-256 over position, time and digest by the installation''s audit key';

create function verdict_netstring(value text) returns text language sql immutable
    return coalesce(octet_length(value)::text || ':' || value || ',', '-');
comment on function verdict_netstring(text) is 'Length, text, comma; a dash for null: joined, they can be cut in one way only';

create function verdict_audit_digest(link audit) returns bytea language sql stable
    return sha256(convert_to(
        verdict_netstring(link.position::text)
        || verdict_netstring((extract(epoch from link.at) * 1000000)::bigint::text)
        || verdict_netstring(link.actor) || verdict_netstring(link.action)
        || verdict_netstring(link.subject::text) || verdict_netstring(link.purpose)
        || verdict_netstring(link.details) || verdict_netstring(encode(link.previous, 'hex')),
        'UTF8'));
comment on function verdict_audit_digest(audit) is 'What binds one row of the audit to all before it; `verdict audit verify` computes the same';

-- In a trigger, so that no way of adding a row goes past it; its statements see what was committed
-- while they waited for the head.
-- With its owner's rights: who may add rows need not be able to touch the head.
create function verdict_audit_link() returns trigger language plpgsql
    security definer set search_path from current as $$
declare
    head audit_head;
begin
    update audit_head set position = position + 1 returning * into head;
    new.position := head.position;
    new.previous := head.digest;
    new.digest := verdict_audit_digest(new);
    update audit_head set digest = new.digest;
    return new;
end $$;
comment on function verdict_audit_link() is 'Gives a new row its place in the chain';
create trigger audit_link before insert on audit
    for each row execute function verdict_audit_link();

create trigger audit_append_only before update or delete on audit
    for each row execute function verdict_append_only();
create trigger audit_not_truncated before truncate on audit
    for each statement execute function verdict_append_only();
create trigger audit_checkpoints_append_only before update or delete on audit_checkpoints
    for each row execute function verdict_append_only();
