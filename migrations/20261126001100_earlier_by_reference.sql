-- no-transaction
-- Earlier verifications of one reference within a source, newest first.
create index concurrently verifications_by_reference_and_source on verifications (reference, source, created_at) where reference is not null;
