-- The receipt of an erasure counts all objects that it deleted, also those of a pass that was
-- interrupted. A task therefore notes what it finds before it deletes it.

alter table tasks add column objects_found bigint[],
    add column objects_counted integer not null default 0;
comment on column tasks.objects_found is 'delete-images, retire-images: a digest of the name of each object that was found to be deleted, in all passes';
comment on column tasks.objects_counted is 'delete-images: how many of these the receipt counts already';

-- For the roles that work on tasks.
do $do$
declare
    grantee text;
begin
    for grantee in
        select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
        where c.oid = 'tasks'::regclass and t.attname = 'lease_token'
            and a.privilege_type = 'UPDATE' and a.grantee <> c.relowner
    loop
        execute format('grant update (objects_found, objects_counted) on tasks to %s', grantee);
    end loop;
end $do$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261202000101;
