-- `audit` becomes partitioned by segment. The table of before becomes its first partition,
-- `audit_before`. Nothing is copied: the lock is held for some milliseconds.
--
-- The segment of a new row comes from a column default, because a trigger for each row runs only
-- after Postgres has chosen the partition. The default locks the end of the chain, so the segment
-- cannot change before the trigger gives the row its place.

lock table audit in access exclusive mode;

drop trigger audit_link on audit;
drop trigger audit_append_only on audit;
drop trigger audit_not_truncated on audit;
-- Bound to the type of the table, which is about to be that of a partition.
drop function verdict_audit_digest(audit);
alter index audit_of rename to audit_before_of;
alter table audit rename constraint audit_pkey to audit_before_pkey;
alter table audit rename to audit_before;

create table audit (like audit_before including comments including storage including compression)
    partition by list (segment);
comment on table audit is 'Who read, erased or changed what, and why: append-only, each row chained to the one before; by segment';
comment on table audit_before is 'The rows of audit from before it was partitioned, and those up to the end of segment 0';

-- Roles keep the rights that they had. A role that may add rows may also ask which segment is open.
create function verdict_audit_segment() returns integer language plpgsql security definer as $$
declare
    is_open integer;
begin
    select segment into is_open from audit_head for update;
    return is_open;
end $$;
comment on function verdict_audit_segment() is 'The open segment of the audit; locks the end of the chain, as every new row does';
do $do$
declare
    each_one record;
    own text := (select relowner::regrole::text from pg_class where oid = 'audit_before'::regclass);
begin
    execute format('alter function verdict_audit_segment() set search_path = pg_catalog, %I, pg_temp',
        current_schema());
    revoke all on function verdict_audit_segment() from public;
    for each_one in
        select a.privilege_type as allows, '' as part,
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'audit_before'::regclass and a.grantee <> c.relowner
        union all
        select a.privilege_type, format('(%I)', t.attname),
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_attribute t, aclexplode(t.attacl) a
        where t.attrelid = 'audit_before'::regclass and not t.attisdropped
    loop
        execute format('grant %s %s on audit to %s', each_one.allows, each_one.part, each_one.grantee);
        execute format('revoke all on audit_before from %s', each_one.grantee);
        if each_one.allows = 'INSERT' then
            execute format('grant execute on function verdict_audit_segment() to %s', each_one.grantee);
        end if;
    end loop;
    if own <> quote_ident(current_user) then
        execute format('alter table audit owner to %s', own);
    end if;
end $do$;
alter table audit alter column segment set default verdict_audit_segment();

create index audit_of on audit (subject, position) where subject is not null;
alter table audit attach partition audit_before for values in (0);
alter table audit_before drop constraint audit_before_segment;
-- A row that is added to a partition by its name is refused, whatever its segment.
alter table audit_before alter column segment drop default;

create function verdict_audit_digest(link audit) returns bytea language sql stable
    return sha256(convert_to(
        verdict_netstring(link.position::text)
        || verdict_netstring((extract(epoch from link.at) * 1000000)::bigint::text)
        || verdict_netstring(link.actor) || verdict_netstring(link.action)
        || verdict_netstring(link.subject::text) || verdict_netstring(link.purpose)
        || verdict_netstring(link.details) || verdict_netstring(encode(link.previous, 'hex'))
        || case when link.database_user is null then '' else verdict_netstring(link.database_user) end,
        'UTF8'));
comment on function verdict_audit_digest(audit) is 'What binds one row of the audit to all before it; `verdict audit verify` computes the same';
revoke all on function verdict_audit_digest(audit) from public;

create or replace function verdict_audit_link() returns trigger language plpgsql
    security definer as $$
declare
    head audit_head;
begin
    -- Hung on another table it would give out places in the chain.
    if not exists (select from pg_inherits
        where inhrelid = tg_relid and inhparent = 'audit'::regclass)
    then
        raise exception 'this is for the audit' using errcode = 'restrict_violation';
    end if;
    select * into head from audit_head for update;
    if new.segment is distinct from head.segment then
        raise exception 'rows of the audit are added to its open segment'
            using errcode = 'restrict_violation';
    end if;
    new.position := head.position + 1;
    new.at := verdict_now();
    new.database_user := session_user;
    new.previous := head.digest;
    new.digest := verdict_audit_digest(new);
    update audit_head set position = new.position, digest = new.digest;
    return new;
end $$;
-- A partition has another name than its table, so the argument says which table it is.
create or replace function verdict_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are never edited', coalesce(tg_argv[0], tg_table_name)
        using errcode = 'restrict_violation';
end $$;
do $do$
declare
    name text;
begin
    foreach name in array array['verdict_audit_link', 'verdict_append_only'] loop
        execute format('alter function %I() set search_path = pg_catalog, %I, pg_temp', name,
            current_schema());
    end loop;
end $do$;

create trigger audit_link before insert on audit
    for each row execute function verdict_audit_link();
create trigger audit_append_only before update or delete on audit
    for each row execute function verdict_append_only('audit');
create trigger audit_not_truncated before truncate on audit
    for each statement execute function verdict_append_only('audit');
create trigger audit_not_truncated before truncate on audit_before
    for each statement execute function verdict_append_only('audit');

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261201000003;
