-- Each partition that retention drops leaves a row here, so that the timeline of a verification can say
-- what is missing and why. The rows of the audit about it are no help: they are dropped, too, and only
-- their position has an index.

create table retention_drops (
    id         bigint      generated always as identity primary key,
    kind       text        not null check (kind in ('results', 'decisions', 'audit')),
    partition  text        not null,
    since      timestamptz,
    until      timestamptz not null,
    days       integer     not null,
    dropped_at timestamptz not null
);
comment on table retention_drops is 'A partition that retention has dropped';
comment on column retention_drops.id is 'In the order of dropping';
comment on column retention_drops.kind is 'The table';
comment on column retention_drops.partition is 'The name that the partition had';
comment on column retention_drops.since is 'Its rows were of this time or later; null: of any time before until';
comment on column retention_drops.until is 'Its rows were of before this time, those of the audit of this time at the latest';
comment on column retention_drops.days is 'For how many days rows were kept at least';
comment on column retention_drops.dropped_at is 'When it was dropped, by the database''s clock';
create trigger retention_drops_append_only before update or delete on retention_drops
    for each row execute function verdict_append_only();
create trigger retention_drops_not_truncated before truncate on retention_drops
    for each statement execute function verdict_append_only();

do $migration$
declare
    reader text;
begin
    execute format($create$
        create function %1$I.verdict_time_of_id(id uuid) returns timestamptz
            language sql immutable set search_path = pg_catalog, %1$I, pg_temp as $body$
            select to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
        $body$;
        create or replace function %1$I.verdict_drop_month(parent text, month text, days integer) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            -- Of a verification that is not erased nothing is dropped. So its decision stays
            -- explainable, and a legal hold, which keeps it from being erased, keeps its months.
            live text := format('select exists (select from %%I r where not exists (
                select from verifications v where v.id = r.verification_id and v.state = ''erased''))', month);
            bounds record;
            needed boolean;
            dropped bigint;
        begin
            if parent not in ('results', 'decisions') or days < 1 then
                raise exception 'months of results and decisions are kept for a day at least'
                    using errcode = 'restrict_violation';
            end if;
            -- One process at a time. While this waits for a long reader, others wait behind it, so it
            -- gives up early.
            perform set_config('lock_timeout', '500ms', true);
            execute format('lock table only %%I in share update exclusive mode', parent);
            select m.lower, m.upper into bounds from verdict_months(parent) m where m.name = month;
            if not found then
                return null;
            end if;
            if not exists (select from verdict_old_months(parent, days) m where m.name = month) then
                raise exception 'a month is dropped when all of it is older than its clock'
                    using errcode = 'restrict_violation';
            end if;
            -- The bodies of events are read from decisions, also that of a later erasure.
            if parent = 'decisions' and ((select elsewhere from event_log) or exists (
                select from events where decision_id < bounds.upper
                    and decision_id >= coalesce(bounds.lower, '00000000-0000-0000-0000-000000000000')))
            then
                return -1;
            end if;
            execute live into needed;
            if needed then
                return -1;
            end if;
            -- And again when nothing can come any more. Only late writers and erasures of this month wait.
            execute format('lock table %%I in share mode', month);
            execute live into needed;
            if needed then
                return -1;
            end if;
            execute format('select count(*) from %%I', month) into dropped;
            insert into audit (at, actor, action, purpose, details)
            values (verdict_now(), 'service', 'retention.drop', 'retention.' || parent || '_days',
                json_build_object('partition', month, 'from', bounds.lower, 'until', bounds.upper,
                    'rows', dropped)::text);
            insert into retention_drops (kind, partition, since, until, days, dropped_at)
            values (parent, month, verdict_time_of_id(bounds.lower), verdict_time_of_id(bounds.upper),
                days, verdict_now());
            execute format('drop table %%I', month);
            return dropped;
        end $body$;
        create or replace function %1$I.verdict_cut_audit(cut_segment integer, days integer, cut_position bigint,
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
            insert into retention_drops (kind, partition, until, days, dropped_at)
            values ('audit', name, newest.at, days, verdict_now());
            execute format('drop table %1$I.%%I', name);
            return counted;
        end $body$;
    $create$, current_schema());
    -- Roles that read timelines can read erasures.
    for reader in
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end
        from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'erasures'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
    loop
        execute format('grant select on retention_drops to %s', reader);
    end loop;
end $migration$;
comment on function verdict_time_of_id(uuid) is 'The time in an id of version 7';
revoke all on function verdict_time_of_id(uuid) from public;

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261202000102;
