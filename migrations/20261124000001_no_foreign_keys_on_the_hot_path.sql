-- Each of these rows is written by the very statement that writes its parent or holds it locked,
-- so the checks could find nothing; they cost a query, a row lock and its WAL for every row, and
-- all decisions queued for the lock of one policy's row. Measured: ARCHITECTURE.md.
alter table callbacks drop constraint callbacks_verification_id_fkey;
alter table data_keys drop constraint data_keys_verification_id_fkey;
alter table results drop constraint results_verification_id_fkey;
alter table decisions drop constraint decisions_verification_id_fkey;
alter table decisions drop constraint decisions_result_id_fkey;
alter table decisions drop constraint decisions_policy_digest_fkey;
