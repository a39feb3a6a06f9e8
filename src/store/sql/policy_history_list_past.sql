/* verdict policy_history::list_past */
select a.id, a.kind, a.biz_type, a.digest, p.name, a.previous, q.name as previous_name,
    a.activated_at, a.ended_at, a.activated_by, a.purpose, a.is_rollback
from (
    select c.id, c.kind, c.biz_type, c.digest, c.activated_at, c.activated_by, c.purpose,
        c.back_to is not null as is_rollback, older.digest as previous,
        newer.activated_at as ended_at
    from policy_activations c
        left join lateral (
            select digest from policy_activations
            where kind = c.kind and biz_type = c.biz_type and id < c.id
            order by id desc limit 1) older on true
        left join lateral (
            select activated_at from policy_activations
            where kind = c.kind and biz_type = c.biz_type and id > c.id
            order by id limit 1) newer on true
    where ($1::bigint is null or c.id < $1)
        and ($2::text is null or c.biz_type = $2)
        and ($3::text[] is null or c.biz_type = '' or c.biz_type = any ($3))
        and ($4::text is null or c.digest = $4)
    order by c.id desc limit $5
) a
    left join policies p on p.digest = a.digest
    left join policies q on q.digest = a.previous
order by a.id desc
