/* verdict history::find_last_about_persons */
-- Bounded: of the verifications that share a reference, it reads the 200 newest.
select a.id
from unnest($1::uuid[], $2::uuid[]) as a (id, verification_id)
join verifications v on v.id = a.verification_id
where not exists (
    select from decisions later
    where later.verification_id = a.verification_id and later.decided_by = 'policy'
        and later.result_id > a.id and later.result_id <= $3
) and not exists (
    select from (
        select o.id, o.biz_type, o.source, o.state from verifications o
        where o.reference = v.reference and o.id <= $3
        order by o.id desc limit 200) other, decisions later
    where other.id <> a.verification_id and other.source is not distinct from v.source
        and ($4::text is null or other.biz_type = $4) and other.state <> 'erased'
        and later.verification_id = other.id and later.decided_by = 'policy'
        and later.result_id > a.id and later.result_id <= $3
)
