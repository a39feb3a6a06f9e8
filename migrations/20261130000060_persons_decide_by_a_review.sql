-- Since Postgres 18 a deferred trigger runs with the rights under which its statement ran, here those of
-- `verdict_person_decides`: the owner's, whom the check spares. So it asks for the session's user too.

do $do$
begin
    execute format($create$
        create or replace function %1$I.verdict_person_has_reviewed() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            owner oid := (select relowner from pg_class where oid = tg_relid);
        begin
            if not exists (
                select from reviews r
                cross join lateral (
                    select verification_id, result_id, policy_digest, position
                    from decisions where id = r.about limit 1) before
                where r.verification_id = new.verification_id and r.outcome = new.outcome
                    and before.verification_id = new.verification_id
                    and before.result_id = new.result_id and before.policy_digest = new.policy_digest
                    and not exists (
                        select from decisions between_them
                        where between_them.verification_id = new.verification_id
                            and between_them.position > before.position
                            and between_them.position < new.position)
                    and (r.decision_id = new.id or r.decision_id is null and exists (
                        select from reviews other
                        where other.verification_id = r.verification_id and other.about = r.about
                            and other.outcome = r.outcome and other.decision_id is null
                            and other.reviewer <> r.reviewer)))
                or not exists (
                    select from audit where subject = new.verification_id
                        and action = 'verification.review' and xmin = pg_current_xact_id()::xid)
            then
                if not pg_has_role(current_user, owner, 'usage')
                    or not pg_has_role(session_user, owner, 'member')
                then
                    raise exception 'a person decides by a review of the current decision'
                        using errcode = 'restrict_violation';
                end if;
            end if;
            return null;
        end $body$
    $create$, current_schema());
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000060;
