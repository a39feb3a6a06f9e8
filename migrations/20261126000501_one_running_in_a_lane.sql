-- no-transaction
-- Of two that start a backtest in the same lane at the same moment, one does.
create unique index concurrently backtests_one_running on backtests (lane) where state = 'running';
