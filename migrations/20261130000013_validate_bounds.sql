-- Reads the rows beside the traffic. A partitioned table has no constraint that its partitions have
-- not validated, so `results_kind` is validated, too.

do $do$
declare
    bound record;
begin
    for bound in
        select conrelid::regclass as of, conname as name from pg_constraint
        where conrelid in ('results'::regclass, 'decisions'::regclass) and contype = 'c'
            and not convalidated
    loop
        execute format('alter table %s validate constraint %I', bound.of, bound.name);
    end loop;
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000013;
