/* verdict webhook_deliveries::commit */
with target as (
    -- Its owner may have paused or changed it meanwhile: then its status is not the holder's.
    select id, status, revision = $4 and status in ('active', 'failing') as governs
    from webhook_endpoints where id = $1 and lease_token = $2 for update
), outcome as (
    select id, governs, case
        when not governs then status
        when $9::text is not null then 'disabled'
        when $5::float8 is not null then 'failing'
        else 'active' end as status,
        status as before
    from target
), put as (
    select * from jsonb_to_recordset($11::jsonb) as p (redelivery boolean, number bigint,
        verification_id uuid, state text, attempts integer, next_in float8)
), attempts as (
    select * from rows from (jsonb_to_recordset($13::jsonb) as (number bigint, event_id text,
        at timestamptz, attempt integer, status integer, error text, latency_ms integer,
        answer text, next_in float8)) with ordinality
        as a (number, event_id, at, attempt, status, error, latency_ms, answer, next_in, place)
), fenced as (
    update webhook_endpoints e set
        cursor = $3,
        status = o.status,
        failing_since = case
            when not o.governs then e.failing_since
            when $5::float8 is not null then
                coalesce(e.failing_since, verdict_now() - make_interval(secs => $5)) end,
        failures = case when o.governs then $6 else e.failures end,
        warned = case when o.governs then $7 else e.warned end,
        next_try_at = case
            when not o.governs then e.next_try_at
            else verdict_now() + make_interval(secs => $8) end,
        disabled_because = case when o.governs then $9 else e.disabled_because end,
        last_status = case when exists (select from attempts where number is not null)
            then (select status from attempts where number is not null
                order by place desc limit 1)
            else e.last_status end,
        updated_at = case when o.governs and (o.status <> o.before or $7 > e.warned)
            then $10 else e.updated_at end
    from outcome o where e.id = o.id
    returning e.id, e.status, e.revision, e.due_at is not null as has_news
), stored as (
    insert into webhook_pending
        (endpoint_id, redelivery, number, verification_id, state, attempts, first_at, next_at)
    select f.id, p.redelivery, p.number, p.verification_id, p.state, p.attempts, verdict_now(),
        verdict_now() + make_interval(secs => p.next_in)
    from put p, fenced f
    on conflict (endpoint_id, redelivery, number) do update
    set state = excluded.state, attempts = excluded.attempts, next_at = excluded.next_at
), settled as (
    delete from webhook_pending p
    using fenced f, jsonb_to_recordset($12::jsonb) as g (redelivery boolean, number bigint)
    where p.endpoint_id = f.id and p.redelivery = g.redelivery and p.number = g.number
        and p.endpoint_id = $1
), recorded as (
    insert into webhook_attempts
        (endpoint_id, number, event_id, at, attempt, status, error, latency_ms, answer, next_at)
    select f.id, a.number, a.event_id, a.at, a.attempt, a.status, a.error, a.latency_ms,
        decode(a.answer, 'hex'), verdict_now() + make_interval(secs => a.next_in)
    from attempts a, fenced f order by a.place
)
select status, revision, has_news from fenced
