/* verdict webhook_deliveries::claim */
with durability as materialized (
    select set_config('synchronous_commit', 'off', true)
), due as (
    select e.id from webhook_endpoints e, event_log l, durability
    where (e.lease_until is null or e.lease_until <= verdict_now())
        and (e.due_at <= verdict_now()
            -- Its holder was killed, and has taken `due_at` away.
            or e.lease_token is not null
            or e.status in ('active', 'failing') and e.cursor < l.number
            and (e.next_try_at is null or e.next_try_at <= verdict_now()))
    -- Endpoints that wait for the log have no due time, and there may be more than one process takes. A
    -- random order gives each its turn. The clock is its seed, so that a simulation repeats it.
    order by uuid_hash_extended(e.id, (extract(epoch from verdict_now()) * 1000)::bigint)
    limit $1 for update of e skip locked
)
update webhook_endpoints e
set lease_token = $3, lease_until = verdict_now() + make_interval(secs => $2), due_at = null
from due where e.id = due.id
returning e.id, e.url, e.types, e.biz_types, e.ordering, e.signing, e.max_in_flight,
    e.requests_per_second, e.status, e.revision, e.lease_token, e.cursor, e.key_id, e.wrapped, e.secret,
    case when e.previous_until > verdict_now() then e.previous_secret end as previous_secret,
    extract(epoch from verdict_now() - e.failing_since)::float8 as failing_for,
    e.failures, extract(epoch from e.next_try_at - verdict_now())::float8 as next_try_in, e.warned
