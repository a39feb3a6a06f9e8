-- Each completion asks for the newest decision of its verification. Without a bound that opens every
-- month. Decisions are younger than their verification, so the months before it are left out; a day
-- is for clocks that differ.

do $do$
begin
    execute format($create$
        create or replace function verdict_current_decision() returns trigger language plpgsql as $body$
        declare
            newest pg_catalog.uuid;
            decided_by pg_catalog.text;
            since pg_catalog.uuid := (pg_catalog.lpad(pg_catalog.to_hex(
                (extract(epoch from new.created_at) operator(pg_catalog.*) 1000)::pg_catalog.int8
                operator(pg_catalog.-) 86400000), 12, '0')
                operator(pg_catalog.||) '00000000000000000000')::pg_catalog.uuid;
        begin
            select d.id, d.decided_by into newest, decided_by from %1$I.decisions d
                where d.verification_id operator(pg_catalog.=) new.id
                    and d.id operator(pg_catalog.>=) since
                order by d.position desc limit 1;
            if newest is null or newest operator(pg_catalog.<>) new.decision_id then
                -- A clock was behind by more than that, or the change is to be refused.
                select d.id, d.decided_by into newest, decided_by from %1$I.decisions d
                    where d.verification_id operator(pg_catalog.=) new.id
                    order by d.position desc limit 1;
            end if;
            -- Only a person decides about a closed verification, unless it is reopened.
            if new.decision_id operator(pg_catalog.=) newest
                and (not old.closed or not new.closed
                    or decided_by operator(pg_catalog.=) 'person')
            then
                return null;
            end if;
            if pg_catalog.pg_has_role(current_user, (
                select relowner from pg_catalog.pg_class
                where oid operator(pg_catalog.=) tg_relid), 'usage')
            then
                return null;
            end if;
            raise exception 'the current decision is the newest of the same verification, and a person''s where it is closed'
                using errcode = 'restrict_violation';
        end $body$ $create$, current_schema());
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000018;
