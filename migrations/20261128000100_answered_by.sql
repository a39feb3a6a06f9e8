-- A start that learns its CertifyId after a callback with nothing but that id has made a
-- verification of it.

alter table verifications add column answered_by uuid;
comment on column verifications.answered_by is 'The verification that has the CertifyId of this start: a callback named nothing but the id before the start knew it. That one is decided, this one expires; null: there is none';
comment on column verifications.attempts is 'Calls of the provider, and claims whose process ended before anybody knew whether it had called';

-- Serves binaries whose newest migration is 20261124000003 or later: they leave the column alone.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000100;
