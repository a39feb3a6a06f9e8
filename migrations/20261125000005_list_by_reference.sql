-- no-transaction
-- Lists of one reference, newest first.
create index concurrently verifications_by_reference on verifications (reference, id) where reference is not null;
