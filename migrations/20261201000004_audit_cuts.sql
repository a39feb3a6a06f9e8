-- Segments of the audit: a new one each month, and old ones dropped. A signed cut and the digests of
-- the dropped rows remain, so that the chain can be verified across a drop.

create table audit_cuts (
    position bigint      primary key,
    digest   bytea       not null check (octet_length(digest) = 32),
    at       timestamptz not null,
    leaves   bytea       not null check (octet_length(leaves) = 32),
    mac      bytea       not null check (octet_length(mac) = 32)
);
comment on table audit_cuts is 'The rows up to a position were dropped by retention: what they were, under a key that the database does not hold in the clear';
comment on column audit_cuts.position is 'Position of the newest dropped row';
comment on column audit_cuts.digest is 'Its digest, which the first kept row continues';
comment on column audit_cuts.at is 'When it was signed';
comment on column audit_cuts.leaves is 'SHA-256 over the digests of all rows up to it, folded from the first on';
comment on column audit_cuts.mac is 'HMAC-SHA-256 over all of that by the installation''s audit key';

create table audit_leaves (
    position bigint primary key,
    digest   bytea  not null
);
comment on table audit_leaves is 'The digest of each row of the audit that was dropped by retention';
comment on column audit_leaves.position is 'Position of the row';
comment on column audit_leaves.digest is 'Its digest';

create trigger audit_cuts_append_only before update or delete on audit_cuts
    for each row execute function verdict_append_only();
create trigger audit_cuts_not_truncated before truncate on audit_cuts
    for each statement execute function verdict_append_only();
create trigger audit_leaves_append_only before update or delete on audit_leaves
    for each row execute function verdict_append_only();
create trigger audit_leaves_not_truncated before truncate on audit_leaves
    for each statement execute function verdict_append_only();

do $migration$
begin
    execute format($create$
        create function %1$I.verdict_turn_audit() returns boolean
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            head audit_head;
            month constant timestamp := date_trunc('month', verdict_now() at time zone 'utc');
            name text;
        begin
            -- Asked without a lock first: nearly always the segment is of this month.
            if (select segment_since >= month at time zone 'utc' from audit_head) then
                return false;
            end if;
            -- Writers that are under way know only the partitions of now, so none may be. Others wait,
            -- some milliseconds. While this waits for a long writer, they wait behind it, so it gives
            -- up early. Readers go on.
            perform set_config('lock_timeout', '500ms', true);
            lock table only audit in share row exclusive mode;
            select * into head from audit_head for update;
            if head.segment_since >= month at time zone 'utc' then
                return false;
            end if;
            if not exists (select from audit where segment = head.segment) then
                update audit_head set segment_since = verdict_now();
                return false;
            end if;
            name := 'audit_segment_' || head.segment + 1;
            execute format('create table %1$I.%%I (like audit including comments including storage '
                'including compression, primary key (position))', name);
            execute format('comment on table %1$I.%%I is %%L', name, 'The rows of one segment of audit');
            execute format('create trigger audit_not_truncated before truncate on %1$I.%%I '
                'for each statement execute function verdict_append_only(''audit'')', name);
            execute format('alter table audit attach partition %1$I.%%I for values in (%%L)', name,
                head.segment + 1);
            update audit_head set segment = head.segment + 1, segment_since = verdict_now();
            return true;
        end $body$;
        create function %1$I.verdict_cut_audit(cut_segment integer, days integer, cut_position bigint,
            cut_digest bytea, signed_at timestamptz, cut_leaves bytea, cut_mac bytea) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            before bigint;
            newest record;
            counted bigint;
            name text;
        begin
            if days is null or days < 183 then
                raise exception 'the audit is kept for half a year at least'
                    using errcode = 'restrict_violation';
            end if;
            -- One process at a time.
            perform set_config('lock_timeout', '500ms', true);
            lock table audit_cuts in share row exclusive mode;
            name := (select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'audit'::regclass
                    and pg_get_expr(c.relpartbound, c.oid) = format('FOR VALUES IN (%%s)', cut_segment));
            if name is null then
                return null;
            end if;
            select a.position, a.digest, a.at into newest from audit a
                where a.segment = cut_segment order by a.position desc limit 1;
            if newest.at is null or newest.at >= verdict_now() - make_interval(days => days)
                or cut_segment >= (select h.segment from audit_head h)
            then
                raise exception 'a segment of the audit is dropped when it is closed and all of it is older than its clock'
                    using errcode = 'restrict_violation';
            end if;
            -- As long as a person's data is kept, so is the record of who read or changed it. A legal
            -- hold keeps a person from being erased, and so keeps the segment.
            if exists (select from audit a join verifications v on v.id = a.subject
                    where a.segment = cut_segment and v.state <> 'erased')
                or exists (select from erasures e where e.completed_at is null and exists (
                    select from audit a where a.segment = cut_segment and a.subject = e.verification_id))
            then
                return -1;
            end if;
            before := (select coalesce(max(c.position), 0) from audit_cuts c);
            insert into audit_leaves (position, digest)
                select a.position, a.digest from audit a where a.segment = cut_segment;
            get diagnostics counted = row_count;
            -- All rows since the cut before, and no others.
            if cut_position is distinct from newest.position or cut_digest is distinct from newest.digest
                or counted <> cut_position - before
                or (select min(a.position) from audit a) is distinct from before + 1
            then
                raise exception 'a cut is of the oldest rows, without a gap'
                    using errcode = 'restrict_violation';
            end if;
            insert into audit_cuts (position, digest, at, leaves, mac)
            values (cut_position, cut_digest, signed_at, cut_leaves, cut_mac);
            -- Readers and writers wait from here on, some milliseconds. Before the new row, which locks the end
            -- of the chain: writers take the two in this order.
            lock table audit in access exclusive mode;
            insert into audit (at, actor, action, purpose, details)
            values (verdict_now(), 'service', 'retention.drop', 'retention.audit_days',
                json_build_object('partition', name, 'from', before + 1, 'until', cut_position,
                    'rows', counted)::text);
            execute format('drop table %1$I.%%I', name);
            return counted;
        end $body$;
        create function %1$I.verdict_audit_reach()
            returns table (segment_since timestamptz, has_partition boolean)
            language sql stable security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
            select h.segment_since, exists (
                select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'audit'::regclass
                    and pg_get_expr(c.relpartbound, c.oid) = format('FOR VALUES IN (%%s)', h.segment))
            from audit_head h
        $body$;
    $create$, current_schema());
end $migration$;
comment on function verdict_audit_reach() is 'When the open segment of the audit was opened, and whether it has its partition';
comment on function verdict_turn_audit() is 'Opens a new segment of the audit if the open one has rows and is of an earlier month; tells whether it did';
comment on function verdict_cut_audit(integer, integer, bigint, bytea, timestamptz, bytea, bytea) is 'Drops the oldest segment of the audit, all of it older than this many days, and keeps a cut and the digests of its rows; returns how many: -1 if a person whose data is kept needs it, null if it is gone';
revoke all on function verdict_audit_reach(), verdict_turn_audit(), verdict_cut_audit(integer, integer, bigint, bytea, timestamptz, bytea, bytea) from public;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261201000004;
