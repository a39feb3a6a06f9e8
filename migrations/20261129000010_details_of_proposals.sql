-- A second person sees what was proposed, and not only who made a call.

alter table proposals add column details jsonb;
comment on column proposals.details is 'The members of the call, as in the audit; null: an older version wrote the row';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261129000010;
