/* verdict backtests::start */
with running as materialized (
    select id from backtests where state = 'running' order by id limit 1
), run as (
    insert into backtests (id, digest, since, biz_type, asked_by, created_at,
        updated_at, state, after, comparison, roughly, lane, until, last)
    select $1, $2, $3, $4, $5, $6, $6, 'running', $7, '{}', $8, 1, $10,
        coalesce((select id from results order by id desc limit 1), $1)
    where not exists (select from running)
    on conflict (lane) where state = 'running' do nothing
    returning id
), recorded as (
    insert into audit (at, actor, action, subject, purpose, details)
    select $6, $5, 'policy.backtest', id, $9,
        json_build_object('policy', $2::text, 'biz_type', $4::text)::text
    from run
), work as (
    insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
    select id, 'backtest', id, verdict_now(), 'infinity', verdict_now() from run
)
select exists (select from run), (select id from running)
