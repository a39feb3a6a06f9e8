-- no-transaction
-- Lists of one scene, newest first. Concurrently, as in the next ones: nothing waits while it is built.
create index concurrently verifications_by_scene on verifications (biz_type, id);
