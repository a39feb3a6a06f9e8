-- no-transaction
-- Verdicts that were not taken, and of which the reviewer was not told yet.
create index concurrently assignments_untold on assignments (user_id) where told_at is null and outcome is not null and ended_as in ('decision-changed', 'erased', 'lapsed');
