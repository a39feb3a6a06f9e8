-- The audit becomes partitioned by segment. This names the segment of the rows that exist so far.
--
-- Both columns have constant defaults, so no row is rewritten. The check is validated beside the
-- traffic (20261201000002), so that attaching the first partition later reads no row.

-- Newer servers (17.12) refuse to add a column to a table while a function of this kind takes its rows.
-- The lock comes first, so that no row is added while there is no function.
lock table audit in access exclusive mode;
drop function verdict_audit_digest(audit);

alter table audit add column segment integer not null default 0;
comment on column audit.segment is 'The segment of the chain: one partition each, from 0, without gaps; no part of the digest';
alter table audit add constraint audit_before_segment check (segment = 0) not valid;

create function verdict_audit_digest(link audit) returns bytea language sql stable
    return sha256(convert_to(
        verdict_netstring(link.position::text)
        || verdict_netstring((extract(epoch from link.at) * 1000000)::bigint::text)
        || verdict_netstring(link.actor) || verdict_netstring(link.action)
        || verdict_netstring(link.subject::text) || verdict_netstring(link.purpose)
        || verdict_netstring(link.details) || verdict_netstring(encode(link.previous, 'hex'))
        || case when link.database_user is null then '' else verdict_netstring(link.database_user) end,
        'UTF8'));
comment on function verdict_audit_digest(audit) is 'What binds one row of the audit to all before it; `verdict audit verify` computes the same';
revoke all on function verdict_audit_digest(audit) from public;

alter table audit_head add column segment integer not null default 0,
    add column segment_since timestamptz not null default now();
comment on column audit_head.segment is 'The open segment, to which rows are added';
comment on column audit_head.segment_since is 'When it was opened';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261201000001;
