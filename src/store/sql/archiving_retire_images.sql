/* verdict archiving::retire_images */
with old as (
    select result_id from images i
    where settled_at < $1 and not exists (select from tasks where id = i.result_id)
        and not exists (
            select from legal_holds where verification_id = i.verification_id and lifted_at is null)
    order by settled_at limit $2
), deleted as (
    delete from images
    where result_id = any (array(select result_id from old)) and settled_at < $1
    returning result_id, verification_id, state
), tasked as (
    insert into tasks (id, kind, verification_id, created_at, deadline, due_at)
    select distinct result_id, 'retire-images', verification_id, verdict_now(),
        verdict_now(), verdict_now()
    from deleted where state = 'archived'
    on conflict (id) do nothing
)
select count(*) from deleted
