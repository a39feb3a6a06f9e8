-- no-transaction
-- When a reviewer last had a golden pair.
create index concurrently assignments_of_golden_pairs on assignments (user_id, golden_id, claimed_at) where golden_id is not null;
