-- no-transaction
-- Lists by outcome, newest verification first.
create index concurrently decisions_by_outcome on decisions (outcome, verification_id);
