-- After an erasure the provider's own copy is deleted as well, for products that can do it.

alter table results add column bucket_objects text[];
comment on column results.bucket_objects is 'Objects of the answer in the customer''s own bucket (bucket/object), which the provider does not delete; null: none';

create table provider_deletions (
    verification_id uuid primary key,
    requested_at    timestamptz not null,
    due_at          timestamptz,
    attempts        integer     not null default 0,
    deleted_at      timestamptz,
    bucket_objects  text[]      not null,
    constraint provider_deletions_due check ((due_at is null) = (deleted_at is not null))
);
create index provider_deletions_due_at on provider_deletions (due_at) where due_at is not null;
comment on table provider_deletions is 'Erased verifications whose copy at the provider is deleted, and what stays in the customer''s bucket: part of the receipt';
comment on column provider_deletions.verification_id is 'The erased verification';
comment on column provider_deletions.requested_at is 'When the erasure was requested';
comment on column provider_deletions.due_at is 'When the provider is asked next; null: it has deleted its copy';
comment on column provider_deletions.attempts is 'How many times the provider was asked';
comment on column provider_deletions.deleted_at is 'When the provider had deleted its copy';
comment on column provider_deletions.bucket_objects is 'Objects in the customer''s own bucket that stay';

create table provider_deletion_pace (
    whole   boolean     primary key default true check (whole),
    next_at timestamptz not null
);
insert into provider_deletion_pace (next_at) values (now());
comment on table provider_deletion_pace is 'One row: ten deletions a second for all processes, the provider''s limit';
comment on column provider_deletion_pace.whole is 'Always true, so that there is one row';
comment on column provider_deletion_pace.next_at is 'When the next ten may be asked for';

update schema_floor set oldest_served = 20261124000003, said_by = 20261127000130;
