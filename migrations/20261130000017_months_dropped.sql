-- Retention drops a month of results or decisions. The database decides itself whether it may go, so
-- that no role of a process can remove history that is still needed.

do $migration$
begin
    execute format($create$
        create function %1$I.verdict_old_months(parent text, days integer) returns table (name text)
            language sql stable security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
            select m.name from verdict_months($1) m
            where m.upper <= verdict_id_at(verdict_now() - make_interval(days => $2))
            order by m.upper
        $body$;
        create function %1$I.verdict_drop_month(parent text, month text, days integer) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            -- Of a verification that is not erased nothing is dropped. So its decision stays
            -- explainable, and a legal hold, which keeps it from being erased, keeps its months.
            live text := format('select exists (select from %%I r where not exists (
                select from verifications v where v.id = r.verification_id and v.state = ''erased''))', month);
            bounds record;
            needed boolean;
            dropped bigint;
        begin
            if parent not in ('results', 'decisions') or days < 1 then
                raise exception 'months of results and decisions are kept for a day at least'
                    using errcode = 'restrict_violation';
            end if;
            -- One process at a time. While this waits for a long reader, others wait behind it, so it
            -- gives up early.
            perform set_config('lock_timeout', '500ms', true);
            execute format('lock table only %%I in share update exclusive mode', parent);
            select m.lower, m.upper into bounds from verdict_months(parent) m where m.name = month;
            if not found then
                return null;
            end if;
            if not exists (select from verdict_old_months(parent, days) m where m.name = month) then
                raise exception 'a month is dropped when all of it is older than its clock'
                    using errcode = 'restrict_violation';
            end if;
            -- The bodies of events are read from decisions, also that of a later erasure.
            if parent = 'decisions' and ((select elsewhere from event_log) or exists (
                select from events where decision_id < bounds.upper
                    and decision_id >= coalesce(bounds.lower, '00000000-0000-0000-0000-000000000000')))
            then
                return -1;
            end if;
            execute live into needed;
            if needed then
                return -1;
            end if;
            -- And again when nothing can come any more. Only late writers and erasures of this month wait.
            execute format('lock table %%I in share mode', month);
            execute live into needed;
            if needed then
                return -1;
            end if;
            execute format('select count(*) from %%I', month) into dropped;
            insert into audit (at, actor, action, purpose, details)
            values (verdict_now(), 'service', 'retention.drop', 'retention.' || parent || '_days',
                json_build_object('partition', month, 'from', bounds.lower, 'until', bounds.upper,
                    'rows', dropped)::text);
            execute format('drop table %%I', month);
            return dropped;
        end $body$;
    $create$, current_schema());
end $migration$;
comment on function verdict_old_months(text, integer) is 'The partitions that ended at least this many days ago, the oldest first';
comment on function verdict_drop_month(text, text, integer) is 'Drops a month that ended at least this many days ago, and returns how many rows it had: -1 if a verification or an event still needs it, null if it is gone';
revoke all on function verdict_old_months(text, integer), verdict_drop_month(text, text, integer)
    from public;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000017;
