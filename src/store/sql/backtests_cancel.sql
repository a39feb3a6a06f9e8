/* verdict backtests::cancel */
with work as materialized (
    -- First, as the worker that notes progress does.
    select id from tasks where id = $1 and kind = 'backtest' for update
), ended as (
    update backtests b set state = 'cancelled', updated_at = $2
    from (select count(*) from work) locked
    where b.id = $1 and b.state = 'running'
    returning b.id, b.digest, b.biz_type
), removed as (
    delete from tasks where id in (select w.id from work w, ended)
), recorded as (
    insert into audit (at, actor, action, subject, purpose, details)
    select $2, $3, 'policy.backtest-cancel', id, $4,
        json_build_object('policy', digest, 'biz_type', biz_type)::text
    from ended
)
select count(*) from ended
