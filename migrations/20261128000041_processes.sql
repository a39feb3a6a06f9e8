-- Which processes serve this database.

create table processes (
    id          uuid        primary key,
    role        text        not null,
    version     text        not null,
    revision    text        not null,
    host        text        not null,
    started_at  timestamptz not null,
    seen_at     timestamptz not null
);
comment on table processes is 'Processes that serve this database, or did within the last day';
comment on column processes.id is 'UUIDv7, made at its start';
comment on column processes.role is 'As in `verdict serve --role`';
comment on column processes.version is 'Its version';
comment on column processes.revision is 'The commit that it was built from';
comment on column processes.host is 'The name of its machine or container';
comment on column processes.started_at is 'When it began to serve, by verdict_now()';
comment on column processes.seen_at is 'When it last said that it serves, by verdict_now(): every 15 s';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000041;
