/* verdict hot::completions::complete */
with incoming as (
    select * from jsonb_to_recordset($1) as t (ord int, verification_id uuid, lease_token uuid,
        attempt int, called bool, callbacks_seen int, state text, closed bool, due_in float8, failures int,
        polls int, at timestamptz, result_id uuid, fetched_at timestamptz, request_id text,
        http_status int, evidence jsonb, error_class text, error_code text, decision_id uuid,
        policy_digest text, outcome text, reasons jsonb, decided_by text, key_id text, wrapped text, person text, simulated bool,
        links_live float8, bucket_objects text[], shadow_policy text, shadow_outcome text, shadow_reasons jsonb)
), locked as materialized (
    select v.id from verifications v
    -- As an array, here and below: the planner takes any join for a long one, and would walk
    -- the whole table.
    where v.id = any (array(select verification_id from incoming))
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
    from incoming i
    where v.id = any (array(select id from locked))
        and v.id = i.verification_id and v.lease_token = i.lease_token
    returning i.ord
), new_keys as (
    insert into data_keys (verification_id, key_id, wrapped)
    select i.verification_id, i.key_id, decode(i.wrapped, 'hex')
    from incoming i join fenced using (ord)
    where i.key_id is not null
), keys_in_use as (
    -- A process that was not told of a rotation wraps with a key that was given up.
    update vault_keys set retired_at = null
    where key_id = any (array(select i.key_id from incoming i join fenced using (ord)
                              where i.key_id is not null))
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
        i.evidence, i.error_class, i.error_code, coalesce(i.simulated, false), ($2::bytea[])[i.ord],
        i.bucket_objects
    from incoming i join fenced using (ord)
    where i.result_id is not null
), new_material as (
    insert into material (result_id, verification_id, sealed, person)
    select i.result_id, i.verification_id, ($3::bytea[])[i.ord], decode(i.person, 'hex')
    from incoming i join fenced using (ord)
    where ($3::bytea[])[i.ord] is not null
), new_tasks as (
    insert into tasks (id, kind, verification_id, links, person, minted, created_at, deadline, due_at)
    select i.result_id, 'archive', i.verification_id, ($4::bytea[])[i.ord], decode(i.person, 'hex'),
        coalesce((select max(minted) + 1 from tasks
                  where verification_id = i.verification_id and asked_again_at is not null), 0),
        verdict_now(), verdict_now() + make_interval(secs => i.links_live), verdict_now()
    from incoming i join fenced using (ord)
    where ($4::bytea[])[i.ord] is not null
), new_decisions as (
    insert into decisions (id, verification_id, result_id, policy_digest, outcome, reasons,
        decided_by, decided_at, simulated)
    select i.decision_id, i.verification_id, i.result_id, i.policy_digest, i.outcome, i.reasons,
        i.decided_by, i.at, coalesce(i.simulated, false)
    from incoming i join fenced using (ord)
    where i.decision_id is not null
), new_shadows as (
    insert into shadow_decisions (decision_id, verification_id, policy_digest, active_digest,
        active_outcome, outcome, reasons, decided_at)
    select i.decision_id, i.verification_id, i.shadow_policy, i.policy_digest, i.outcome,
        i.shadow_outcome, i.shadow_reasons, i.at
    from incoming i join fenced using (ord)
    where i.shadow_policy is not null
)
select ord from fenced
