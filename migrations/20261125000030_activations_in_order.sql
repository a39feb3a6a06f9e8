-- Activations become visible in the order of their ids, and a rollback says what it goes back to.

alter table policy_activations add column back_to bigint;
comment on column policy_activations.back_to is 'Of a rollback: the activation that counts again, 0 for none; null: no rollback';

create function verdict_activations() returns setof policy_activations
    language plpgsql volatile as $$
begin
    -- Ids are given while this is held, to the end of the transaction. A statement that waited for
    -- it would still see the table as it was when it began; this function looks anew.
    perform pg_advisory_xact_lock(hashtext('verdict.policies'));
    return query select * from policy_activations;
end $$;
comment on function verdict_activations() is 'All activations, for a statement that adds one: nobody else does until it has committed';

create function verdict_newest_activation() returns bigint language plpgsql volatile as $$
begin
    -- Shared: many may decide by what is in use, and none of it changes until they have committed.
    perform pg_advisory_xact_lock_shared(hashtext('verdict.policies'));
    return (select coalesce(max(id), 0) from policy_activations);
end $$;
comment on function verdict_newest_activation() is 'The newest change of what is used, which stays the newest until this transaction ends';

-- Backtests go through answers now, not through decisions: those under way begin anew.
alter table backtests
    add column looked_at bigint not null default 0,
    add column roughly bigint not null default 0;
comment on column backtests.after is 'How far it has come: the last answer seen';
comment on column backtests.looked_at is 'Answers seen so far, of all scenes';
comment on column backtests.roughly is 'Answers there were to be seen, as Postgres estimated when it was asked for';
update backtests set after = '00000000-0000-0000-0000-000000000000', comparison = '{}'
    where state = 'running';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261125000030;
