-- no-transaction
-- The timeline of a verification lists the deliveries of its events.
create index concurrently webhook_attempts_by_number on webhook_attempts (number);
