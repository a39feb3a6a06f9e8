-- A migration of its own: together with the columns it would hold the table locked for all while it
-- writes every row.
update erasures set unreadable_at = completed_at where unreadable_at is null;
