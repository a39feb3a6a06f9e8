//! Has the provider start verifications.

use std::sync::Arc;

use super::role::Role;
use super::shared::Shared;
use crate::config::{self, ConfigError};
use crate::domain::starting::Starter;
use crate::provider::Provider;

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
    Ok(Some(Arc::new(move |starting| {
        let provider = Arc::clone(&provider);
        Box::pin(async move {
            let started = provider.start(&starting).await?;
            Ok((starting, started))
        })
    })))
}
