//! Checks of the database that depend on the configuration.

use policy::Policy;
use verdict::checks::Finding;
use verdict::checks::database::unasked;
use verdict::store::Store;
use verdict::vault::Vault;

use super::context::DoctorContext;
use super::rights;

pub(super) async fn rights(
    doctor: &DoctorContext,
    store: &Store,
    role: &str,
    owner: bool,
) -> Finding {
    if owner {
        return Finding::warning(
            format!("{role} owns the schema, and may do more than serving needs"),
            "give the process a role of its own: config/roles.sql makes them",
        );
    }
    let roles = rights::roles_for(
        doctor.role,
        doctor.config.has_vault_keys(),
        matches!(doctor.config.console_listen(), Ok(Some(_))),
    );
    match store.inspection().missing_rights(&rights::given_to(roles)).await {
        Ok(missing) if missing.is_empty() => {
            Finding::ok(format!("{role} may do all that {} may", roles.join(" and ")))
        }
        Ok(missing) => {
            let first: Vec<&str> = missing.iter().take(3).map(String::as_str).collect();
            let more = match missing.len() {
                0..=3 => String::new(),
                all => format!(" and {} more", all - 3),
            };
            Finding::failed(
                format!("{role} lacks {}{more}", first.join(", ")),
                format!(
                    "as the owner run config/roles.sql, then: grant {} to {role}",
                    roles.join(", ")
                ),
            )
        }
        Err(error) => unasked(&error),
    }
}

pub(super) async fn policy(doctor: &DoctorContext, store: &Store) -> Finding {
    if !doctor.role.works() {
        return Finding::skipped("this role decides nothing");
    }
    let in_use = match store.policies().policies_in_use().await {
        Ok(in_use) => in_use,
        Err(error) => return unasked(&error),
    };
    for policy in &in_use {
        if Policy::load_stored(&policy.body).is_none() {
            return Finding::failed(
                format!("this version cannot load {}", policy.digest),
                "activate one that it can (`verdict policy activate`), or run the version that \
                 it was written for",
            );
        }
    }
    let active = in_use.iter().find(|policy| policy.kind == "active" && policy.biz_type.is_empty());
    let seed = doctor.config.policy_text().ok().and_then(|text| Policy::load(&text).ok());
    match (active, seed) {
        (None, _) => Finding::ok("none is active yet: the configured one will be"),
        (Some(active), Some(seed)) if seed.digest() != active.digest => Finding::warning(
            format!("{} is active, and policy.file is another, which is ignored", active.digest),
            "`verdict policy diff` shows how they differ; `add` and `activate` put the file to use",
        ),
        (Some(active), _) => Finding::ok(format!("{} is active", active.digest)),
    }
}

pub(super) async fn vault_keys(doctor: &DoctorContext, store: &Store) -> Vec<Finding> {
    if !doctor.role.works() && !doctor.config.has_vault_keys() {
        return vec![Finding::skipped("this role has no keys and shows nobody's data")];
    }
    match doctor.config.key_ring() {
        Ok(ring) => verdict::checks::database::vault_keys(&Vault::new(ring), store).await,
        Err(_) => vec![Finding::skipped("vault.keys is not usable")],
    }
}

pub(super) async fn breaker(doctor: &DoctorContext, store: &Store) -> Finding {
    match doctor.config.account() {
        Ok(account) => verdict::checks::database::breaker(&account, store).await,
        Err(_) => Finding::skipped("provider.account is not usable"),
    }
}

pub(super) async fn audit_witnesses(doctor: &DoctorContext, store: &Store) -> Vec<Finding> {
    match doctor.config.audit() {
        Ok(heads) => verdict::checks::witnesses::of_witnesses(&heads, store, doctor.now).await,
        Err(_) => vec![Finding::skipped("audit.witnesses is not usable")],
    }
}
