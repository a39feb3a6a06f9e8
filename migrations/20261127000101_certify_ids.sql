-- no-transaction
-- One verification per CertifyId.
create unique index concurrently verifications_by_certify_id on verifications (certify_id) where certify_id is not null;
