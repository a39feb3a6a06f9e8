alter table callbacks validate constraint callbacks_salt;
comment on column callbacks.message_id is 'The webhook-id header; the idempotency key within its source. Replaced by a random one once the person is erased';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000202;
