/* verdict policies::find_rollback */
with recursive activations as materialized (
    select id, digest, coalesce(back_to, id) as counts from verdict_activations()
    where kind = 'active' and biz_type = $1
), now_active as (
    select counts, digest from activations order by id desc limit 1
), past (counts, digest) as (
    select counts, digest from now_active
    union all
    select before.counts, before.digest from past cross join lateral (
        select counts, digest from activations
        where id < past.counts order by id desc limit 1) before
), candidates (counts, digest) as (
    select counts, digest from past
    union all select 0, null where $1 <> ''
)
select c.counts, c.digest from candidates c, now_active n
where c.digest is distinct from n.digest order by c.counts desc limit 1
