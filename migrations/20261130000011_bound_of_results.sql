-- The rows that exist so far become the first partition of `results` and of `decisions`. Ids are
-- UUIDv7, so they begin with a time. A constraint states where the first partition ends. It is
-- validated beside the traffic, so that attaching the partition later reads no row.
--
-- The end lies at least two weeks ahead. Until the partitions are there, the database refuses the
-- ids of a clock that is further ahead.

create function verdict_id_at(at timestamptz) returns uuid
    language sql immutable strict parallel safe
begin atomic
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
end;
comment on function verdict_id_at(timestamptz) is 'The smallest UUIDv7 of this time';
revoke execute on function verdict_id_at(timestamptz) from public;

do $do$
declare
    bound uuid := verdict_id_at(date_trunc('month', (now() + interval '45 days') at time zone 'utc')
        at time zone 'utc');
begin
    -- Rows of a wrong clock, or with ids of another kind, are moved to the default partition later.
    -- The first partition is then read while it is attached.
    if not exists (select from results where id >= bound) then
        execute format('alter table results add constraint results_before_bound check (id < %L) not valid',
            bound);
    end if;
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000011;
