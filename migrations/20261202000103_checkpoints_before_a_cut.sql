-- A signed cut accounts for all rows up to it, so the checkpoints before the newest cut confirm nothing
-- that it does not. They may be deleted; all others stay.

create function verdict_checkpoint_is_kept() returns trigger language plpgsql as $$
begin
    if exists (select from audit_cuts where position > old.position) then
        return old;
    end if;
    raise exception 'rows of % are never edited', tg_table_name using errcode = 'restrict_violation';
end $$;
comment on function verdict_checkpoint_is_kept() is 'Refuses to delete a checkpoint that no cut stands for';
drop trigger audit_checkpoints_append_only on audit_checkpoints;
create trigger audit_checkpoints_append_only before update on audit_checkpoints
    for each row execute function verdict_append_only();
create trigger audit_checkpoints_kept before delete on audit_checkpoints
    for each row execute function verdict_checkpoint_is_kept();

do $migration$
declare
    worker text;
begin
    execute format('alter function verdict_checkpoint_is_kept() set search_path = pg_catalog, %I, pg_temp',
        current_schema());
    execute format($create$
        create function %1$I.verdict_drop_checkpoints(most integer) returns bigint
            language sql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
            with dropped as (
                delete from audit_checkpoints where position = any (array(
                    select position from audit_checkpoints
                    where position < (select max(position) from audit_cuts)
                    order by position limit most))
                returning position
            )
            select count(*) from dropped
        $body$;
    $create$, current_schema());
    revoke all on function verdict_drop_checkpoints(integer), verdict_checkpoint_is_kept() from public;
    -- The roles that may cut the audit.
    for worker in
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_proc p, aclexplode(p.proacl) a
        where p.oid = 'verdict_cut_audit(integer, integer, bigint, bytea, timestamptz, bytea, bytea)'::regprocedure
            and a.grantee <> p.proowner
    loop
        execute format('grant execute on function verdict_drop_checkpoints(integer) to %s', worker);
    end loop;
end $migration$;
comment on function verdict_drop_checkpoints(integer) is 'Deletes checkpoints that stand before the newest cut, at most so many, and returns how many';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261202000103;
