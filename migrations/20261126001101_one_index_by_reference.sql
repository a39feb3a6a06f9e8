-- no-transaction
-- Its successor, made just before this, serves binaries of every version.
drop index concurrently if exists verifications_by_reference;
