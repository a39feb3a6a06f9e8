-- no-transaction
-- An erasure finds both verifications of one session.
create index concurrently verifications_answered_by on verifications (answered_by) where answered_by is not null;
