-- no-transaction
-- Lists of what is pending, failed, expired …: few beside what is decided, which the primary key lists well enough.
create index concurrently verifications_not_decided on verifications (state, id) where state <> 'decided';
