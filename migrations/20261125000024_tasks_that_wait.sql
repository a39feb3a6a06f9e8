-- no-transaction
-- What waits for an answer of the provider, by itself.
create index concurrently tasks_due_waiting on tasks (due_at) where asked_again_at is not null;
