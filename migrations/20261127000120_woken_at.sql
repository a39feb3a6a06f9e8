-- Returns of users and the provider's own callbacks are not signed, so they wake a verification
-- seldom.

alter table verifications add column woken_at timestamptz;
comment on column verifications.woken_at is 'When an unsigned return or callback last made it due, by verdict_now(); null: never';

-- Serves binaries whose newest migration is 20261124000003 or later: they leave the column alone.
update schema_floor set oldest_served = 20261124000003, said_by = 20261127000120;
