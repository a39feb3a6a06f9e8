/* verdict hot::callbacks::accept */
with incoming as (
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[],
        $6::timestamptz[], $7::timestamptz[], $8::text[], $9::text[], $10::int[], $11::text[],
        $12::uuid[], $15::text[], $16::bytea[], $18::text[], $19::text[]) with ordinality
        as t (source, message_id, digest, biz_type, biz_id, received_at, occurred_at, reference,
              audit, code, platform, id, trace_parent, salt, product, certify_id, ord),
        -- One row that the planner takes for a thousand: left to itself it expects ten of every
        -- array and compares each of a batch with each (a fifth of the statement's time at 64).
        generate_series(1, $14) as expect_many
), known as (
    select i.ord, c.*
    from incoming i cross join lateral (
        select * from callbacks where source = i.source and message_id = i.message_id limit 1) c
), other_certify_id as (
    -- The CertifyId belongs to another verification. Its names are told only to a source that reaches
    -- it. An order number that is known is no CertifyId, whatever else is called so.
    select i.ord, case when w.source = i.source or w.source || ' ' || i.source = any ($17)
        then w.biz_type end as biz_type,
        case when w.source = i.source or w.source || ' ' || i.source = any ($17)
        then w.biz_id end as biz_id
    from incoming i cross join lateral (
        select * from verifications where certify_id = i.certify_id limit 1) w
    where (w.biz_type, w.biz_id) <> (i.biz_type, i.biz_id)
        and i.certify_id is not null
        -- No `exists`: to answer it the planner may read the whole table into a hash. A range and its
        -- order leave it one index.
        and (i.certify_id <> i.biz_id or (select true from verifications v
            where v.biz_type = i.biz_type and v.biz_id >= i.biz_id and v.biz_id <= i.biz_id
            order by v.biz_id limit 1) is null)
), fresh as (
    select * from incoming i
    where not exists (select from known k where k.ord = i.ord)
        and not exists (select from other_certify_id o where o.ord = i.ord)
), upserted as (
    -- A new callback makes a verification due again, except closed and erased ones.
    insert into verifications as v
        (id, biz_type, biz_id, reference, state, created_at, updated_at, callbacks, due_at, give_up_at,
         trace_parent, source, product, certify_id)
    select distinct on (biz_type, biz_id)
        id, biz_type, biz_id,
        (array_agg(reference) filter (where reference is not null)
            over (partition by biz_type, biz_id order by ord
                  rows between unbounded preceding and unbounded following))[1],
        'pending',
        min(received_at) over (partition by biz_type, biz_id),
        max(received_at) over (partition by biz_type, biz_id),
        count(*) over (partition by biz_type, biz_id),
        verdict_now(), verdict_now() + make_interval(secs => $13), trace_parent, source,
        product, certify_id
    from fresh order by biz_type, biz_id, ord
    on conflict (biz_type, biz_id) do update set
        reference = case when v.state = 'erased' then v.reference
                         else coalesce(v.reference, excluded.reference) end,
        callbacks = v.callbacks + case when v.state = 'erased' then 0 else excluded.callbacks end,
        updated_at = case when v.state = 'erased' then v.updated_at
                          else greatest(v.updated_at, excluded.updated_at) end,
        state = case when v.closed or v.state = 'erased' then v.state else 'pending' end,
        due_at = case when v.closed or v.state = 'erased' then v.due_at
                      else least(v.due_at, excluded.due_at) end,
        give_up_at = excluded.give_up_at,
        trace_parent = case when v.closed or v.state = 'erased' then v.trace_parent
                            else excluded.trace_parent end,
        -- One that was started here learns a CertifyId that a crash lost.
        certify_id = case when excluded.certify_id <> excluded.biz_id and v.state <> 'erased'
                          then coalesce(v.certify_id, excluded.certify_id) else v.certify_id end,
        failures = 0,
        polls = 0
    -- A row without a source is passed over: `assign_owners`.
    where (v.source = excluded.source or v.source || ' ' || excluded.source = any ($17))
        and v.product = excluded.product
        and (v.certify_id is null or excluded.certify_id is null
             or excluded.certify_id in (v.certify_id, v.biz_id))
    returning v.*
), kept as (
    insert into callbacks (source, message_id, digest, salt, verification_id, received_at, occurred_at,
        hint_audit, hint_code, hint_platform,
        answer_state, answer_attempts, answer_reference, answer_decision_id)
    select f.source, f.message_id, f.digest, f.salt, t.id, f.received_at, f.occurred_at,
        f.audit, f.code, f.platform, t.state, t.attempts, t.reference, t.decision_id
    from fresh f join upserted t using (biz_type, biz_id)
    where t.state <> 'erased'
    order by f.source, f.message_id
), answers as (
    select f.ord, case when t.state = 'erased' then 'erased' when t.id is not null then 'new'
            when exists (select from verifications w
                where (w.biz_type, w.biz_id) = (f.biz_type, f.biz_id)
                    and (w.source = f.source or w.source || ' ' || f.source = any ($17)))
            then 'other product' else 'other source' end as answer,
        t.id, t.product, t.biz_type, t.biz_id, t.certify_id, t.answered_by, t.reference, t.source, t.state,
        t.created_at, f.received_at as updated_at, t.attempts, t.decision_id as standing_id,
        null::bytea as digest, null::bytea as salt
    from fresh f left join upserted t using (biz_type, biz_id)
    union all
    select k.ord, case when v.source = k.source or v.source || ' ' || k.source = any ($17)
            then case when v.state = 'erased' then 'erased' else 'known' end
            else 'other source' end,
        v.id, v.product, v.biz_type, v.biz_id, v.certify_id, v.answered_by, k.answer_reference, v.source, k.answer_state,
        v.created_at, k.received_at, k.answer_attempts, k.answer_decision_id, k.digest, k.salt
    from known k cross join lateral (
        select * from verifications where id = k.verification_id limit 1) v
    union all
    select o.ord, 'other certify_id', null, null, o.biz_type, o.biz_id, null, null, null, null, null, null,
        null, null, null, null, null
    from other_certify_id o
    where not exists (select from known k where k.ord = o.ord)
)
select a.*, d.id as decision_id, d.result_id, d.policy_digest, d.outcome,
    d.reasons, d.decided_by, d.decided_at, d.simulated
from answers a left join lateral (
    select * from decisions where id = a.standing_id limit 1) d on true
