-- The audit becomes partitioned by segment. This names the segment of the rows that exist so far.
--
-- Both columns have constant defaults, so no row is rewritten. The check is validated beside the
-- traffic (20261201000002), so that attaching the first partition later reads no row.

alter table audit add column segment integer not null default 0;
comment on column audit.segment is 'The segment of the chain: one partition each, from 0, without gaps; no part of the digest';
alter table audit add constraint audit_before_segment check (segment = 0) not valid;

alter table audit_head add column segment integer not null default 0,
    add column segment_since timestamptz not null default now();
comment on column audit_head.segment is 'The open segment, to which rows are added';
comment on column audit_head.segment_since is 'When it was opened';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261201000001;
