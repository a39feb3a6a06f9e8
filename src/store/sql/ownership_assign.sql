/* verdict ownership::assign */
with claimants as (
    select distinct on (biz_type, biz_id) * from unnest($1::text[], $2::text[],
        $3::text[], $4::timestamptz[]) with ordinality
        as t (biz_type, biz_id, source, at, ord)
    order by biz_type, biz_id, ord
), locked as materialized (
    select v.id, c.source as claimant,
        v.callbacks = 0 or v.created_at > c.at - interval '1 day' as is_free
    from claimants c join verifications v using (biz_type, biz_id)
    where v.source is null
    order by biz_type, biz_id for no key update of v
), owned as (
    select id, coalesce(
        (select source from callbacks where verification_id = locked.id
         order by received_at, source, message_id limit 1),
        case when is_free then claimant end) as source
    from locked
)
update verifications v set source = owned.source from owned
where v.id = owned.id and v.source is null and owned.source is not null
