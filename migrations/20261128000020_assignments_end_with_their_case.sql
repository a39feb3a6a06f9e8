-- An assignment ends with its case: the reviewer learns it when the page is renewed, not at the
-- verdict. A verdict that was given is left to the worker, which may be closing the case by it. An
-- erasure ends all, and takes the notes away.

do $do$
begin
    execute format($create$
        create or replace function %1$I.verdict_close_case() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            update cases set closed_at = new.updated_at
            where verification_id = new.id and closed_at is null
                and (decision_id <> new.decision_id or new.state = 'erased');
            update assignments set ended_at = %1$I.verdict_now(), ended_as = 'decision-changed'
            where verification_id = new.id and ended_at is null and outcome is null
                and kind = 'review' and decision_id <> new.decision_id and new.state <> 'erased';
            if new.state = 'erased' then
                update assignments
                set note = null, ended_at = coalesce(ended_at, %1$I.verdict_now()),
                    ended_as = coalesce(ended_as, 'erased')
                where verification_id = new.id and (ended_at is null or note is not null);
            end if;
            return null;
        end $body$;
    $create$, current_schema());
end $do$;
comment on function verdict_close_case() is 'Closes the cases of a verification whose decision was replaced or that was erased, and ends their assignments';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000020;
