-- At most one backtest is running. Those that earlier versions started have no lane: any number of
-- them may be running, and they are worked off one after the other.

alter table backtests add column lane smallint;
comment on column backtests.lane is 'Where it runs: one at a time in each lane; null: started by a version without lanes';

-- Serves binaries whose newest migration is 20261124000003 or later.
update schema_floor set oldest_served = 20261124000003, said_by = 20261126000500;
