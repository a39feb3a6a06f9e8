-- Triggers look for a row of the audit that their own transaction has added. Such a row is in the open
-- segment: the transaction holds the end of the chain, so no segment opens meanwhile. They looked
-- into every segment: with 36 of them that took 0.8 ms, and takes 0.1 ms now.

do $do$
begin
    execute format($create$
        create or replace function %1$I.verdict_verification_goes_on() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            open_segment integer;
        begin
            if old.state = 'erased' then
                if new.state <> 'erased' or old.closed and not new.closed
                    or new.due_at is not null and new.due_at is distinct from old.due_at
                    or new.lease_token is not null and new.lease_token is distinct from old.lease_token
                    or new.reference is not null and new.reference is distinct from old.reference
                    or new.trace_parent is not null and new.trace_parent is distinct from old.trace_parent
                    or new.result_id is distinct from old.result_id
                    or new.decision_id is distinct from old.decision_id
                then
                    raise exception 'an erased verification stays erased' using errcode = 'restrict_violation';
                end if;
                return null;
            end if;
            if new.state = 'erased' then
                if exists (select from erasures where verification_id = new.id) then
                    return null;
                end if;
            elsif old.closed and not new.closed then
                open_segment := verdict_audit_segment();
                if exists (select from audit where segment = open_segment and subject = new.id
                    and xmin = pg_current_xact_id()::xid)
                then
                    return null;
                end if;
            elsif new.state = old.state and (new.due_at > old.due_at and new.due_at <= verdict_now()) then
                return null;
            end if;
            if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
                return null;
            end if;
            raise exception 'a verification is settled by work under a lease or a decision, and erased or reopened on record'
                using errcode = 'restrict_violation';
        end $body$;
        create or replace function %1$I.verdict_erasure_is_recorded() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            open_segment integer;
        begin
            open_segment := verdict_audit_segment();
            if not exists (
                    select from verifications where id = new.verification_id and state = 'erased')
                or not exists (
                    select from audit where segment = open_segment and subject = new.verification_id
                        and action = 'verification.erase' and xmin = pg_current_xact_id()::xid)
            then
                if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
                    raise exception 'an erasure is on record, and its verification says erased'
                        using errcode = 'restrict_violation';
                end if;
            end if;
            return null;
        end $body$;
        create or replace function %1$I.verdict_review_is_recorded() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            open_segment integer;
        begin
            open_segment := verdict_audit_segment();
            if not exists (
                    select from audit where segment = open_segment and subject = new.verification_id
                        and action = 'verification.review' and xmin = pg_current_xact_id()::xid)
                or not exists (
                    select from decisions where id = new.about and verification_id = new.verification_id)
            then
                if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
                    raise exception 'a review is on record, and about a decision of its verification'
                        using errcode = 'restrict_violation';
                end if;
            end if;
            return null;
        end $body$;
        create or replace function %1$I.verdict_activation_is_recorded() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            open_segment integer;
        begin
            if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
                return null;
            end if;
            if not has_column_privilege(current_user, tg_relid, 'biz_type', 'insert')
                and exists (select from policy_activations where id <> new.id)
            then
                raise exception 'this role adds the first activation only' using errcode = 'restrict_violation';
            end if;
            -- A transaction that has added a row to the audit locks its head, so that row is the newest.
            open_segment := verdict_audit_segment();
            if (select xmin = pg_current_xact_id()::xid and action like 'policy.%%' from audit
                where segment = open_segment order by position desc limit 1) is not true
            then
                raise exception 'a policy is activated on record only' using errcode = 'restrict_violation';
            end if;
            return null;
        end $body$;
        create or replace function %1$I.verdict_person_has_reviewed() returns trigger
            language plpgsql set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            owner oid := (select relowner from pg_class where oid = tg_relid);
            open_segment integer := verdict_audit_segment();
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
                    select from audit where segment = open_segment and subject = new.verification_id
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
        end $body$;
    $create$, current_schema());
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261202000104;
