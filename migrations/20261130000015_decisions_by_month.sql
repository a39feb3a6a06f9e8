-- As 20261130000014 does with results.

lock table decisions, event_notes in access exclusive mode;

drop trigger decisions_append_only on decisions;
drop trigger decisions_case on decisions;
drop trigger decisions_person_has_reviewed on decisions;
drop trigger decisions_simulated on decisions;
alter index decisions_of rename to decisions_before_of;
alter index decisions_by_transaction rename to decisions_before_by_transaction;
alter index decisions_not_approved rename to decisions_before_not_approved;

-- The identity moves to the partitioned table: a partition may not have one (Postgres 17). Its
-- sequence is dropped with it, and a new one of the same name continues from the same number.
alter table event_notes alter column position drop default;
do $do$
declare
    reached record;
begin
    select last_value, is_called into reached from decisions_position_seq;
    alter table decisions alter column position drop identity;
    perform verdict_into_months('decisions',
        'One decision; append-only: the newest stands; by the month in its id');
    alter table decisions alter column position add generated always as identity
        (sequence name decisions_position_seq);
    perform setval('decisions_position_seq', reached.last_value, reached.is_called);
end $do$;
alter table event_notes alter column position set default nextval('decisions_position_seq');

create index decisions_of on decisions (verification_id, position);
create index decisions_by_transaction on decisions (xid) where xid is not null;
create index decisions_not_approved on decisions (outcome, verification_id) where outcome <> 'approve';
create trigger decisions_append_only before update on decisions
    for each row execute function verdict_only_erasure_edits('decisions');
create trigger decisions_case after insert on decisions
    for each row when (new.outcome = 'review') execute function verdict_open_case();
create constraint trigger decisions_person_has_reviewed after insert on decisions
    deferrable initially deferred
    for each row when (new.decided_by = 'person')
    execute function verdict_person_has_reviewed();
create trigger decisions_simulated before insert on decisions
    for each row when (new.decided_by = 'person')
    execute function verdict_person_decides_simulated();

drop function verdict_into_months(text, text);

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261130000015;
