/* verdict hot::claims::claim_in_turn */
with durability as materialized (
    select set_config('synchronous_commit', 'off', true)
), idle as (
    -- Nothing due: nothing is locked, and so nothing is written.
    select (select id from verifications
            where due_at >= coalesce($8::timestamptz, '-infinity') and due_at <= verdict_now()
                and (lease_until is null or lease_until <= verdict_now())
            order by due_at limit 1) is null
        and not exists (select from verifications -- in turn
            where id = any ($10::uuid[]) and due_at <= verdict_now() -- in turn
                and (lease_until is null or lease_until <= verdict_now())) -- in turn
        as is_idle
), newest as (
    select draws from budgets where account = $1 order by draws desc limit 1
), account as (
    select a.*, b.spent_to, verdict_now() as now_at,
        extract(epoch from greatest(b.spent_to, verdict_now()) - verdict_now())::float8 as ahead
    from accounts a, budgets b, durability, idle
    where a.account = $1 and b.account = $1 and b.draws >= (select draws from newest) and not is_idle
    for update of a, b
), granted as (
    select a.*,
        case when breaker = 'closed' then greatest(0, least($2::int, floor($5 - ahead / $4 + 1e-6)))::int
             when probe_at <= now_at then least($2, 1)
             else 0 end as allowed
    from account a
), in_turn as ( -- in turn
    select id from verifications -- in turn
    where id = any ($10::uuid[]) and due_at <= verdict_now() -- in turn
        and (lease_until is null or lease_until <= verdict_now()) -- in turn
        and (select breaker from granted) = 'closed' -- in turn
    order by array_position($10::uuid[], id) -- in turn
    limit coalesce((select allowed from granted), 0) -- in turn
    for update skip locked -- in turn
), next as (
    select id from verifications
    where due_at >= coalesce($8::timestamptz, '-infinity') and due_at <= verdict_now()
        and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from granted) = 'closed'
        and id <> all ($10::uuid[]) -- in turn
    order by due_at, id
    limit coalesce((select allowed from granted), 0)
        - (select count(*) from in_turn) -- in turn
    for update skip locked
), probe as (
    -- The newest that has not failed: the least likely to be one of those that opened the breaker,
    -- and one that always fails must not keep the account stopped. One that asks nobody proves nothing.
    select id from verifications
    where due_at <= verdict_now() and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from granted) <> 'closed' and failures = 0
        and (certify_id is not null or product <> all ($9))
    order by due_at desc, id desc
    limit coalesce((select allowed from granted), 0)
    for update skip locked
), next_best as (
    select id from verifications
    where due_at <= verdict_now() and (lease_until is null or lease_until <= verdict_now())
        and (select breaker from granted) <> 'closed' and not exists (select from probe)
        and (certify_id is not null or product <> all ($9))
    order by due_at, id
    limit coalesce((select allowed from granted), 0)
    for update skip locked
), claimed as (
    update verifications v
    set lease_token = $7, lease_until = verdict_now() + make_interval(secs => $3),
        attempts = v.attempts + 1
    -- As an array: the planner cannot know how few these are, and would scan the whole table.
    where v.id = any (array(select id from next union all select id from probe
                            union all select id from next_best
        union all select id from in_turn -- in turn
        ))
    returning v.id, v.product, v.certify_id, v.biz_type, v.biz_id, v.attempts, v.failures, v.polls, v.callbacks,
        v.result_id, v.due_at, v.closed, v.give_up_at <= verdict_now() or v.answered_by is not null as overdue,
        v.state not in ('pending', 'unfinished') as quiet, v.trace_parent,
        v.reference, v.certify_id is null and v.product = any ($9) as asks_nobody
), taken as (
    -- Such a row is claimed to reschedule it, and costs no call.
    select count(*)::int as n, count(*) filter (where not asks_nobody)::int as calls,
        max(due_at) as latest
    from claimed
), spent as (
    update budgets b
    set draws = b.draws + 1,
        spent_to = greatest(b.spent_to, verdict_now()) + make_interval(secs => ceil(taken.calls * $4 * 1e6 - 1e-3) / 1e6)
    from taken
    where b.account = $1 and b.draws >= (select draws from newest) and taken.calls > 0
), probed as (
    update accounts a set probe_at = verdict_now() + make_interval(secs => $6)
    from taken where a.account = $1 and a.breaker <> 'closed' and taken.n > 0
)
select c.*,
    case when c.reference is not null then
        (select true from verifications e where e.reference = c.reference and e.id < c.id
         order by e.id desc limit 1) is not null end as is_later,
    k.key_id, k.wrapped, coalesce(r.refused_before, false) as refused_before,
    exists (select from accounts where account = $1) and exists (select from newest)
        as account_known,
    (select extract(epoch from due_at - verdict_now())::float8 from verifications
     where due_at > verdict_now() order by due_at limit 1) as next_due,
    coalesce(w.breaker <> 'closed', false) as breaker_open,
    coalesce(w.failures > 0, false) as faults_on_record,
    case when w.allowed >= $2 or taken.n < w.allowed then null
         when w.breaker <> 'closed' then greatest(extract(epoch from w.probe_at - w.now_at)::float8, 0.05)
         else (w.ahead + (taken.calls + 1 - $5) * $4)::float8
    end as wait,
    case when w.breaker is null or w.breaker = 'closed' and taken.n < w.allowed then verdict_now()
         when w.breaker = 'closed' then taken.latest
    end as claimed_to
from taken left join granted w on true
left join claimed c on true
left join lateral (
    select key_id, wrapped from data_keys where verification_id = c.id limit 1) k on true
left join lateral (
    select error_class in ('credentials', 'clock') as refused_before from results where id = c.result_id
    limit 1) r on true
order by c.due_at, c.id
