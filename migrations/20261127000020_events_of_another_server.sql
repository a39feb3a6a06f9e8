-- A log that came with a dump from another server waits for a new epoch, even once this server's
-- transaction ids have passed those in the log.

alter table event_log add column elsewhere boolean not null default false;
comment on column event_log.elsewhere is 'The log came with a dump from another server: nothing is numbered until the next epoch begins';

do $migration$
begin
    execute format($create$
        create or replace function %1$I.verdict_number_events(most integer) returns integer
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            upto pg_snapshot;
            last bigint;
            ids uuid[];
            given integer;
        begin
            select * into log from event_log;
            -- Ids of transactions that are yet to come: those of another server. This is kept,
            -- because this server's ids will pass them.
            if not log.elsewhere
                and pg_snapshot_xmax(log.seen) > pg_snapshot_xmax(pg_current_snapshot())
            then
                update event_log set elsewhere = true returning elsewhere into log.elsewhere;
            end if;
            if log.elsewhere then
                return -1;
            end if;
            if log.target is null
                and not exists (select from decisions where xid >= pg_snapshot_xmax(log.seen)
                    and position > log.floor)
                and not exists (select from event_notes where xid >= pg_snapshot_xmax(log.seen)
                    and position > log.floor)
                and not exists (select from decisions
                    where xid = any (array(select pg_snapshot_xip(log.seen))))
                and not exists (select from event_notes
                    where xid = any (array(select pg_snapshot_xip(log.seen))))
            then
                return 0;
            end if;
            -- One process at a time. Each statement from here on sees what was committed before it
            -- began.
            select * into log from event_log for update skip locked;
            if not found then
                return 0;
            end if;
            select coalesce(log.target, pg_current_snapshot()) into upto;
            select array_agg(id order by position), count(*), max(position) into ids, given, last
            from (
                select position, id from (
                    select position, xid, id from decisions
                    where xid >= pg_snapshot_xmax(log.seen)
                    union all
                    select position, xid, id from decisions
                    where xid = any (array(select pg_snapshot_xip(log.seen)))
                    union all
                    select position, xid, id from event_notes
                    where xid >= pg_snapshot_xmax(log.seen)
                    union all
                    select position, xid, id from event_notes
                    where xid = any (array(select pg_snapshot_xip(log.seen)))) written
                where position > log.floor and position > log.done
                    and pg_visible_in_snapshot(xid, upto)
                order by position limit most) unnumbered;
            if given > 0 then
                perform verdict_append_events(ids);
            end if;
            update event_log set
                seen = case when given = most then log.seen else upto end,
                target = case when given = most then upto end,
                done = case when given = most then last else 0 end;
            return given;
        end $body$;
        create or replace function %1$I.verdict_begin_epoch(new_epoch uuid, at timestamptz) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            lower bigint;
        begin
            -- The lock waits for open writes. After it everything written is visible, and numbered
            -- or not.
            lock table decisions, event_notes in share row exclusive mode;
            select * into log from event_log for update;
            if not log.elsewhere
                and pg_snapshot_xmax(log.seen) <= pg_snapshot_xmax(pg_current_snapshot())
            then
                while verdict_number_events(10000) > 0 loop
                end loop;
            else
                -- Restored from a dump: the ids of transactions mean nothing here. So search for
                -- rows without an event, starting from the oldest event that is kept.
                lower := greatest(log.floor, (
                    select min(coalesce(d.position, n.position)) - 1
                    from events e
                        left join decisions d on e.id is null and d.id = e.decision_id
                        left join event_notes n on n.id = e.id
                    where log.oldest > 1 and e.number < log.oldest + 10000));
                perform verdict_append_events(array(
                    select id from (
                        select position, id from decisions d
                        where xid is not null and position > lower
                            and not exists (select from events e
                                where e.verification_id = d.verification_id
                                    and e.decision_id = d.id and e.id is null)
                        union all
                        select position, id from event_notes n
                        where position > lower
                            and not exists (select from events e where e.id = n.id)) unnumbered
                    order by position));
            end if;
            update event_log set seen = pg_current_snapshot(), target = null, done = 0,
                elsewhere = false,
                floor = (select last_value from decisions_position_seq)
            returning number into log.number;
            insert into event_epochs (epoch, after, began_at) values (new_epoch, log.number, at)
            on conflict (after) do update set epoch = excluded.epoch, began_at = excluded.began_at;
            return log.number;
        end $body$; $create$, current_schema());
end $migration$;
comment on function verdict_number_events(integer) is 'Numbers at most this many committed events; returns how many, also 0 while another process numbers, -1 if the log comes from another server';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261127000020;
