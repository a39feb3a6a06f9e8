-- no-transaction
-- Lists by outcome, newest verification first, but for approvals, which are most: the primary key lists
-- them well enough.
create index concurrently decisions_not_approved on decisions (outcome, verification_id) where outcome <> 'approve';
