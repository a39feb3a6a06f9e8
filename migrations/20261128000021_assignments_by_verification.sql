-- no-transaction
-- Each new decision ends the assignments of its verification.
create index concurrently assignments_by_verification on assignments (verification_id) where verification_id is not null;
