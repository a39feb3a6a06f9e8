/* verdict erasure::begin_erasure */
with erased as (
    update verifications
    set state = 'erased', closed = true, due_at = null, lease_token = null,
        lease_until = null, reference = null, trace_parent = null, updated_at = greatest(updated_at, $2)
    where id = $1 and state <> 'erased'
        and ($5::timestamptz is null or updated_at < $5)
    returning id
), intent as (
    insert into erasures (verification_id, requested_at, requested_by, purpose)
    select id, $2, $3, coalesce($4, '') from erased
), recorded as (
    insert into audit (at, actor, action, subject, purpose)
    select $2, $3, 'verification.erase', id, $4 from erased
)
select exists (select from erased) or exists (
    select from verifications
    where id = $1 and ($5::timestamptz is null or state = 'erased'))
