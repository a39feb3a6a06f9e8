-- no-transaction
-- Workers look each second for assignments to count.
create index concurrently assignments_uncounted on assignments (id) where uncounted;
