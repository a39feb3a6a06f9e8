-- The event log: every decision and every other change that callers learn of, numbered without
-- gaps, in the order of each verification's history.
--
-- A decision is its own event: it stores the id of its transaction, and nothing else is written
-- with it. Triggers note the other events, so the log also has the changes of binaries that do not
-- know of events. One function numbers committed events. It compares its snapshot with the previous
-- one. So a transaction that commits late is neither skipped, nor does it delay others.

lock table verifications, decisions, policy_activations in share row exclusive mode;

alter table decisions add column xid xid8;
-- In two steps, so that earlier decisions have none and the table is not rewritten.
alter table decisions alter column xid set default pg_current_xact_id();
comment on column decisions.xid is 'The transaction that wrote it, which shows whether its event can be numbered; null: from before there were events';

create table event_notes (
    position        bigint      primary key default nextval('decisions_position_seq'),
    xid             xid8        not null default pg_current_xact_id(),
    id              uuid        not null default gen_random_uuid(),
    kind            text        not null,
    verification_id uuid,
    decision_id     uuid,
    at              timestamptz not null,
    details         jsonb
);
create unique index event_notes_id on event_notes (id);
create index event_notes_xid on event_notes (xid);
create index event_notes_of on event_notes (verification_id, position) where verification_id is not null;
comment on table event_notes is 'Events that are not decisions, written by triggers in the transaction of the change; append-only';
comment on column event_notes.position is 'Order of writing, from the sequence that decisions use: within one verification the true order of its history';
comment on column event_notes.xid is 'The transaction that wrote it, which shows whether it can be numbered';
comment on column event_notes.id is 'The id of the event for callers';
comment on column event_notes.kind is 'verification.failed, verification.expired, verification.erased, policy.activated, endpoint.failing, endpoint.disabled';
comment on column event_notes.verification_id is 'For verification.*: the verification';
comment on column event_notes.decision_id is 'For verification.*: the decision that was current then';
comment on column event_notes.at is 'When it happened';
comment on column event_notes.details is 'For other events: the data of the body';
create trigger event_notes_append_only before update on event_notes
    for each row execute function verdict_append_only();

create table events (
    logged_on             date        not null,
    number                bigint      not null,
    kind                  text        not null,
    verification_id       uuid,
    verification_sequence integer,
    decision_id           uuid,
    with_reference        boolean     not null,
    at                    timestamptz not null,
    id                    uuid,
    details               jsonb,
    primary key (logged_on, number)
) partition by range (logged_on);
create index events_of on events (verification_id) where verification_id is not null;
create index events_by_id on events (id) where id is not null;
comment on table events is 'The event log: one row per event, by week; append-only. The rest of a body is read from verifications and decisions, which do not change';
comment on column events.logged_on is 'The day of numbering, never earlier than the day of the previous event';
comment on column events.number is 'From 1, without gaps, over all epochs';
comment on column events.kind is 'verification.decided, or as in event_notes';
comment on column events.verification_id is 'For verification.*: the verification';
comment on column events.verification_sequence is 'From 1, without gaps, within the verification';
comment on column events.decision_id is 'The decision that the event reports, or that was current';
comment on column events.with_reference is 'The verification had its reference when the event was numbered. A reference that is added later does not change the body';
comment on column events.at is 'When it happened';
comment on column events.id is 'The id of the event for callers; null: it is the id of the decision';
comment on column events.details is 'For events other than verification.*: the data of the body';

create table event_weeks (
    starts       date   primary key,
    first_number bigint not null unique
);
comment on table event_weeks is 'The numbers that each partition of the event log has';
comment on column event_weeks.starts is 'The first day of the partition, a Monday';
comment on column event_weeks.first_number is 'The number of its first event';

create table event_log (
    whole     boolean     primary key default true check (whole),
    number    bigint      not null default 0,
    oldest    bigint      not null default 1,
    logged_on date        not null default '-infinity',
    seen      pg_snapshot not null default pg_current_snapshot(),
    target    pg_snapshot,
    done      bigint      not null default 0,
    floor     bigint      not null default 0
) with (fillfactor = 10);
comment on table event_log is 'The state of the event log: one row, locked by the process that numbers events';
comment on column event_log.whole is 'Always true, so that there is one row';
comment on column event_log.number is 'The number of the newest event';
comment on column event_log.oldest is 'The number of the oldest event that is kept';
comment on column event_log.logged_on is 'The day of the newest event';
comment on column event_log.seen is 'Everything visible in this snapshot is numbered';
comment on column event_log.target is 'While a backlog is numbered in several batches: the snapshot up to which they number';
comment on column event_log.floor is 'Everything up to this position was numbered when the current epoch began. A restored database has transaction ids of another server';
comment on column event_log.done is 'While a backlog is numbered in several batches: the position that they have reached';
insert into event_log default values;

create table event_epochs (
    epoch    uuid        primary key,
    after    bigint      not null unique,
    began_at timestamptz not null
);
comment on table event_epochs is 'Callers see numbers that start at 1 in each epoch. A restored database lacks events that callers have had, and would give their numbers to other events';
comment on column event_epochs.epoch is 'The id of the epoch';
comment on column event_epochs.after is 'Events after this number belong to it';
comment on column event_epochs.began_at is 'When it began';
insert into event_epochs values (gen_random_uuid(), 0, now());

-- These functions run with their owner's rights, so that no role can write an event that did not
-- happen. Names must not resolve in a schema where other roles can create objects: pg_temp comes
-- last.
do $migration$
begin
    execute format($create$
        create function %1$I.verdict_note_verification() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            insert into event_notes (kind, verification_id, decision_id, at)
            values ('verification.' || new.state, new.id, new.decision_id, new.updated_at);
            return null;
        end $body$;
        create function %1$I.verdict_note_activation() returns trigger
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        begin
            if new.kind = 'active' then
                insert into event_notes (kind, at, details)
                values ('policy.activated', new.activated_at, jsonb_build_object(
                    'policy', new.digest, 'biz_type', nullif(new.biz_type, ''),
                    'actor', new.activated_by));
            end if;
            return null;
        end $body$;
        create function %1$I.verdict_event_week(day date) returns date
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            starts date := date_trunc('week', day)::date;
            week text := 'events_' || to_char(day, 'IYYY"w"IW');
        begin
            if to_regclass(week) is not null then
                return starts;
            end if;
            -- Creating the table first and then attaching it waits for no reader.
            execute format('create table %1$I.%%I (like events including all)', week);
            execute format('comment on table %%I is %%L', week, 'One week of the event log');
            execute format('alter table events attach partition %%I for values from (%%L) to (%%L)',
                week, starts, starts + 7);
            return starts;
        end $body$;
        create function %1$I.verdict_append_events(ids uuid[]) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            day date;
        begin
            select * into log from event_log for update;
            if cardinality(ids) = 0 then
                return log.number;
            end if;
            day := greatest((verdict_now() at time zone 'utc')::date, log.logged_on);
            perform verdict_event_week(day), verdict_event_week(day + 7);
            insert into event_weeks values (date_trunc('week', day)::date, log.number + 1)
            on conflict (starts) do nothing;
            insert into events (logged_on, number, kind, verification_id, verification_sequence,
                decision_id, with_reference, at, id, details)
            select day, log.number + u.place, coalesce(u.kind, 'verification.decided'),
                u.verification_id, case when u.verification_id is not null then 1
                    + (select count(*) from decisions d
                        where d.verification_id = u.verification_id
                            and d.position < u.position and d.xid is not null)
                    + (select count(*) from event_notes n
                        where n.verification_id = u.verification_id
                            and n.position < u.position) end,
                u.decision_id,
                coalesce((select v.reference is not null from verifications v
                    where v.id = u.verification_id), false),
                u.at, u.note_id, u.details
            from (
                select i.place, n.kind, n.id as note_id, n.details,
                    coalesce(d.position, n.position) as position,
                    coalesce(d.verification_id, n.verification_id) as verification_id,
                    coalesce(d.id, n.decision_id) as decision_id, coalesce(d.decided_at, n.at) as at
                from unnest(ids) with ordinality as i (id, place)
                    left join decisions d on d.id = i.id
                    left join event_notes n on n.id = i.id
            ) u;
            update event_log set number = number + cardinality(ids), logged_on = day;
            return log.number + cardinality(ids);
        end $body$;
        create function %1$I.verdict_number_events(most integer) returns integer
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            upto pg_snapshot;
            last bigint;
            ids uuid[];
            given integer;
        begin
            select * into log from event_log;
            if pg_snapshot_xmax(log.seen) > pg_snapshot_xmax(pg_current_snapshot()) then
                raise exception 'the event log comes from another server: run `verdict events new-epoch`'
                    using errcode = 'object_not_in_prerequisite_state';
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
        create function %1$I.verdict_begin_epoch(new_epoch uuid, at timestamptz) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            lower bigint;
        begin
            -- The lock waits for open writes. After it everything written is visible, and numbered
            -- or not.
            lock table decisions, event_notes in share row exclusive mode;
            select * into log from event_log for update;
            if pg_snapshot_xmax(log.seen) <= pg_snapshot_xmax(pg_current_snapshot()) then
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
                floor = (select last_value from decisions_position_seq)
            returning number into log.number;
            insert into event_epochs (epoch, after, began_at) values (new_epoch, log.number, at)
            on conflict (after) do update set epoch = excluded.epoch, began_at = excluded.began_at;
            return log.number;
        end $body$;
        create function %1$I.verdict_drop_events(days integer, up_to bigint) returns bigint
            language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            log event_log%%rowtype;
            week record;
        begin
            -- Give up early: while this waits for a long reader, all others would wait behind it.
            set local lock_timeout = '1s';
            select * into log from event_log for update;
            for week in
                select * from (
                    select starts, first_number,
                        lead(first_number) over (order by starts) as next_number
                    from event_weeks) w
                where w.next_number is not null and w.next_number - 1 <= up_to
                    and w.starts + 7 <= (verdict_now() at time zone 'utc')::date - days
                order by starts
            loop
                execute format('drop table if exists %%I', 'events_' || to_char(week.starts, 'IYYY"w"IW'));
                delete from event_weeks where starts = week.starts;
                log.oldest := week.next_number;
            end loop;
            update event_log set oldest = log.oldest where oldest <> log.oldest;
            return log.oldest;
        end $body$; $create$, current_schema());
end $migration$;
comment on function verdict_note_verification() is 'Notes that a verification failed, expired or was erased, for the event log';
comment on function verdict_note_activation() is 'Notes that a policy was activated, for the event log';
comment on function verdict_event_week(date) is 'Creates the partition of the event log for the week of this day';
comment on function verdict_append_events(uuid[]) is 'Gives the next numbers to these decisions and notes, in this order; returns the newest number';
comment on function verdict_begin_epoch(uuid, timestamptz) is 'Numbers events without a number, and begins a new epoch; returns the number after which it begins';
comment on function verdict_number_events(integer) is 'Numbers at most this many committed events; returns how many, also 0 while another process numbers';
comment on function verdict_drop_events(integer, bigint) is 'Drops the weeks of the event log that ended at least this many days ago and have no event after this number; returns the oldest number that is left';

revoke all on function verdict_note_verification(), verdict_note_activation(),
    verdict_event_week(date), verdict_append_events(uuid[]), verdict_number_events(integer),
    verdict_begin_epoch(uuid, timestamptz), verdict_drop_events(integer, bigint) from public;

create trigger verifications_event after update of state on verifications
    for each row when (new.state <> old.state and new.state in ('failed', 'expired', 'erased'))
    execute function verdict_note_verification();
create trigger policy_activations_event after insert on policy_activations
    for each row execute function verdict_note_activation();

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261127000001;
