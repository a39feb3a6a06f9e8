/* verdict backtests::note_progress */
with held as (
    select id from tasks where id = $1 and lease_token = $2 for update
), ended as (
    delete from tasks where id = (select id from held) and $3 <> 'running'
), forgiven as (
    update tasks set failures = 0
    where id = (select id from held) and $3 = 'running' and failures > 0
), noted as (
    update backtests
    set state = $3, after = $4, comparison = $5, updated_at = $6, looked_at = $7
    where id = (select id from held)
)
select count(*) from held
