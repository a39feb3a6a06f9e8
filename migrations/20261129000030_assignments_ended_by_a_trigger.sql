-- A trigger that ends an assignment marks it, and one worker counts it for the metrics: no process
-- sees the trigger's change.

alter table assignments add column uncounted boolean not null default false;
comment on column assignments.uncounted is 'A trigger ended it, and no worker has counted that yet';

do $do$
begin
    execute format($create$
        create or replace function %1$I.verdict_close_case() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            update cases set closed_at = new.updated_at
            where verification_id = new.id and closed_at is null
                and (decision_id <> new.decision_id or new.state = 'erased');
            update assignments set ended_at = %1$I.verdict_now(), ended_as = 'decision-changed',
                uncounted = true
            where verification_id = new.id and ended_at is null and outcome is null
                and kind = 'review' and decision_id <> new.decision_id and new.state <> 'erased';
            if new.state = 'erased' then
                update assignments
                set note = null, ended_at = coalesce(ended_at, %1$I.verdict_now()),
                    ended_as = coalesce(ended_as, 'erased'),
                    uncounted = uncounted or ended_at is null
                where verification_id = new.id and (ended_at is null or note is not null);
            end if;
            return null;
        end $body$;
    $create$, current_schema());
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261129000030;
