-- no-transaction
-- Lists of one product, newest first. Callbacks of the older product pay nothing for it.
create index concurrently verifications_of_face_verify on verifications (id) where product = 'face-verify';
