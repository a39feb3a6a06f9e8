-- The trace that a piece of work belongs to, and cheap counts of what needs somebody.

-- Null, which costs nothing, unless traces are exported.
alter table verifications add column trace_parent text;
comment on column verifications.trace_parent is 'The request that made it due, as a W3C traceparent; null: not traced';

-- No column of it is written by a claim or a renewal, so both stay heap-only; what has not failed
-- has no entry.
create index verifications_failed on verifications (id) where state = 'failed';
