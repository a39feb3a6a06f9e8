-- Least privilege in the database: what each kind of process may do, and no more. For the owner of
-- the schema (who runs `verdict migrate`), after each migration; may be run any number of times:
--
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f config/roles.sql
--
-- Then create a user for each kind of process, for example
--
--   create role verdict_api_1 login password '…' in role verdict_api;
--   create role verdict_all_1 login password '…' in role verdict_api, verdict_worker, verdict_console;
--
-- and run this file again: it gives the users their time limits.
--
-- | Role | For | May not |
-- |---|---|---|
-- | verdict_ingest | `serve --role api` that only takes callbacks | see keys, answers or material |
-- | verdict_api | `serve --role api` | see raw answers, write results or decisions |
-- | verdict_worker | `serve --role worker` | see material or raw answers once they are written |
-- | verdict_console | `serve --role console`: what verdict_api may do, and people | see raw answers, write results |
-- | verdict_reader | analysts and auditors | see anything sealed, any key, any digest of a person's data; write |
--
-- Rights to write are given by column, as the statements of each process need them. Invariants that
-- a column cannot express are kept by triggers (migrations/20261126000100_refusals_to_database_roles.sql):
-- an erased verification stays erased, the current decision is the newest of its own verification,
-- a person decides by a review, keys and material go and stay away with an erasure.
--
-- Nobody but the owner edits or deletes results, decisions, policies or the audit, and triggers
-- refuse edits even to the owner, except for the one of `verdict_coarsen_erased`. `keys`, `erase`,
-- `vault` and `migrate` are for the owner. The owner should not be a superuser: an attacker with its
-- password would then have the whole server.

-- One transaction, so running processes never lose their rights.
begin;

do $$
declare
    home text := (
        select c.relnamespace::regnamespace::text from pg_class c
        where c.oid = coalesce(to_regclass('_sqlx_migrations'), (
            select oid from pg_class where relname = '_sqlx_migrations' and relkind = 'r' limit 1)));
    ours text[] := array['verdict_ingest', 'verdict_api', 'verdict_worker', 'verdict_console',
        'verdict_reader'];
    name text;
    mine record;
begin
    if home is null then
        raise exception 'there is no schema yet: run `verdict migrate` first';
    end if;
    -- The tables below are those beside `_sqlx_migrations`, whatever the schema is called.
    perform set_config('search_path', home || ', pg_temp', true);
    -- Workers add partitions now and then, which changes the same catalog rows.
    lock table events, results, decisions, audit in share update exclusive mode;
    foreach name in array ours loop
        -- Where it exists, an owner who may not create roles can run this file as well.
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        execute format('grant usage on schema %s to %I', home, name);
    end loop;

    -- PUBLIC has rights by default that no process needs: temporary objects, which can have the names
    -- of ours; objects in our schema; calls of our functions.
    execute format('revoke create on schema %s from public, verdict_ingest, verdict_api, '
        'verdict_worker, verdict_console, verdict_reader', home);
    execute format('revoke temporary, create on database %I from public, verdict_ingest, '
        'verdict_api, verdict_worker, verdict_console, verdict_reader', current_database());
    for mine in
        select c.oid::regclass as name, c.relkind as kind from pg_class c
        where c.relnamespace = home::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
    loop
        -- Takes the rights on columns away as well.
        execute format('revoke all on %s %s from verdict_ingest, verdict_api, verdict_worker, '
            'verdict_console, verdict_reader',
            case mine.kind when 'S' then 'sequence' else 'table' end, mine.name);
    end loop;
    for mine in
        select p.oid::regprocedure as signature from pg_proc p
        where p.pronamespace = home::regnamespace and p.proname like 'verdict\_%'
    loop
        execute format('revoke all on function %s from public, verdict_ingest, verdict_api, '
            'verdict_worker, verdict_console, verdict_reader', mine.signature);
    end loop;
    -- What a person does on a page, a call of the API does as well.
    if not pg_has_role('verdict_console', 'verdict_api', 'member') then
        grant verdict_api to verdict_console;
    end if;
end $$;

grant select on _sqlx_migrations, schema_floor to verdict_ingest, verdict_api, verdict_worker;
grant execute on function verdict_now()
    to verdict_ingest, verdict_api, verdict_worker, verdict_reader;

-- Accepting, and reading what has no person in it.
grant select on verifications, callbacks, decisions, accounts, api_keys
    to verdict_ingest, verdict_api;
grant insert (id, biz_type, biz_id, reference, state, created_at, updated_at, callbacks, due_at,
    give_up_at, trace_parent, source, product, certify_id),
    update (reference, state, updated_at, callbacks, failures, polls, due_at, give_up_at,
    trace_parent, source, certify_id, woken_at, answered_by)
    on verifications to verdict_ingest, verdict_api;
grant insert (source, message_id, digest, verification_id, received_at, occurred_at, hint_audit,
    hint_code, hint_platform, answer_state, answer_attempts, answer_reference, answer_decision_id,
    salt) on callbacks to verdict_ingest, verdict_api;
-- Why a verification was given up.
grant select (id, attempt, error_class, error_code) on results to verdict_ingest;
grant select on vault_keys to verdict_api;
grant select (name, key_id) on named_keys to verdict_api;

-- Asking again, reviewing and erasing end a lease, reopen, close and decide.
grant update (closed, lease_token, lease_until, decision_id) on verifications to verdict_api;

-- Showing and forgetting the person, on record.
grant select (id, verification_id, attempt, fetched_at, request_id, http_status, evidence,
    error_class, error_code, simulated, coarsened) on results to verdict_api, verdict_reader;
grant select (verify_status, authority_score, face_score, id_card_face_score) on results
    to verdict_reader;
grant select, delete on material, data_keys to verdict_api;
grant select on images to verdict_api;
-- Giving up what was to be archived, having what is kept deleted: links stay unread.
grant select (id, kind, verification_id, due_at, deadline, asked_again_at, attempts, lease_until),
    insert (id, kind, verification_id, created_at, deadline, due_at), delete,
    update (due_at, deadline) on tasks to verdict_api;
grant update (occurred_at, hint_audit, hint_code, hint_platform, answer_reference, digest, salt,
    message_id) on callbacks to verdict_api, verdict_worker;
grant select, insert (verification_id, requested_at, requested_by, purpose),
    update (unreadable_at, completed_at, data_keys, material, callbacks, answers, digests_erased,
    coarsened_at) on erasures to verdict_api, verdict_worker;
grant update (images) on erasures to verdict_worker;
grant select, insert (verification_id, requested_at, due_at, bucket_objects)
    on provider_deletions to verdict_api, verdict_worker;
grant select (verification_id, bucket_objects) on results to verdict_api, verdict_worker;
grant update (due_at, attempts, deleted_at) on provider_deletions to verdict_worker;
grant select, update (next_at) on provider_deletion_pace to verdict_worker;
grant select (verification_id, lifted_at) on legal_holds to verdict_worker;
-- Why a verification waits.
grant select (account, spent_to, draws) on budgets to verdict_api;
-- That it serves, every 15 s.
grant select, insert (id, role, version, revision, host, started_at, seen_at), update (seen_at), delete
    on processes to verdict_ingest, verdict_api, verdict_worker;
-- Position, time, database user and digests are the trigger's.
grant select, insert (at, actor, action, subject, purpose, details) on audit
    to verdict_api, verdict_worker;
-- The default of a column asks for the open segment.
grant execute on function verdict_audit_segment() to verdict_api, verdict_worker;
grant execute on function verdict_coarsen_erased(uuid) to verdict_api, verdict_worker;

-- Starting at the provider: under the lease of the verification, and never twice.
grant insert (lease_token, lease_until) on verifications to verdict_api;
grant insert (verification_id, key_id, wrapped) on data_keys to verdict_api;
grant update (retired_at) on vault_keys to verdict_api;
grant select, insert (verification_id, parameters, callback_token, call_token, asked_at, expires_at,
    person), update (callback_token, call_token, asked_at, expires_at, answered_at, answer,
    refused_code) on starts to verdict_api;
-- Of the installation's keys, the one by which an erasure finds the person of a start.
grant execute on function verdict_person_index_key() to verdict_api;
grant select (verification_id, refused_code, callback_token) on starts to verdict_ingest;

-- Fetching and deciding. A worker writes material and cannot read it again.
grant select, update (reference, state, closed, updated_at, attempts, failures, polls, due_at,
    lease_token, lease_until, result_id, decision_id, trace_parent, source)
    on verifications to verdict_worker;
grant select, insert (account), update (breaker, failures, trips, probe_at, opened_at) on accounts
    to verdict_worker;
grant select, insert (account), update (draws, spent_to) on budgets to verdict_worker;
grant insert (id, verification_id, attempt, fetched_at, request_id, http_status, verify_status,
    authority_score, face_score, id_card_face_score, evidence, error_class, error_code, sealed_body,
    simulated, bucket_objects),
    select (id, verification_id, attempt, fetched_at, verify_status, evidence, error_class, coarsened)
    on results to verdict_worker;
grant select, insert (id, verification_id, result_id, policy_digest, outcome, reasons, decided_by,
    decided_at, simulated) on decisions to verdict_worker;
grant select, insert (verification_id, key_id, wrapped), delete on data_keys to verdict_worker;
grant insert (result_id, verification_id, sealed, person), delete,
    select (verification_id) on material to verdict_worker;
grant delete, select (verification_id, received_at, source, message_id, digest) on callbacks
    to verdict_worker;
grant select, update (after, rests_until, lease_token, lease_until) on retention_passes
    to verdict_worker;
grant select, insert (id, kind, verification_id, links, person, minted, created_at, deadline, due_at),
    update (asked_again_at, deadline, due_at, failures, attempts, lease_token, lease_until,
    objects_found, objects_counted), delete on tasks to verdict_worker;
grant select, insert (result_id, kind, verification_id, state, reason, settled_at, content_type,
    bytes, sha256, person, unusual), delete on images to verdict_worker;
grant select on audit_head to verdict_worker;
grant select, insert (position, at, digest, mac) on audit_checkpoints to verdict_worker;
grant select, insert (name, key_id, wrapped, made_at) on named_keys to verdict_worker;
grant select, insert (key_id, first_used_at, wraps_at), update (retired_at, wraps_at) on vault_keys
    to verdict_worker;

-- Looking. No digest of a person's data, no blind index: both can be tried against a list of names.
grant select on verifications, decisions, policies, policy_activations, accounts, budgets, erasures,
    audit, audit_head, audit_checkpoints, vault_keys, retention_passes, backtests, legal_holds
    to verdict_reader;
grant select (source, message_id, verification_id, received_at, occurred_at, hint_audit, hint_code,
    hint_platform, answer_state, answer_attempts, answer_reference, answer_decision_id)
    on callbacks to verdict_reader;
grant select (result_id, kind, verification_id, state, reason, settled_at, content_type, bytes,
    unusual) on images to verdict_reader;

-- Verdicts of persons, and the decisions they make. Analysts see them without notes.
grant select, insert (id, verification_id, about, outcome, reason, note, reviewer, person,
    reviewed_at, decision_id) on reviews to verdict_api;
grant execute on function verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz)
    to verdict_api;
grant select (id, verification_id, about, outcome, reason, reviewer, person, reviewed_at, decision_id)
    on reviews to verdict_reader;
-- Two persons: the first proposes, the second carries out.
grant select, insert (id, call, action, subject, key_id, person, purpose, proposed_at, details),
    update (closed_at, seconded_by, seconded_person) on proposals to verdict_api;
grant select on proposals to verdict_reader;
grant update (last_used_at) on api_keys to verdict_ingest, verdict_api;

-- Users count as persons beside keys. A worker commits the verdicts that they give in the console,
-- and no others.
grant select (id, disabled_at) on users to verdict_api;
grant insert (user_id), update (seconded_user) on proposals to verdict_api;
grant select (id, name, disabled_at, scopes, scenes) on users to verdict_worker;
grant select, update (ended_at, ended_as, note, uncounted) on assignments to verdict_worker;
grant select (id, revoked_at, expires_at) on api_keys to verdict_worker;
-- How many cases wait, for the metrics.
grant select (decision_id, biz_type, opened_at, closed_at) on cases to verdict_api, verdict_worker;
-- Which keys of the vault golden pairs need.
grant select (id, key_id, wrapped, retired_at) on golden_pairs to verdict_api, verdict_worker;
grant select (id, verification_id, about, outcome, reviewer, person, decision_id),
    insert (id, verification_id, about, outcome, reason, note, reviewer, person, reviewed_at,
    decision_id) on reviews to verdict_worker;
grant execute on function verdict_person_decides(uuid, uuid, uuid, text, text, text, timestamptz)
    to verdict_worker;

-- Policies over time. A worker adds the first one and no other: it may not name a scene.
grant select on policies, policy_activations to verdict_api, verdict_worker;
grant insert (digest, name, body, added_at) on policies to verdict_api, verdict_worker;
grant insert (digest, activated_at, activated_by) on policy_activations to verdict_worker;
grant insert (digest, activated_at, activated_by, kind, biz_type, back_to, purpose) on policy_activations
    to verdict_api;
grant execute on function verdict_activations() to verdict_api, verdict_worker;
grant execute on function verdict_newest_activation() to verdict_worker;
grant select, insert (id, digest, since, biz_type, asked_by, created_at, updated_at, state, after,
    comparison, roughly, lane, until, last), update (state, updated_at) on backtests to verdict_api;
grant select on shadow_decisions to verdict_api, verdict_reader;
grant insert (decision_id, verification_id, policy_digest, active_digest, active_outcome, outcome,
    reasons, decided_at) on shadow_decisions to verdict_worker;
grant select, update (state, after, comparison, updated_at, looked_at) on backtests
    to verdict_worker;

-- The event log. Triggers and functions write it, with their owner's rights.
grant select on events, event_weeks, event_log, event_epochs
    to verdict_api, verdict_worker, verdict_reader;
grant select on event_notes to verdict_reader;
grant select (id, verification_id, kind, at, position) on event_notes to verdict_api;
grant execute on function verdict_number_events(integer) to verdict_worker;
grant execute on function verdict_drop_events(integer, bigint) to verdict_worker;

-- The partitions by month, which workers make ahead. Nobody has rights on a partition itself.
grant execute on function verdict_months(text) to verdict_api, verdict_worker, verdict_reader;
grant execute on function verdict_rows_of_no_month(text, integer)
    to verdict_api, verdict_worker, verdict_reader;
grant execute on function verdict_make_months(text, integer) to verdict_worker;
grant execute on function verdict_old_months(text, integer) to verdict_worker;
grant execute on function verdict_drop_month(text, text, integer) to verdict_worker;
-- The segments of the audit. The database decides whether one may go; the worker signs for it.
grant execute on function verdict_audit_reach() to verdict_api, verdict_worker, verdict_reader;
grant execute on function verdict_turn_audit() to verdict_worker;
grant execute on function
    verdict_cut_audit(integer, integer, bigint, bytea, timestamptz, bytea, bytea) to verdict_worker;
grant execute on function verdict_drop_checkpoints(integer) to verdict_worker;
grant select on audit_cuts to verdict_worker, verdict_reader, verdict_console;
grant select on audit_leaves to verdict_worker, verdict_reader, verdict_console;
-- The tree over the audit: workers have its heads signed by witnesses.
grant select, insert (witness, origin, size, root, cosigned_at, note),
    update (size, root, cosigned_at, note) on audit_cosigned_heads to verdict_worker;
grant select on audit_cosigned_heads to verdict_api, verdict_console, verdict_reader;
-- Partitions that retention dropped: timelines name them.
grant select on retention_drops to verdict_api, verdict_reader;

-- Webhook endpoints: added, changed and asked for deliveries. Analysts see neither URLs, which may
-- hold tokens of their receivers, nor what those answered.
grant select, delete, insert (id, url, description, types, biz_types, ordering, signing, max_in_flight,
    requests_per_second, cursor, key_id, wrapped, secret, public_key, created_at, updated_at,
    created_by, due_at),
    update (url, description, types, biz_types, ordering, max_in_flight, requests_per_second, status,
    revision, secret, public_key, previous_secret, previous_public_key, previous_until, failing_since,
    failures, next_try_at, warned, disabled_because, due_at, updated_at)
    on webhook_endpoints to verdict_api;
grant select, insert (endpoint_id, redelivery, number, verification_id, test_id, state, first_at,
    next_at), update (state, attempts, next_at) on webhook_pending to verdict_api;
grant select on webhook_attempts to verdict_api;
grant select (id, url, types, biz_types, ordering, signing, max_in_flight, requests_per_second,
    status, revision, cursor, key_id, wrapped, secret, previous_secret, previous_until, failing_since,
    failures, next_try_at, warned, disabled_because, last_status, due_at, lease_token, lease_until,
    updated_at),
    update (cursor, status, failing_since, last_status, failures, next_try_at, warned,
    disabled_because, due_at, lease_token, lease_until, updated_at)
    on webhook_endpoints to verdict_worker;
grant select, insert (endpoint_id, redelivery, number, verification_id, state, attempts, first_at,
    next_at), update (state, attempts, next_at), delete on webhook_pending to verdict_worker;
grant select (id, at, number), insert (endpoint_id, number, event_id, at, attempt, status, error, latency_ms,
    answer, next_at), delete on webhook_attempts to verdict_worker;
grant select (id, description, types, biz_types, ordering, signing, max_in_flight,
    requests_per_second, status, revision, cursor, failing_since, last_status, failures, next_try_at,
    warned, disabled_because, due_at, created_at, created_by, updated_at)
    on webhook_endpoints to verdict_reader;
grant select on webhook_pending to verdict_reader;
grant select (id, endpoint_id, number, event_id, at, attempt, status, error, latency_ms, next_at)
    on webhook_attempts to verdict_reader;

-- People of the console: who they are, and where they are signed in. Passwords are digests, secrets of
-- one-time codes are sealed.
grant select, insert (id, name, language, time_zone, scopes, scenes, created_at),
    update (language, theme, time_zone, scopes, scenes, disabled_at, password, totp_secret,
    totp_last_step, oidc_issuer, oidc_subject) on users to verdict_console;
grant select, insert (digest, user_id, created_at, expires_at), update (used_at)
    on user_invitations to verdict_console;
grant select, insert (digest, id, user_id, method, browser, created_at, confirmed_at, seen_at, ends_at),
    update (confirmed_at, seen_at, ended_at), delete on user_sessions to verdict_console;
grant select, insert (name, failures, next_at, failed_at), update (failures, next_at, failed_at),
    delete on sign_in_failures to verdict_console;
grant select, insert (name, key_id, wrapped, made_at) on named_keys to verdict_console;
grant insert (key_id, first_used_at, wraps_at), update (wraps_at) on vault_keys to verdict_console;

-- The console's desk: cases in the hands of reviewers, and what they say of them. A worker makes a
-- verdict a decision.
grant select, update (escalated_at, escalated_by, escalation) on cases to verdict_console;
grant select, insert (id, kind, user_id, decision_id, verification_id, golden_id, claimed_at, lease_until),
    update (lease_until, judgement, judged_at, outcome, reason, note, review_id, given_at, commit_at,
    ended_at, ended_as, told_at) on assignments to verdict_console;
grant select, insert (user_id, decision_id, skipped_at, until), update (skipped_at, until) on case_skips
    to verdict_console;
grant select on golden_pairs to verdict_console;

-- The console's pages for operators.
grant select on audit_head, audit_checkpoints, retention_passes to verdict_console;
grant select, insert (id, verification_id, purpose, placed_at, placed_by), update (lifted_at, lifted_by)
    on legal_holds to verdict_console;

-- Nobody holds a lock for long: not the end of the audit, not a verification. Verdict itself has no
-- transaction that waits for anything, and no statement that takes a minute. Settings of a role do
-- not pass to its members, so each user has them.
do $$
declare
    member record;
    -- Since Postgres 16 the creator of a role is a member of it that neither has its rights nor can
    -- take them: the owner, whose migrations take longer than a process may.
    takes text := case when current_setting('server_version_num')::int < 160000 then 'member'
        else 'set' end;
begin
    for member in
        select m.rolname as name, bool_or(r.name <> 'verdict_reader') as serves
        from pg_roles m, unnest(array['verdict_ingest', 'verdict_api', 'verdict_worker',
            'verdict_reader']::name[]) r (name)
        where m.rolcanlogin and not m.rolsuper and m.oid <> current_user::regrole
            and (pg_has_role(m.oid, r.name, 'usage') or pg_has_role(m.oid, r.name, takes))
        group by m.rolname
    loop
        begin
            execute format('alter role %I in database %I set idle_in_transaction_session_timeout = %L',
                member.name, current_database(), case when member.serves then '10s' else '60s' end);
            execute format('alter role %I in database %I set lock_timeout = %L',
                member.name, current_database(), case when member.serves then '30s' else '5s' end);
            execute format('alter role %I in database %I set statement_timeout = %L',
                member.name, current_database(), case when member.serves then '60s' else '15min' end);
        exception when insufficient_privilege then
            raise warning 'no right to set the time limits of %: as who created it, alter role % set idle_in_transaction_session_timeout = ''10s''',
                member.name, quote_ident(member.name);
        end;
    end loop;
end $$;

commit;
