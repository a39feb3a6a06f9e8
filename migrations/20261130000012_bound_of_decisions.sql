-- As 20261130000011 does for results. Apart from it, so that no reader of both waits in a circle.

do $do$
declare
    bound uuid := verdict_id_at(date_trunc('month', (now() + interval '45 days') at time zone 'utc')
        at time zone 'utc');
begin
    if not exists (select from decisions where id >= bound) then
        execute format('alter table decisions add constraint decisions_before_bound check (id < %L) not valid',
            bound);
    end if;
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000012;
