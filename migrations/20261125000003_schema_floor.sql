-- Up to which older binaries this schema serves, so that one which meets a newer schema can tell
-- whether it may go on. Every later migration says so anew (docs/upgrades.md).

create table schema_floor (
    whole         boolean primary key default true check (whole),
    oldest_served bigint  not null,
    said_by       bigint  not null,
    check (oldest_served <= said_by)
);
comment on table schema_floor is 'The oldest binaries that this schema still serves: one row, written by migrations';
comment on column schema_floor.whole is 'There is one row';
comment on column schema_floor.oldest_served is 'A binary whose newest migration is this one or a later one may use the schema';
comment on column schema_floor.said_by is 'The migration that said so: the newest one that does more than build an index';
insert into schema_floor (oldest_served, said_by) values (20261124000003, 20261125000003);
