-- A backtest may end before a time, and sees the results that there were when it was started. So it
-- can count each person once, by the last result that it looks at.

alter table backtests add column until timestamptz, add column last uuid;
comment on column backtests.until is 'Only results before then; null: to the last';
comment on column backtests.last is 'The newest result when it was started: it ends there; null: started by a version that went on with newer ones';

-- Serves binaries whose newest migration is 20261124000003 or later. Their workers ignore both: until
-- the last of them is gone, a backtest with `until` may count later results, and counts no persons.
update schema_floor set oldest_served = 20261124000003, said_by = 20261129000020;
