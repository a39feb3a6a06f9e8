-- no-transaction
-- Decisions by the transaction that wrote them, for the numbering of events.
create index concurrently decisions_by_transaction on decisions (xid) where xid is not null;
