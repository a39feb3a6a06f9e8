-- A running backtest may be cancelled. Its work is deleted with the change of state, so a worker that
-- holds it, an old one too, writes nothing more.

alter table backtests drop constraint backtests_state_check;
alter table backtests add constraint backtests_state_check
    check (state in ('running', 'done', 'failed', 'cancelled')) not valid;
alter table backtests validate constraint backtests_state_check;
comment on column backtests.state is 'running, done, failed, cancelled';

-- The API deletes the work of a backtest, which is about nobody; all other work still goes with an
-- erasure alone.
do $do$
begin
    execute format($create$
        create or replace function %1$I.verdict_only_by_erasure() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            whose uuid := case tg_op when 'DELETE' then old.verification_id else new.verification_id end;
        begin
            if exists (select from erasures where verification_id = whose)
                or pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage')
            then
                return null;
            end if;
            if tg_argv[0] = 'worked off' then
                if has_column_privilege(current_user, tg_relid, 'lease_token', 'update')
                    or (tg_op = 'DELETE' and old.kind = 'backtest')
                then
                    return null;
                end if;
            end if;
            raise exception 'only an erasure does this to %%', tg_table_name using errcode = 'restrict_violation';
        end $body$
    $create$, current_schema());
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later. Their API passes the new state on;
-- until the last of them is gone, their pages call a cancelled backtest running.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000040;
