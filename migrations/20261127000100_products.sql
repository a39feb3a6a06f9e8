-- Verifications of more than one product of the provider.

alter table verifications add column product text not null default 'verify-result';
alter table verifications add column certify_id text;
alter table verifications add constraint verifications_product
    check (product in ('verify-result', 'face-verify')) not valid;
comment on column verifications.product is 'The product of the provider: verify-result or face-verify; fixed by the first callback or start';
comment on column verifications.certify_id is 'For face-verify: the provider''s id of the verification, by which its result is asked for; null: not known yet';

-- An answer of face-verify has a code in its evidence and no VerifyStatus.
alter table results drop constraint results_kind;
alter table results add constraint results_kind check (
    (evidence is null) <> (error_class is null)
    and case when evidence ? 'product' then verify_status is null
        else (evidence is null) = (verify_status is null) end) not valid;
comment on column results.verify_status is 'VerifyStatus of verify-result; null for errors and for other products';

create or replace function verdict_erased_evidence(evidence jsonb) returns jsonb
    language sql immutable parallel safe
begin atomic
    select case when evidence is null then null else jsonb_build_object(
        'verify_status', evidence -> 'verify_status',
        'scores', '{"authority": null, "face": null, "id_card_face": null}'::jsonb,
        'face_quality', null, 'face_mask', null,
        'images', '{"face": false, "card_front": false, "card_back": false, "face_global": false}'::jsonb,
        'name_matches', null, 'number_matches', null,
        'card_days_left', null, 'age_years', null,
        'biz_type', evidence -> 'biz_type',
        'attempts', evidence -> 'attempts',
        'malformed', '[]'::jsonb)
        || case when evidence ? 'product' then jsonb_build_object(
            'product', evidence -> 'product',
            'passed', evidence -> 'passed',
            'code', evidence -> 'code') else '{}'::jsonb end end;
end;
comment on function verdict_erased_evidence(jsonb) is 'What is left of evidence after an erasure, in the form that every version reads';

-- Serves binaries whose newest migration is 20261124000003 or later. They know one product, so no
-- verification of another may be accepted before the last of them has stopped.
update schema_floor set oldest_served = 20261124000003, said_by = 20261127000100;
