-- Least privilege in the database: what each kind of process may do, and no more. For the owner of
-- the schema (who runs `verdict migrate`), after each migration; may be run any number of times:
--
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f config/roles.sql
--
-- Then give each kind of process a user of its own, for example
--
--   create role verdict_api_1 login password '…' in role verdict_api;
--   create role verdict_all_1 login password '…' in role verdict_api, verdict_worker;
--
-- | Role | For | May not |
-- |---|---|---|
-- | verdict_ingest | `serve --role api` that only takes callbacks | see keys, answers or material |
-- | verdict_api | `serve --role api` | see raw answers, write results or decisions |
-- | verdict_worker | `serve --role worker` | see material or raw answers once they are written |
-- | verdict_reader | analysts and auditors | see anything sealed, any key or digest of one; write |
--
-- Nobody but the owner edits or deletes results, decisions, policies or the audit, and triggers
-- refuse edits even to the owner, except for the one of `verdict_coarsen_erased`. `keys`, `erase`, `vault` and `migrate` are for the owner.

-- Whole or not at all: those who serve meanwhile are never without their rights.
begin;

do $$
declare
    name text;
begin
    foreach name in array array['verdict_ingest', 'verdict_api', 'verdict_worker', 'verdict_reader']
    loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end $$;

revoke all on all tables in schema public
    from verdict_ingest, verdict_api, verdict_worker, verdict_reader;
grant usage on schema public to verdict_ingest, verdict_api, verdict_worker, verdict_reader;
grant select on _sqlx_migrations, schema_floor to verdict_ingest, verdict_api, verdict_worker;

-- Accepting, and reading what has no person in it.
grant select, insert, update on verifications to verdict_ingest, verdict_api;
grant select, insert on callbacks to verdict_ingest, verdict_api;
grant select on decisions, accounts, api_keys to verdict_ingest, verdict_api;
grant select on vault_keys to verdict_api;
grant select (name, key_id) on named_keys to verdict_api;

-- Showing and forgetting the person, on record.
grant select (id, verification_id, attempt, fetched_at, request_id, http_status, verify_status,
    authority_score, face_score, id_card_face_score, evidence, error_class, error_code, simulated,
    coarsened)
    on results to verdict_api, verdict_worker, verdict_reader;
grant select, delete on material, data_keys to verdict_api;
grant select on images to verdict_api;
-- Giving up what was to be archived, having what is kept deleted: links stay unread.
grant select (id, kind, verification_id, due_at, deadline, asked_again_at, attempts, lease_until),
    insert, delete, update (due_at, deadline) on tasks to verdict_api;
grant update (occurred_at, hint_audit, hint_code, hint_platform, answer_reference, digest, salt,
    message_id) on callbacks
    to verdict_api, verdict_worker;
grant select, insert, update on erasures to verdict_api;
grant execute on function verdict_coarsen_erased(uuid) to verdict_api, verdict_worker;
grant select, insert on audit to verdict_api, verdict_worker;

-- Fetching and deciding. A worker writes material and cannot read it again.
grant select, update on verifications to verdict_worker;
grant select, insert, update on accounts, budgets to verdict_worker;
grant insert on results to verdict_worker;
grant select, insert on decisions, policies, policy_activations to verdict_worker;
grant select, insert, delete on data_keys to verdict_worker;
grant insert, delete, select (result_id, verification_id) on material to verdict_worker;
grant delete, select (verification_id, received_at, source, message_id)
    on callbacks to verdict_worker;
grant select, update on retention_passes to verdict_worker;
grant select, update on erasures to verdict_worker;
grant select, insert, update, delete on tasks to verdict_worker;
grant select, insert, delete on images to verdict_worker;
grant select on audit_head to verdict_worker;
grant select, insert on audit_checkpoints, named_keys to verdict_worker;
grant select, insert, update on vault_keys to verdict_worker;

-- Looking.
grant select on verifications, callbacks, decisions, policies, policy_activations, accounts,
    budgets, erasures, audit, audit_head, audit_checkpoints, vault_keys, retention_passes
    to verdict_reader;

-- Verdicts of persons, and the decisions they make. Analysts see them without notes.
grant select, insert on reviews to verdict_api;
grant execute on function verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz)
    to verdict_api;
grant select (id, verification_id, about, outcome, reason, reviewer, reviewed_at, decision_id)
    on reviews to verdict_reader;

-- Policies over time.
grant select, insert on policies, policy_activations, backtests to verdict_api;
grant select on shadow_decisions to verdict_api, verdict_reader;
grant insert on shadow_decisions to verdict_worker;
grant select, update on backtests to verdict_worker;
grant select on backtests, images to verdict_reader;

commit;
