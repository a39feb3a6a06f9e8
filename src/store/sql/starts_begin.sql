/* verdict starts::begin */
with opened as (
    insert into verifications (id, product, biz_type, biz_id, reference, source, state,
        created_at, updated_at, due_at, give_up_at, lease_token, lease_until)
    values ($1, $2, $3, $4, $5, $6, 'unfinished', $7, $7,
        verdict_now() + interval '1 minute',
        verdict_now() + make_interval(secs => $8), $9,
        verdict_now() + make_interval(secs => $10))
    on conflict (biz_type, biz_id) do nothing
    returning id
), keyed as (
    insert into data_keys (verification_id, key_id, wrapped)
    select id, $11, $12 from opened
), key_in_use as (
    update vault_keys set retired_at = null
    where key_id = $11 and retired_at is not null and exists (select from opened)
), noted as (
    insert into starts (verification_id, parameters, callback_token, call_token, asked_at,
        expires_at, person)
    select id, $13, $14, $9, $7, $15, $18 from opened
), recorded as (
    insert into audit (at, actor, action, subject, purpose)
    select $7, $16, 'verification.start', id, $17 from opened
)
select id from opened
