/* verdict vault_keys::give_up */
with unneeded as materialized (
    -- As in `vault_keys::find_needs`.
    select where not (exists (select from data_keys) or exists (select from results)
            or exists (select from material) or exists (select from images)
            or exists (select from tasks) or exists (select from erasures)
            or exists (select from webhook_endpoints) or exists (select from golden_pairs))
        and not exists (select from audit_checkpoints)
), retired as (
    update vault_keys set retired_at = coalesce(retired_at, $2)
    where key_id = $1 and exists (select from unneeded)
        and coalesce(wraps_at <= verdict_now() - make_interval(secs => $3), true)
    returning 1
), deleted as (
    delete from named_keys
    where key_id = $1 and exists (select from unneeded)
        and (exists (select from retired)
            or not exists (select from vault_keys where key_id = $1))
    returning 1
)
select exists (select from retired) or exists (select from deleted)
