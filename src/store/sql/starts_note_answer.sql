/* verdict starts::note_answer */
with found as materialized (
    select * from verifications where id = $1 for no key update
), held as (
    select * from found where state <> 'erased'
), erased as (
    update verifications v set certify_id = $5
    from found
    where v.id = found.id and found.state = 'erased' and v.certify_id is null
        and exists (select from starts where verification_id = v.id and call_token = $2)
        and not exists (select from verifications o where o.certify_id = $5)
    returning v.id
), copies as (
    insert into provider_deletions (verification_id, requested_at, due_at, bucket_objects)
    select id, $4, verdict_now(), '{}' from erased
    on conflict (verification_id) do nothing
), answered as (
    update starts set answer = $3, answered_at = $4
    where verification_id = (select id from held) and call_token = $2
    returning verification_id
), holder as (
    -- Another verification has the CertifyId. It answers for this one if a callback that named
    -- nothing else has made it.
    select case when o.biz_id = $5 and (o.product, o.biz_type) = (h.product, h.biz_type)
        then o.id end as answers
    from held h join verifications o on o.certify_id = $5 and o.id <> h.id
    where h.certify_id is null
)
update verifications v
set certify_id = case when v.certify_id is null and not exists (select from holder)
        then $5 else v.certify_id end,
    answered_by = coalesce(v.answered_by, (select answers from holder)),
    updated_at = greatest(v.updated_at, $4),
    give_up_at = greatest(v.give_up_at, verdict_now() + make_interval(secs => $6)),
    due_at = case when v.lease_token = $2
        then greatest(verdict_now(), least(coalesce(v.due_at, 'infinity'),
            verdict_now() + interval '1 minute'))
        else v.due_at end,
    lease_token = nullif(v.lease_token, $2),
    lease_until = case when v.lease_token <> $2 then v.lease_until end
from answered where v.id = answered.verification_id
returning v.id
