-- no-transaction
-- Which keys data needs, and whether a key wraps anything any more, for any number of rows.
create index concurrently data_keys_by_key on data_keys (key_id);
