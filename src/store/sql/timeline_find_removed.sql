/* verdict timeline::find_removed */
with erased as (
    select v.id, v.created_at, v.decision_id, e.requested_at, e.answers
    from verifications v join erasures e on e.verification_id = v.id
    where v.id = $1
), known (id) as (
    -- Every decision that something else still names.
    select decision_id from erased
    union select about from reviews where verification_id = $1
    union select decision_id from reviews where verification_id = $1
    union select answer_decision_id from callbacks where verification_id = $1
), missing (kind) as (
    -- The receipt counts all results: none is added or dropped before the erasure.
    select 'results' from erased
    where answers > (select count(*) from results where verification_id = $1)
    union all
    select 'decisions' from erased
    where exists (
        select from known k
        where k.id is not null and not exists (select from decisions d where d.id = k.id))
    union all
    -- Whether a dropped row was about this verification is not known.
    select 'audit' from erased
)
select m.kind, coalesce(max(d.dropped_at), e.requested_at) as at, max(d.until) as before,
    (array_agg(d.days order by d.id desc))[1] as days
from missing m cross join erased e
left join retention_drops d on d.kind = m.kind
    -- A day is for clocks that differ.
    and d.until > e.created_at - interval '1 day'
    and (d.since is null or d.since < e.requested_at + interval '1 day')
group by m.kind, e.requested_at
having m.kind <> 'audit' or count(d.id) > 0
order by at, m.kind
