-- no-transaction
-- Tries of more than a day ago are deleted, the oldest first.
create index concurrently if not exists sign_in_failures_by_time on sign_in_failures (failed_at);
