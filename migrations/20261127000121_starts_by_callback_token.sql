-- no-transaction
-- A callback of the provider whose CertifyId a crash lost.
create unique index concurrently starts_by_callback_token on starts (callback_token) where callback_token is not null;
