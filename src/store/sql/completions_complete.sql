/* verdict hot::completions::complete */
with locked as materialized (
    select v.id from verifications v
    -- As an array, here and below: the planner takes any join for a long one, and would walk
    -- the whole table.
    where v.id = any ($1)
    order by v.biz_type, v.biz_id for no key update of v
), fenced as (
    update verifications v set
        state = case when v.callbacks > i.callbacks_seen and not i.closed then 'pending'
                     else coalesce(i.state, v.state) end,
        closed = v.closed or i.closed,
        due_at = case when v.callbacks > i.callbacks_seen and not i.closed
                      then verdict_now()
                      else verdict_now() + make_interval(secs => i.due_in) end,
        failures = case when v.callbacks > i.callbacks_seen then 0 else i.failures end,
        polls = case when v.callbacks > i.callbacks_seen then 0 else i.polls end,
        attempts = v.attempts - case when i.called then 0 else 1 end,
        updated_at = greatest(v.updated_at, i.at),
        result_id = coalesce(i.result_id, v.result_id),
        decision_id = coalesce(i.decision_id, v.decision_id),
        lease_token = null, lease_until = null
    from unnest($1::uuid[], $2::uuid[], $4::bool[], $5::int[], $6::text[], $7::bool[], $8::float8[],
            $9::int[], $10::int[], $11::timestamptz[], $12::uuid[], $26::uuid[]) with ordinality
        as i (verification_id, lease_token, called, callbacks_seen, state, closed, due_in,
              failures, polls, at, result_id, decision_id, ord)
    where v.id = any (array(select id from locked))
        and v.id = i.verification_id and v.lease_token = i.lease_token
    returning i.ord
), new_keys as (
    insert into data_keys (verification_id, key_id, wrapped)
    select i.verification_id, i.key_id, i.wrapped
    from unnest($1::uuid[], $31::text[], $32::bytea[]) with ordinality
        as i (verification_id, key_id, wrapped, ord)
    where i.key_id is not null and i.ord = any (array(select ord from fenced))
), keys_in_use as (
    -- A process that was not told of a rotation wraps with a key that was given up.
    update vault_keys set retired_at = null
    where key_id = any (array(select i.key_id
                              from unnest($31::text[]) with ordinality as i (key_id, ord)
                              where i.key_id is not null
                                  and i.ord = any (array(select ord from fenced))))
        and retired_at is not null
), new_results as (
    insert into results (id, verification_id, attempt, fetched_at, request_id, http_status,
        verify_status, authority_score, face_score, id_card_face_score, evidence,
        error_class, error_code, simulated, sealed_body, bucket_objects)
    select i.result_id, i.verification_id, i.attempt, i.fetched_at, i.request_id, i.http_status,
        (i.evidence ->> 'verify_status')::int,
        (i.evidence #>> '{scores,authority}')::float8,
        (i.evidence #>> '{scores,face}')::float8,
        (i.evidence #>> '{scores,id_card_face}')::float8,
        i.evidence, i.error_class, i.error_code, coalesce(i.simulated, false), i.sealed_body,
        case when i.bucket_objects is not null
            then array(select jsonb_array_elements_text(i.bucket_objects)) end
    from unnest($1::uuid[], $3::int[], $12::uuid[], $13::timestamptz[], $14::text[], $15::int[],
            $16::jsonb[], $17::text[], $18::text[], $19::bool[], $20::bytea[], $21::jsonb[])
        with ordinality
        as i (verification_id, attempt, result_id, fetched_at, request_id, http_status, evidence,
              error_class, error_code, simulated, sealed_body, bucket_objects, ord)
    where i.result_id is not null and i.ord = any (array(select ord from fenced))
), new_material as (
    insert into material (result_id, verification_id, sealed, person)
    select i.result_id, i.verification_id, i.sealed, i.person
    from unnest($1::uuid[], $12::uuid[], $22::bytea[], $23::bytea[]) with ordinality
        as i (verification_id, result_id, sealed, person, ord)
    where i.sealed is not null and i.ord = any (array(select ord from fenced))
), new_tasks as (
    insert into tasks (id, kind, verification_id, links, person, minted, created_at, deadline, due_at)
    select i.result_id, 'archive', i.verification_id, i.links, i.person,
        coalesce((select max(minted) + 1 from tasks
                  where verification_id = i.verification_id and asked_again_at is not null), 0),
        verdict_now(), verdict_now() + make_interval(secs => i.links_live), verdict_now()
    from unnest($1::uuid[], $12::uuid[], $23::bytea[], $24::bytea[], $25::float8[]) with ordinality
        as i (verification_id, result_id, person, links, links_live, ord)
    where i.links is not null and i.ord = any (array(select ord from fenced))
), new_decisions as (
    insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at, simulated)
    select i.decision_id, i.verification_id, i.result_id, i.policy_digest, i.outcome, i.reasons,
        i.decided_by, i.at, coalesce(i.simulated, false)
    from unnest($1::uuid[], $11::timestamptz[], $12::uuid[], $19::bool[], $26::uuid[], $27::text[],
            $28::text[], $29::jsonb[], $30::text[]) with ordinality
        as i (verification_id, at, result_id, simulated, decision_id, policy_digest, outcome,
              reasons, decided_by, ord)
    where i.decision_id is not null and i.ord = any (array(select ord from fenced))
), new_shadows as (
    insert into shadow_decisions (decision_id, verification_id, policy_digest, active_digest,
        active_outcome, outcome, reasons, decided_at)
    select i.decision_id, i.verification_id, i.shadow_policy, i.policy_digest, i.outcome,
        i.shadow_outcome, i.shadow_reasons, i.at
    from unnest($1::uuid[], $11::timestamptz[], $26::uuid[], $27::text[], $28::text[], $33::text[],
            $34::text[], $35::jsonb[]) with ordinality
        as i (verification_id, at, decision_id, policy_digest, outcome, shadow_policy,
              shadow_outcome, shadow_reasons, ord)
    where i.shadow_policy is not null and i.ord = any (array(select ord from fenced))
)
select ord from fenced
