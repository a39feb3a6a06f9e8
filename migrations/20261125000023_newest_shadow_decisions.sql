-- no-transaction
-- The newest decisions of one shadow, for any number of them.
create index concurrently shadow_decisions_newest on shadow_decisions (policy_digest, decision_id);
