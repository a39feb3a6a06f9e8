/* verdict history::decide_again */
with fence as materialized (
    select verdict_newest_activation() = $3 as fits
), incoming as (
    select * from jsonb_to_recordset($1) as i (verification_id uuid, old_id uuid,
        id uuid, result_id uuid, policy text, outcome text, reasons jsonb)
    where (select fits from fence)
), locked as materialized (
    select v.id from verifications v
    where v.id = any (array(select verification_id from incoming))
    order by v.biz_type, v.biz_id for no key update of v
), fenced as (
    update verifications v
    set decision_id = i.id, updated_at = greatest(v.updated_at, $2)
    from incoming i
    where v.id = any (array(select id from locked)) and v.id = i.verification_id
        and v.decision_id = i.old_id and v.state <> 'erased'
    returning v.id
), written as (
    insert into decisions (id, verification_id, result_id, policy_digest, outcome,
        reasons, decided_by, decided_at, simulated)
    select i.id, i.verification_id, i.result_id, i.policy, i.outcome, i.reasons,
        'policy', $2, coalesce((select simulated from results
            where id = i.result_id limit 1), false)
    from incoming i join fenced on fenced.id = i.verification_id
    returning 1
)
select (select fits from fence), (select count(*) from written)
