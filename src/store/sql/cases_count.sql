/* verdict cases::count */
-- From one scene to the next along the index; each count ends at its limit.
with recursive scenes (biz_type) as (
    (select biz_type from cases where closed_at is null order by biz_type limit 1)
    union all
    (select (select c.biz_type from cases c where c.closed_at is null and c.biz_type > s.biz_type
             order by c.biz_type limit 1)
     from scenes s where s.biz_type is not null)
)
select s.biz_type, o.open, due.soon - late.late as soon, late.late, first.oldest
from scenes s
left join unnest($2::text[], $3::timestamptz[], $4::timestamptz[])
    as own (biz_type, late, soon) on own.biz_type = s.biz_type
cross join lateral (
    select count(*) as open from (
        select from cases c where c.closed_at is null and c.biz_type = s.biz_type limit $7) x) o
cross join lateral (
    select count(*) as soon from (
        select from cases c where c.closed_at is null and c.biz_type = s.biz_type
            and c.opened_at <= coalesce(own.soon, $6) limit $7) x) due
cross join lateral (
    select count(*) as late from (
        select from cases c where c.closed_at is null and c.biz_type = s.biz_type
            and c.opened_at <= coalesce(own.late, $5) limit $7) x) late
cross join lateral (
    select c.opened_at as oldest from cases c
    where c.closed_at is null and c.biz_type = s.biz_type
    order by c.opened_at, c.decision_id limit 1) first
where s.biz_type is not null and ($1::text[] is null or s.biz_type = any ($1))
order by s.biz_type
