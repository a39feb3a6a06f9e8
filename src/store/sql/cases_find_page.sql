/* verdict cases::find_page */
-- One walk for each scene, merged: a walk over all scenes could pass over 100,000 cases of others.
-- `offset 0` keeps the planner from turning a walk into joins of whole tables.
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
), page as (
    select c.*
    from wanted w
    left join unnest($2::text[], $3::timestamptz[], $4::timestamptz[])
        as own (biz_type, from_time, to_time) on own.biz_type = w.biz_type
    cross join lateral (
        select c.* from cases c
        where c.closed_at is null and c.biz_type = w.biz_type
            and c.opened_at >= $7 and (c.opened_at, c.decision_id) > ($7, $8)
            and c.opened_at > coalesce(own.from_time, $5)
            and c.opened_at <= coalesce(own.to_time, $6)
            and (not $9 or c.escalated_at is not null)
            and (not $10 or exists (select from reviews r
                where r.verification_id = c.verification_id and r.about = c.decision_id offset 0))
            and (not $11 or not exists (select from assignments a
                where a.decision_id = c.decision_id and a.kind = 'review' and a.ended_at is null
                    and (a.outcome is not null or a.lease_until > verdict_now()) offset 0))
        order by c.opened_at, c.decision_id limit $13) c
    order by c.opened_at, c.decision_id limit $13
)
select c.decision_id, c.verification_id, c.biz_type, v.biz_id, v.reference, c.opened_at,
    c.escalated_at, c.escalation, h.user_id, h.name, h.claimed_at, h.pending, r.reviews, r.mine
from page c
cross join lateral (
    select biz_id, reference from verifications where id = c.verification_id limit 1) v
cross join lateral (
    select count(*) as reviews,
        coalesce(bool_or(person = (select name from users where id = $12)), false) as mine
    from reviews where verification_id = c.verification_id and about = c.decision_id) r
left join lateral (
    select a.user_id, u.name, a.claimed_at, a.outcome is not null as pending
    from assignments a join users u on u.id = a.user_id
    where a.decision_id = c.decision_id and a.kind = 'review' and a.ended_at is null
        and a.user_id <> $12 and (a.outcome is not null or a.lease_until > verdict_now())
    limit 1) h on true
order by c.opened_at, c.decision_id
