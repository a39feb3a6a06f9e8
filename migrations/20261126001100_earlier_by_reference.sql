-- no-transaction
-- Verifications of one reference, newest last, with their source: for lists, and for counting those before one.
create index concurrently verifications_by_reference_with_source on verifications (reference, id) include (source) where reference is not null;
