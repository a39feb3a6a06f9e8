-- no-transaction
create index concurrently erasures_with_digests on erasures (verification_id) where not digests_erased;
