-- no-transaction
-- Erasures by earlier versions, whose evidence a worker still has to coarsen.
create index concurrently erasures_to_coarsen on erasures (verification_id) where coarsened_at is null;
