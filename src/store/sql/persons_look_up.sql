/* verdict persons::look_up */
with named as materialized (
    select verification_id as id from material where person = $1
    union select verification_id from starts where person = $1
), found as (
    -- A start and the verification that answers for it are one session.
    select array(
        select id from named
        union select v.answered_by from verifications v
            where v.id = any (array(select id from named)) and v.answered_by is not null
        union select v.id from verifications v
            where v.answered_by = any (array(select id from named))
        order by 1) as ids
), recorded as (
    insert into audit (at, actor, action, purpose, details)
    select $2, $3, 'person.look-up', $4, json_build_object('found', cardinality(ids))::text
    from found returning 1
)
select ids from found, recorded
