/* verdict tasks::claim */
with durability as materialized (
    select set_config('synchronous_commit', 'off', true)
), due as materialized (
    -- Two windows: tasks that wait for new links, however many, do not hide
    -- links that are still valid.
    (select id, deadline from tasks, durability
     where asked_again_at is null and kind <> 'backtest' and due_at <= verdict_now()
        and (lease_until is null or lease_until <= verdict_now())
     order by due_at limit $4)
    union all
    (select id, deadline from tasks
     where asked_again_at is not null and due_at <= verdict_now()
        and (lease_until is null or lease_until <= verdict_now())
     order by due_at limit $4)
), next as (
    select t.id from tasks t
    where t.id = any (array(select id from due order by deadline, id limit $1))
        and t.due_at <= verdict_now()
        and (t.lease_until is null or t.lease_until <= verdict_now())
    order by t.id for update of t skip locked
), claimed as (
    update tasks t
    set lease_token = $3, attempts = t.attempts + 1,
        lease_until = verdict_now() + make_interval(secs => $2)
    where t.id = any (array(select id from next))
    returning t.*
)
select c.id, c.kind, c.verification_id, c.links, c.person, c.minted as link_refreshes,
    c.failures, c.asked_again_at is not null as awaits_links,
    c.deadline <= verdict_now()
        or c.deadline <= verdict_now() + make_interval(secs => $5)
        and c.created_at < verdict_now() - make_interval(secs => $5)
        as expired,
    extract(epoch from verdict_now() - c.created_at)::float8 as age,
    k.key_id, k.wrapped, v.trace_parent,
    array(select kind from images where result_id = c.id) as settled,
    (select extract(epoch from due_at - verdict_now())::float8 from tasks
     where due_at > verdict_now() order by due_at limit 1) as next_due
from (select 1) as one left join claimed c on true
left join lateral (
    select key_id, wrapped from data_keys
    where verification_id = c.verification_id limit 1) k on true
left join lateral (
    select trace_parent from verifications
    where id = c.verification_id limit 1) v on true
order by c.deadline, c.id
