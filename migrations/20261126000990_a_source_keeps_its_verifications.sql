-- A role that may write the source of a verification which has none may not give it to another.

create trigger verifications_source_stays after update of source on verifications
    for each row when (old.source is not null and new.source is distinct from old.source)
    execute function verdict_refuse_to_roles('a verification stays with its source');

-- Functions of migrations since 20261126000100, in the same way.
do $$
declare
    mine record;
begin
    for mine in
        select p.oid::regprocedure as signature, p.prosecdef or p.prorettype = 'trigger'::regtype as closed
        from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.proname like 'verdict\_%'
            and p.prosqlbody is null and p.proname not in ('verdict_current_decision', 'verdict_not_after_erasure')
    loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp',
            mine.signature, current_schema());
        if mine.closed then
            execute format('revoke execute on function %s from public', mine.signature);
        end if;
    end loop;
end $$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000990;
