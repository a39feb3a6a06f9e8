-- no-transaction
-- For the results that exist so far. On a partitioned table only the key of the partitions can be
-- unique, so this replaces the unique constraint `results_attempt`.
create index concurrently results_before_of on results (verification_id, attempt);
