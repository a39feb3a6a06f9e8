/* verdict erasure::begin_erasure */
with erased as (
    update verifications
    set state = 'erased', closed = true, due_at = null, lease_token = null,
        lease_until = null, reference = null, trace_parent = null, updated_at = greatest(updated_at, $2)
    where id = $1 and state <> 'erased'
        and ($5::timestamptz is null or updated_at < $5)
    returning id, product, certify_id
), intent as (
    insert into erasures (verification_id, requested_at, requested_by, purpose)
    select id, $2, $3, coalesce($4, '') from erased
), copies as (
    insert into provider_deletions (verification_id, requested_at, due_at, bucket_objects)
    select id, $2, verdict_now(), array(
        select distinct object from results, unnest(bucket_objects) object
        where verification_id = erased.id order by object)
    from erased where product = any ($6) and certify_id is not null
    on conflict (verification_id) do nothing
), recorded as (
    insert into audit (at, actor, action, subject, purpose)
    select $2, $3, 'verification.erase', id, $4 from erased
)
select exists (select from erased)
