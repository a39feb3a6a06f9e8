/* verdict hot::new_callbacks::insert */
with created as (
    -- All or nothing: one that is known leaves the batch to `accept`.
    insert into verifications
        (id, biz_type, biz_id, reference, state, created_at, updated_at, callbacks, due_at,
         give_up_at, trace_parent, source, product, certify_id)
    select id, biz_type, biz_id, reference, 'pending', received_at, received_at, 1, verdict_now(),
        verdict_now() + make_interval(secs => $13), trace_parent, source, product, certify_id
    from unnest($1::text[], $4::text[], $5::text[], $6::timestamptz[], $8::text[], $12::uuid[],
        $14::text[], $16::text[], $17::text[])
        as i (source, biz_type, biz_id, received_at, reference, id, trace_parent, product, certify_id)
    where not exists (
            -- A range and its order leave the planner one index. For an equality it may choose the
            -- one by scene while the table is small, and keep that plan.
            select from unnest($4::text[], $5::text[]) as k (biz_type, biz_id) cross join lateral (
                select from verifications v
                where v.biz_type = k.biz_type and v.biz_id >= k.biz_id and v.biz_id <= k.biz_id
                order by v.biz_id limit 1) known)
        and not exists (
            select from unnest($17::text[]) as k (certify_id) cross join lateral (
                select from verifications v where v.certify_id = k.certify_id limit 1) known)
    -- The order in which `accept` locks, so that the two cannot deadlock.
    order by biz_type, biz_id
    returning 1
), kept as (
    insert into callbacks (source, message_id, digest, salt, verification_id, received_at,
        occurred_at, hint_audit, hint_code, hint_platform, answer_state, answer_attempts,
        answer_reference)
    select source, message_id, digest, salt, id, received_at, occurred_at, audit, code, platform,
        'pending', 0, reference
    from unnest($1::text[], $2::text[], $3::bytea[], $6::timestamptz[], $7::timestamptz[],
        $8::text[], $9::text[], $10::int[], $11::text[], $12::uuid[], $15::bytea[])
        as i (source, message_id, digest, received_at, occurred_at, reference, audit, code,
              platform, id, salt)
    -- The count waits for all verifications: locks are taken in the same order everywhere.
    where (select count(*) from created) > 0
)
select count(*) > 0 from created
