-- Retention as leased work on what is named, and rotation that knows who still wraps with a key.

alter table tasks drop constraint tasks_kind_check;
alter table tasks add constraint tasks_kind_check
    check (kind in ('archive', 'delete-images', 'retire-images', 'backtest'));
comment on column tasks.id is 'archive, retire-images: the result; delete-images: the verification; backtest: its id';
comment on column tasks.kind is 'archive: fetch and keep the images of one result; delete-images: remove all of a verification from the object store; retire-images: remove those of one result that have no row any more; backtest: go on with one';
comment on column tasks.deadline is 'archive: until then the links live, nearest first; infinity once the provider was asked for others. delete-images: until then somebody may be writing there';

update tasks set deadline = 'infinity' where asked_again_at is not null;

create table retention_passes (
    clock       text        primary key check (clock in ('persons', 'callbacks', 'images')),
    after       uuid        not null default '00000000-0000-0000-0000-000000000000',
    rests_until timestamptz not null default '-infinity',
    lease_token uuid,
    lease_until timestamptz,
    constraint retention_passes_lease check ((lease_token is null) = (lease_until is null))
);
comment on table retention_passes is 'How far each retention clock has come: one process at a time goes on with one';
comment on column retention_passes.clock is 'What goes when its time is over: persons, callbacks, images';
comment on column retention_passes.after is 'The last verification looked at in this pass';
comment on column retention_passes.rests_until is 'When the next pass begins';
comment on column retention_passes.lease_token is 'Fencing token of who is at it';
comment on column retention_passes.lease_until is 'Until then it is somebody''s';
insert into retention_passes (clock) values ('persons'), ('callbacks'), ('images');

alter table vault_keys add column wraps_at timestamptz;
comment on column vault_keys.wraps_at is 'When a process last said that this is the key it wraps with, by verdict_now()';
comment on column vault_keys.retired_at is 'When a rotation had rewrapped everything; null: data may need it. Cleared by who wraps with it again';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261125000020;
