-- The budget leaves the account's row. Every claim writes it, and a row that is always found by the
-- same key is found through all its dead versions, which one open transaction anywhere keeps:
-- after ten minutes, tens of thousands. Here every draw gives the row a new key, and a look-up
-- comes from the newest end.

create table budgets (
    account  text        not null,
    draws    bigint      not null default 0,
    spent_to timestamptz not null default '-infinity',
    primary key (account, draws)
) with (fillfactor = 10);
comment on table budgets is 'One account''s calls per second, shared by all replicas: one live row each';
comment on column budgets.account is 'Name of the account';
comment on column budgets.draws is 'How often it was drawn from; part of the key, so that the newest version is found first';
comment on column budgets.spent_to is 'GCRA theoretical arrival time: up to when the budget is spent';

insert into budgets (account, spent_to) select account, spent_to from accounts;
alter table accounts drop column spent_to;
comment on table accounts is 'One account at the provider: the breaker that all replicas share, and the lock under which they draw from its budget';
