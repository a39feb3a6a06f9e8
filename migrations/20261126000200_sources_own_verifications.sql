-- A verification belongs to the source that created it, and what is kept of a callback's body no
-- longer identifies the body once salt and digest are gone.

alter table verifications add column source text;
comment on column verifications.source is 'The configured source it belongs to. Null: started by the API without one, so the first callback''s source gets it; or older than this column, so it belongs to the source of its earliest callback';

alter table callbacks alter column digest drop not null;
alter table callbacks add column salt bytea;
alter table callbacks add constraint callbacks_salt check (octet_length(salt) = 16) not valid;
comment on column callbacks.digest is 'HMAC-SHA-256, under salt, of the SHA-256 of the exact bytes: the same id with other bytes is refused. Without salt, of rows older than that column: the SHA-256 itself. Null once the person is erased';
comment on column callbacks.salt is 'Random key of digest; null once the person is erased';

alter table erasures add column digests_erased boolean not null default false;
comment on column erasures.digests_erased is 'Whether digests and salts of its callbacks are gone; older binaries and erasures leave them to a worker';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000200;
