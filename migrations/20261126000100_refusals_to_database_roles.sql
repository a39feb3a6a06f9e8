-- The database refuses changes that no role may make. Functions with definer's rights no longer find
-- objects that a caller has planted under our names.
--
-- Checks are triggers after the row or statement, so they see what the whole statement wrote,
-- whatever the order of its parts. A claim, a renewal and a new callback cause none of them. What
-- they cost a completion was measured: ARCHITECTURE.md. Where a check spares the owner of the table,
-- that is for repairs.

-- All locks at the beginning, in the order in which the statements of the service take theirs: so the
-- two cannot deadlock.
lock table verifications, erasures, data_keys, vault_keys, material, callbacks, tasks, reviews,
    policy_activations in share row exclusive mode;
lock table audit in access exclusive mode;
lock table decisions in share row exclusive mode;

create function verdict_refuse_to_roles() returns trigger language plpgsql as $$
begin
    if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
        return null;
    end if;
    raise exception '%', tg_argv[0] using errcode = 'restrict_violation';
end $$;
comment on function verdict_refuse_to_roles() is 'Refuses a change to everybody but the owner of the table; the argument says why';

-- The current decision is the newest of this very verification. A foreign key would need another
-- index on `decisions`, and would allow any older one. This runs for each decision, and a fixed
-- search path would cost a third of it; so everything is named with its schema instead, operators
-- included.
do $do$
begin
    execute format($create$
        create function verdict_current_decision() returns trigger language plpgsql as $body$
        declare
            newest pg_catalog.uuid;
            decided_by pg_catalog.text;
        begin
            select d.id, d.decided_by into newest, decided_by from %1$I.decisions d
                where d.verification_id operator(pg_catalog.=) new.id
                order by d.position desc limit 1;
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
comment on function verdict_current_decision() is 'Refuses a current decision that is not the newest of its verification';
create trigger verifications_current_decision after update of decision_id on verifications
    for each row when (new.decision_id is distinct from old.decision_id)
    execute function verdict_current_decision();

-- Other changes of a verification:
-- An erased one stays erased, whoever asks. It becomes erased together with its receipt.
-- A closed one is reopened on record: a row of the audit about it, of the same transaction.
-- Only the end of a lease, a decision and an erasure settle one or put its work off.
create function verdict_verification_goes_on() returns trigger language plpgsql as $$
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
        if exists (select from audit where subject = new.id and xmin = pg_current_xact_id()::xid) then
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
end $$;
comment on function verdict_verification_goes_on() is 'Refuses to bring an erased verification back, and to settle, erase or reopen one past the record';
-- The lease is not among the columns: a claim and a renewal write nothing else.
create trigger verifications_go_on
    after update of state, closed, due_at, reference, trace_parent, result_id, decision_id
    on verifications
    for each row when (old.state = 'erased' or new.state = 'erased' or old.closed and not new.closed
        or new.decision_id is not distinct from old.decision_id
            and (old.closed and new.state <> old.state
                or (old.lease_token is null or new.lease_token is not null)
                    and (new.state <> old.state and new.state not in ('pending', 'unfinished')
                        or old.due_at is not null and new.due_at is null
                        or new.due_at > old.due_at)))
    execute function verdict_verification_goes_on();

create function verdict_erasure_is_recorded() returns trigger language plpgsql as $$
begin
    if not exists (
            select from verifications where id = new.verification_id and state = 'erased')
        or not exists (
            select from audit where subject = new.verification_id
                and action = 'verification.erase' and xmin = pg_current_xact_id()::xid)
    then
        if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            raise exception 'an erasure is on record, and its verification says erased'
                using errcode = 'restrict_violation';
        end if;
    end if;
    return null;
end $$;
comment on function verdict_erasure_is_recorded() is 'Refuses a receipt without a row of the audit in the same transaction';
create trigger erasures_on_record after insert on erasures
    for each row execute function verdict_erasure_is_recorded();

-- A receipt says only what is so.
create function verdict_receipt_is_true() returns trigger language plpgsql as $$
begin
    if new.unreadable_at is not null and (
            exists (select from data_keys where verification_id = new.verification_id)
            or exists (select from material where verification_id = new.verification_id))
        or new.completed_at is not null
            and exists (select from images where verification_id = new.verification_id)
    then
        raise exception 'a receipt cannot say that something is gone that is still there'
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
comment on function verdict_receipt_is_true() is 'Refuses a receipt for keys, material or images that are still there';
create trigger erasures_true after update of unreadable_at, completed_at on erasures
    for each row when (new.unreadable_at is distinct from old.unreadable_at
        or new.completed_at is distinct from old.completed_at)
    execute function verdict_receipt_is_true();

-- Nothing that shows a person is added once an erasure has begun. A completion has updated the
-- verification in the same transaction, so it holds the row and no erasure can begin; whoever has not
-- waits for the row here.
-- Runs twice for each batch of completions, so schemas are named here as well.
do $do$
begin
    execute format($create$
        create function verdict_not_after_erasure() returns trigger language plpgsql as $body$
        declare
            one pg_catalog.uuid;
        begin
            if not exists (
                select from added a cross join lateral (
                    select state, xmin as written_by from %1$I.verifications
                    where id operator(pg_catalog.=) a.verification_id limit 1) v
                where v.state operator(pg_catalog.=) 'erased'
                    or v.written_by operator(pg_catalog.<>) pg_catalog.pg_current_xact_id()::pg_catalog.xid)
            then
                return null;
            end if;
            for one in select verification_id from added loop
                if (select state operator(pg_catalog.=) 'erased' from %1$I.verifications
                        where id operator(pg_catalog.=) one for share)
                    or exists (select from %1$I.erasures
                        where verification_id operator(pg_catalog.=) one)
                then
                    raise exception 'nothing is added about a person who was erased'
                        using errcode = 'restrict_violation';
                end if;
            end loop;
            return null;
        end $body$ $create$, current_schema());
end $do$;
comment on function verdict_not_after_erasure() is 'Refuses keys, material and notes about a person who was erased';
create trigger data_keys_not_after_erasure after insert on data_keys
    referencing new table as added
    for each statement execute function verdict_not_after_erasure();
create trigger material_not_after_erasure after insert on material
    referencing new table as added
    for each statement execute function verdict_not_after_erasure();
create trigger reviews_not_after_erasure after insert on reviews
    referencing new table as added
    for each statement execute function verdict_not_after_erasure();

-- Keys, material and all images go with an erasure and in no other way; so does follow-up work, but
-- for whoever does it.
create function verdict_only_by_erasure() returns trigger language plpgsql as $$
declare
    whose uuid := case tg_op when 'DELETE' then old.verification_id else new.verification_id end;
begin
    if exists (select from erasures where verification_id = whose)
        or pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage')
    then
        return null;
    end if;
    if tg_argv[0] = 'worked off' then
        if has_column_privilege(current_user, tg_relid, 'lease_token', 'update') then
            return null;
        end if;
    end if;
    raise exception 'only an erasure does this to %', tg_table_name using errcode = 'restrict_violation';
end $$;
comment on function verdict_only_by_erasure() is 'Refuses to destroy what belongs to a person without an erasure; the argument "worked off" spares who may take leases';
create trigger data_keys_destroyed after delete on data_keys
    for each row execute function verdict_only_by_erasure();
create trigger material_destroyed after delete on material
    for each row execute function verdict_only_by_erasure();
create trigger tasks_delete_images after insert on tasks
    for each row when (new.kind = 'delete-images') execute function verdict_only_by_erasure();
create trigger tasks_given_up after delete or update of due_at, deadline on tasks
    for each row execute function verdict_only_by_erasure('worked off');

-- A callback is what it was, or redacted by an erasure.
create function verdict_callback_is_redacted() returns trigger language plpgsql as $$
begin
    if not exists (select from erasures where verification_id = new.verification_id)
        or new.occurred_at is not null or new.hint_audit is not null or new.hint_code is not null
        or new.hint_platform is not null or new.answer_reference is not null
    then
        if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            raise exception 'callbacks are changed by an erasure only'
                using errcode = 'restrict_violation';
        end if;
    end if;
    return null;
end $$;
comment on function verdict_callback_is_redacted() is 'Refuses changes of callbacks but for erasing them';
create trigger callbacks_redacted after update on callbacks
    for each row execute function verdict_callback_is_redacted();

-- The shortest time of retention is a day; nothing that is younger goes.
create trigger callbacks_kept_for_a_day after delete on callbacks
    for each row when (old.received_at > statement_timestamp() - interval '23 hours')
    execute function verdict_refuse_to_roles('callbacks are kept for a day at least');

-- A person's decision has its review, of the current decision, and is on record. At the end of the
-- transaction: the decision is written before its review. Under four eyes either the review names
-- the decision, or two reviewers said the same about the decision before it.
create function verdict_person_has_reviewed() returns trigger language plpgsql as $$
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
        if not pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
            raise exception 'a person decides by a review of the current decision'
                using errcode = 'restrict_violation';
        end if;
    end if;
    return null;
end $$;
comment on function verdict_person_has_reviewed() is 'Refuses a decision by a person that has no review, or none on record';
create constraint trigger decisions_person_has_reviewed after insert on decisions
    deferrable initially deferred
    for each row when (new.decided_by = 'person')
    execute function verdict_person_has_reviewed();

create function verdict_review_is_recorded() returns trigger language plpgsql as $$
begin
    if not exists (
            select from audit where subject = new.verification_id
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
end $$;
comment on function verdict_review_is_recorded() is 'Refuses a review without a row of the audit in the same transaction';
create trigger reviews_on_record after insert on reviews
    for each row execute function verdict_review_is_recorded();

-- A role that may not name a scene may only seed: it adds the first activation there is. Every
-- other one is on record.
create function verdict_activation_is_recorded() returns trigger language plpgsql as $$
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
    if (select xmin = pg_current_xact_id()::xid and action like 'policy.%' from audit
        order by position desc limit 1) is not true
    then
        raise exception 'a policy is activated on record only' using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
comment on function verdict_activation_is_recorded() is 'Refuses activations that are not on record, and all but the first one to roles that only seed';
create trigger policy_activations_on_record after insert on policy_activations
    for each row execute function verdict_activation_is_recorded();

-- Whether a key is needed is judged by the owner's command.
create trigger vault_keys_retired after update of retired_at on vault_keys
    for each row when (new.retired_at is not null and new.retired_at is distinct from old.retired_at)
    execute function verdict_refuse_to_roles('keys are retired by the owner only');

-- Activations follow one another under a row that readers cannot lock: for that one must be allowed
-- to update it. Anybody could hold the advisory lock that was here before.
create table policy_lock (
    whole boolean primary key default true check (whole)
);
comment on table policy_lock is 'Locked by whoever changes what decides, or decides many again: one row';
comment on column policy_lock.whole is 'There is one row';
insert into policy_lock default values;

create or replace function verdict_activations() returns setof policy_activations
    language plpgsql volatile security definer as $$
begin
    -- Ids are given while this is held, to the end of the transaction. A statement that waited for
    -- it would still see the table as it was when it began; this function looks anew.
    perform from policy_lock for update;
    return query select * from policy_activations;
end $$;

create or replace function verdict_newest_activation() returns bigint
    language plpgsql volatile security definer as $$
begin
    -- Shared: many may decide by what is in use, and none of it changes until they have committed.
    perform from policy_lock for share;
    return (select coalesce(max(id), 0) from policy_activations);
end $$;

-- The audit takes the time from the database's clock and the user from the connection.
alter table audit add column database_user text;
comment on column audit.database_user is 'The database user who added the row, by Postgres itself; null: from before there was this column';
comment on column audit.at is 'When, by verdict_now(); in rows without database_user, by the clock of the replica that did it';
comment on column audit.digest is 'SHA-256 over all other columns, each as a netstring; database_user only where it is not null';

create or replace function verdict_audit_digest(link audit) returns bytea language sql stable
    return sha256(convert_to(
        verdict_netstring(link.position::text)
        || verdict_netstring((extract(epoch from link.at) * 1000000)::bigint::text)
        || verdict_netstring(link.actor) || verdict_netstring(link.action)
        || verdict_netstring(link.subject::text) || verdict_netstring(link.purpose)
        || verdict_netstring(link.details) || verdict_netstring(encode(link.previous, 'hex'))
        || case when link.database_user is null then '' else verdict_netstring(link.database_user) end,
        'UTF8'));

create or replace function verdict_audit_link() returns trigger language plpgsql
    security definer as $$
declare
    head audit_head;
begin
    -- Hung on another table it would give out places in the chain.
    if tg_relid <> 'audit'::regclass then
        raise exception 'this is for the audit' using errcode = 'restrict_violation';
    end if;
    update audit_head set position = position + 1 returning * into head;
    new.position := head.position;
    new.at := verdict_now();
    new.database_user := session_user;
    new.previous := head.digest;
    new.digest := verdict_audit_digest(new);
    update audit_head set digest = new.digest;
    return new;
end $$;

-- Every function of ours finds its own tables and the built-in operators, whatever the caller's
-- search path says and whatever temporary tables there are. `verdict_now` and the two of the audit
-- were bound when they were made and would not be inlined; the two functions left out name schemas.
do $$
declare
    mine record;
    role record;
begin
    for mine in
        select p.oid::regprocedure as signature from pg_proc p join pg_language l on l.oid = p.prolang
        where p.pronamespace = current_schema()::regnamespace and p.proname like 'verdict\_%'
            and p.prosqlbody is null and p.proname not in ('verdict_current_decision', 'verdict_not_after_erasure')
    loop
        execute format('alter function %s set search_path = pg_catalog, %I, pg_temp',
            mine.signature, current_schema());
    end loop;
    -- PUBLIC could call these two functions. Roles that need them keep the right: the version before
    -- serves meanwhile.
    for role in
        select distinct a.grantee::regrole as name, c.relname = 'decisions' as decides
        from pg_class c, aclexplode(c.relacl) a
        where c.oid in ('policy_activations'::regclass, 'decisions'::regclass)
            and a.privilege_type = 'INSERT' and a.grantee <> 0
    loop
        execute format('grant execute on function %s to %s',
            case when role.decides then 'verdict_newest_activation()' else 'verdict_activations()' end,
            role.name);
    end loop;
    -- A trigger's function needs no right to run when the trigger fires. The right is to make
    -- triggers of it, and nobody else makes any.
    for mine in
        select p.oid::regprocedure as signature from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.proname like 'verdict\_%'
            and (p.prosecdef or p.prorettype = 'trigger'::regtype)
    loop
        execute format('revoke execute on function %s from public', mine.signature);
    end loop;
end $$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000100;
