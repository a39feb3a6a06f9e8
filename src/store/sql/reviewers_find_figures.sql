/* verdict reviewers::find_figures */
-- One walk along the index for each user. The other reviewer of a case is the first who judged it.
select u.id as user_id, u.name, f.cases, f.median_seconds, f.compared, f.agreed, f.different,
    f.false_accepts, f.same, f.false_rejects, f.unsure
from users u
cross join lateral (
    select count(*) as assignments,
        count(*) filter (where a.ended_as in ('decided', 'proposed')) as cases,
        percentile_cont(0.5) within group (
            order by extract(epoch from a.given_at - a.claimed_at)::float8)
            filter (where a.ended_as in ('decided', 'proposed')) as median_seconds,
        count(*) filter (where a.judgement <> 3 and o.judgement <> 3) as compared,
        count(*) filter (where a.judgement <> 3 and o.judgement <> 3
            and (a.judgement < 3) = (o.judgement < 3)) as agreed,
        count(*) filter (where a.judgement is not null and not g.same_person) as different,
        count(*) filter (where a.judgement < 3 and not g.same_person) as false_accepts,
        count(*) filter (where a.judgement is not null and g.same_person) as same,
        count(*) filter (where a.judgement > 3 and g.same_person) as false_rejects,
        count(*) filter (where a.judgement = 3 and g.same_person is not null) as unsure
    from assignments a
    left join lateral (
        select same_person from golden_pairs where id = a.golden_id limit 1) g on true
    left join lateral (
        select judgement from assignments
        where decision_id = a.decision_id and judgement is not null and user_id <> a.user_id
        order by judged_at limit 1) o on true
    where a.user_id = u.id and a.claimed_at >= $1) f
where f.assignments > 0
order by u.name
