//! How events are delivered to webhook endpoints.

use std::sync::Arc;

use anyhow::Context;

use crate::webhooks;
use crate::worker::{Deliveries, Sender};

pub(super) fn deliveries(settings: &webhooks::Settings) -> anyhow::Result<Deliveries> {
    let sender =
        Sender::new(settings.targets.clone()).context("the HTTP client cannot be set up")?;
    Ok(Deliveries {
        sender: Arc::new(sender),
        disable_after: settings.disable_after,
        keep: settings.keep_deliveries,
    })
}
