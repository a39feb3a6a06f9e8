-- The trace that a piece of work belongs to.

-- Null, which costs nothing, unless traces are exported.
alter table verifications add column trace_parent text;
comment on column verifications.trace_parent is 'The request that made it due, as a W3C traceparent; null: not traced';
