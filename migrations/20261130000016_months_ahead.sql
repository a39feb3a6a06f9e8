-- A partition for each month, made ahead. Workers make them, and `verdict migrate`.

do $migration$
begin
    execute format($create$
        create function %1$I.verdict_months(parent text)
            returns table (name text, lower uuid, upper uuid)
            language sql stable set search_path = pg_catalog, %1$I, pg_temp as $body$
            -- Of the first partition, and of one that ends nowhere, the missing bound is null.
            select c.relname::text, (bound.s)[1]::uuid, (bound.s)[2]::uuid
            from pg_inherits i join pg_class c on c.oid = i.inhrelid
            cross join lateral (select regexp_match(pg_get_expr(c.relpartbound, c.oid),
                $$^FOR VALUES FROM \((?:MINVALUE|'([^']*)')\) TO \((?:MAXVALUE|'([^']*)')\)$$) as s) bound
            where i.inhparent = to_regclass(parent) and bound.s is not null
        $body$;
        create function %1$I.verdict_make_months(parent text, ahead integer) returns integer
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            month timestamp;
            lower uuid;
            upper uuid;
            name text;
            late boolean;
        begin
            if parent not in ('results', 'decisions') or ahead not between 0 and 12 then
                raise exception 'no table by month: %%', parent using errcode = 'invalid_parameter_value';
            end if;
            for step in 0 .. ahead loop
                month := date_trunc('month', verdict_now() at time zone 'utc') + make_interval(months => step);
                lower := verdict_id_at(month at time zone 'utc');
                upper := verdict_id_at((month + interval '1 month') at time zone 'utc');
                name := parent || to_char(month, '_YYYY_MM');
                -- Asked without a lock first: nearly always the month is there.
                if not verdict_month_is_there(parent, lower, upper) then
                    -- One process at a time. Readers and writers of the partitioned table go on.
                    perform set_config('lock_timeout', '4s', true);
                    execute format('lock table only %%I in share update exclusive mode', parent);
                    -- Others wait while rows of the default partition move, so very many rows stay there.
                    execute format('select count(*) > 10000 from (select from %%I where id >= %%L and id < %%L '
                        'limit 10001) late', parent || '_default', lower, upper) into late;
                    if not late and not verdict_month_is_there(parent, lower, upper) then
                        execute format('create table %1$I.%%I (like %%I including defaults including comments '
                            'including constraints including storage including compression)', name, parent);
                        execute format('comment on table %%I is %%L', name,
                            'The rows of ' || parent || ' of one month, UTC');
                        -- Rows of a clock that was ahead. Others wait from here on, some milliseconds. While
                        -- this waits for a long reader, they wait behind it, so it gives up early.
                        perform set_config('lock_timeout', '500ms', true);
                        execute format('lock table %%I in access exclusive mode', parent || '_default');
                        execute format('with moved as (delete from %%I where id >= %%L and id < %%L returning *) '
                            'insert into %%I select * from moved', parent || '_default', lower, upper, name);
                        execute format('alter table %%I attach partition %%I for values from (%%L) to (%%L)',
                            parent, name, lower, upper);
                        -- The next one in another transaction, so that nobody waits for several.
                        return 1;
                    end if;
                end if;
            end loop;
            return 0;
        end $body$;
        create function %1$I.verdict_rows_of_no_month(parent text, most integer) returns bigint
            language plpgsql stable security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            found bigint;
        begin
            if parent not in ('results', 'decisions') then
                raise exception 'no table by month: %%', parent using errcode = 'invalid_parameter_value';
            end if;
            execute format('select count(*) from (select from %%I limit $1) late', parent || '_default')
                into found using most;
            return found;
        end $body$;
        create function %1$I.verdict_month_is_there(parent text, lower uuid, upper uuid) returns boolean
            language sql stable set search_path = pg_catalog, %1$I, pg_temp as $body$
            select exists (select from verdict_months($1) m
                where coalesce(m.lower < $3, true) and coalesce(m.upper > $2, true))
        $body$;
    $create$, current_schema());
end $migration$;
comment on function verdict_months(text) is 'The partitions of a table by month, and the ids that each has';
comment on function verdict_month_is_there(text, uuid, uuid) is 'Whether a partition has these ids';
comment on function verdict_rows_of_no_month(text, integer) is 'How many rows are in the default partition, at most so many';
comment on function verdict_make_months(text, integer) is 'Makes the first missing partition of this month and of this many months after it; returns 1, or 0 where none is missing';
revoke all on function verdict_months(text), verdict_rows_of_no_month(text, integer), verdict_month_is_there(text, uuid, uuid),
    verdict_make_months(text, integer) from public;

do $do$
begin
    while verdict_make_months('results', 2) + verdict_make_months('decisions', 2) > 0 loop
    end loop;
end $do$;
-- Nothing else counts the rows of a partitioned table for the planner.
analyze results, decisions;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000016;
