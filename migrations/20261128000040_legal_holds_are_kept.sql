-- A legal hold binds every version of the service and every role: what is held is neither erased nor
-- deleted by retention, whoever tries.
--
-- The rows are left as they are, without an error: so the retention of a version that knows nothing of
-- holds goes on with the others. A hold is placed while its verification is locked, and an erasure
-- updates that row; so one of the two sees the other.

do $do$
begin
    execute format($create$
        create function %1$I.verdict_keep_held() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            whose uuid;
        begin
            if tg_op = 'UPDATE' then
                whose := old.id;
            else
                whose := old.verification_id;
            end if;
            if exists (select from legal_holds where verification_id = whose and lifted_at is null) then
                return null;
            end if;
            if tg_op = 'UPDATE' then
                return new;
            end if;
            return old;
        end $body$;
    $create$, current_schema());
end $do$;
comment on function verdict_keep_held() is 'Leaves the rows of a verification under a legal hold as they are';
revoke all on function verdict_keep_held() from public;

create trigger verifications_held before update of state on verifications
    for each row when (new.state = 'erased' and old.state <> 'erased')
    execute function verdict_keep_held();
create trigger callbacks_held before delete on callbacks
    for each row execute function verdict_keep_held();
create trigger images_held before delete on images
    for each row execute function verdict_keep_held();
create trigger material_held before delete on material
    for each row execute function verdict_keep_held();
create trigger data_keys_held before delete on data_keys
    for each row execute function verdict_keep_held();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261128000040;
