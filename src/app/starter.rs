//! Has the provider start verifications.

use std::sync::Arc;

use super::role::Role;
use super::shared::Shared;
use crate::config::{self, ConfigError};
use crate::domain::starting::{Find, Start, Starter};
use crate::provider::{Key, Provider};

/// A process that only accepts may do without the provider's
/// key: it accepts callbacks all the same, and starts nothing.
pub(super) fn starter(
    configured: Result<config::ProviderCall, config::ConfigErrors>,
    shared: &Shared<'_>,
) -> anyhow::Result<Option<Starter>> {
    let provider = match configured {
        Ok(provider) => provider,
        Err(errors) if shared.role == Role::Api => {
            for ConfigError { subject, problem } in errors.0 {
                let key = tracing::field::display(subject);
                tracing::info!(key, problem, "starting verifications is disabled");
            }
            return Ok(None);
        }
        Err(errors) => return Err(errors.into()),
    };
    let Shared { environment, clock, ids, .. } = shared;
    let environment = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let provider =
        Arc::new(Provider::new(provider.client, provider.credentials, environment, clock, ids)?);
    let searched = Arc::clone(&provider);
    let start: Start = Arc::new(move |starting| {
        let provider = Arc::clone(&provider);
        Box::pin(async move {
            let started = provider.start(&starting).await?;
            Ok((starting, started))
        })
    });
    let find: Find = Arc::new(move |product, biz_type, biz_id| {
        let provider = Arc::clone(&searched);
        Box::pin(async move {
            let (biz_type, biz_id) = (biz_type.as_str(), biz_id.as_str());
            provider.find_started(product, Key { biz_type, biz_id, certify_id: None }).await
        })
    });
    Ok(Some(Starter { start, find }))
}
