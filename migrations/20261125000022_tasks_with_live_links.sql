-- no-transaction
-- What waits for an answer of the provider is looked at beside links that die, not in front of them.
create index concurrently tasks_due_live on tasks (due_at) where asked_again_at is null;
