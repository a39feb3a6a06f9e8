-- no-transaction
-- Lists of what failed, expired or was erased. What is pending or unfinished is due, which has an index
-- of its own; what is decided the primary key lists well enough. So nothing that goes well has an entry.
create index concurrently verifications_given_up on verifications (state, id) where state in ('failed', 'expired', 'erased');
