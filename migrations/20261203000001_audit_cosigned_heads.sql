-- The newest head of the audit's tree that each witness signed. A witness keeps its own copy on another
-- machine, so a superuser who changes this table changes nothing that counts.

create table audit_cosigned_heads (
    witness     text        not null check (witness <> ''),
    origin      text        not null check (origin <> ''),
    size        bigint      not null check (size > 0),
    root        bytea       not null check (octet_length(root) = 32),
    cosigned_at timestamptz not null,
    note        text        not null,
    primary key (witness, origin)
);
comment on table audit_cosigned_heads is 'The newest head of the tree over the audit that a witness signed, one row for each key of a witness and name of the log';
comment on column audit_cosigned_heads.witness is 'Name and id of the key of the witness';
comment on column audit_cosigned_heads.origin is 'Name of the log in the head (audit.origin): a new name begins a new log, which may have fewer rows';
comment on column audit_cosigned_heads.size is 'Position of the newest row of the audit in the head';
comment on column audit_cosigned_heads.root is 'Root of the tree over the digests of the rows up to it (RFC 9162)';
comment on column audit_cosigned_heads.cosigned_at is 'When the witness signed, by its clock';
comment on column audit_cosigned_heads.note is 'The head as a signed note: signed by the log and by the witness';

create function verdict_head_grows() returns trigger language plpgsql as $$
begin
    if new.witness <> old.witness or new.origin <> old.origin or new.size < old.size
        or new.size = old.size and new.root <> old.root
    then
        raise exception 'a head of the audit is replaced by one that continues it'
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
comment on function verdict_head_grows() is 'Refuses a head with fewer rows, or with another root for as many';
create trigger audit_cosigned_heads_grow before update on audit_cosigned_heads
    for each row execute function verdict_head_grows();
create trigger audit_cosigned_heads_append_only before delete on audit_cosigned_heads
    for each row execute function verdict_append_only();
create trigger audit_cosigned_heads_not_truncated before truncate on audit_cosigned_heads
    for each statement execute function verdict_append_only();

do $migration$
declare
    worker text;
begin
    execute format('alter function verdict_head_grows() set search_path = pg_catalog, %I, pg_temp',
        current_schema());
    revoke all on function verdict_head_grows() from public;
    -- The roles that may cut the audit are those of workers, which ask the witnesses.
    for worker in
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_proc p, aclexplode(p.proacl) a
        where p.oid = 'verdict_cut_audit(integer, integer, bigint, bytea, timestamptz, bytea, bytea)'::regprocedure
            and a.grantee <> p.proowner
    loop
        execute format('grant select on audit_leaves to %s', worker);
        execute format('grant select, insert (witness, origin, size, root, cosigned_at, note),
            update (size, root, cosigned_at, note) on audit_cosigned_heads to %s', worker);
    end loop;
end $migration$;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261203000001;
