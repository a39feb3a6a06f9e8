/* verdict backtests::claim */
with durability as materialized (
    select set_config('synchronous_commit', 'off', true)
), oldest as materialized (
    select t.id from backtests b, durability, tasks t
    where b.state = 'running' and t.id = b.id order by b.id limit 1
), free as (
    select t.id from tasks t
    where t.id = (select id from oldest) and t.due_at <= verdict_now()
        and (t.lease_until is null or t.lease_until <= verdict_now())
    for update of t skip locked
)
update tasks t
set lease_token = $2, attempts = t.attempts + 1,
    lease_until = verdict_now() + make_interval(secs => $1)
where t.id = (select id from free)
returning t.id, t.kind, t.verification_id, t.failures,
    null::text as key_id, null::bytea as wrapped, null::text as trace_parent,
    extract(epoch from verdict_now() - t.created_at)::float8 as age
