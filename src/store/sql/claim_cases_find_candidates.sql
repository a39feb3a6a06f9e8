/* verdict claim_cases::find_candidates */
-- The oldest cases that this person may get, of each scene and merged. Not: what somebody has, what
-- the person has reviewed, skipped or escalated. `offset 0` keeps the planner from turning a walk
-- into joins of whole tables.
with recursive found (biz_type) as (
    (select biz_type from cases where closed_at is null and $1::text[] is null
     order by biz_type limit 1)
    union all
    (select (select c.biz_type from cases c where c.closed_at is null and c.biz_type > f.biz_type
             order by c.biz_type limit 1)
     from found f where f.biz_type is not null)
), wanted as (
    select biz_type from found where biz_type is not null
    union all
    select unnest($1::text[])
)
select c.decision_id
from wanted w
cross join lateral (
    select c.decision_id, c.opened_at from cases c
    where c.closed_at is null and c.biz_type = w.biz_type
        and c.escalated_by is distinct from $2
        and not exists (select from case_skips s
            where s.user_id = $2 and s.decision_id = c.decision_id and s.until > verdict_now()
            offset 0)
        and not exists (select from assignments a
            where a.decision_id = c.decision_id and a.kind = 'review' and a.ended_at is null
                and (a.outcome is not null or a.lease_until > verdict_now()) offset 0)
        and not exists (select from reviews r
            where r.verification_id = c.verification_id and r.about = c.decision_id
                and r.person = $3 offset 0)
    order by c.opened_at, c.decision_id limit $4) c
order by c.opened_at, c.decision_id limit $4
