//! Texts of policies: of files, and of the database.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use verdict::domain::byte_order_mark;
use verdict::store::Store;

use crate::context::{Context, Usage};

pub(super) fn read(context: &Context, file: Option<PathBuf>) -> anyhow::Result<String> {
    match file {
        None => Ok(context.config()?.seed_text()?),
        Some(file) => {
            Ok(std::fs::read_to_string(&file).map(byte_order_mark::removed).map_err(|error| {
                Usage(format!("{}: {}", file.display(), verdict::causes::of_io(&error)))
            })?)
        }
    }
}

/// A digest may be cut short as long as it is clear which is meant.
pub(super) async fn whole_digest(store: &Store, start: &str) -> anyhow::Result<String> {
    let digests = store.policies().list().await?.into_iter().map(|policy| policy.digest);
    let start = start.strip_prefix("sha256:").unwrap_or(start);
    let fits =
        |digest: &String| digest.strip_prefix("sha256:").is_some_and(|d| d.starts_with(start));
    let mut fitting = digests.filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(digest), None) if !start.is_empty() => Ok(digest),
        (Some(_), _) => bail!("ambiguous digest prefix: give more characters"),
        (None, _) => bail!("there is no such policy: see `verdict policy list`"),
    }
}

pub(super) async fn text_of(store: &Store, digest: &str) -> anyhow::Result<String> {
    Ok(store.policies().policy_text(digest).await?.context("the policy is gone")?.body)
}

/// A file, or the digest of a policy in the database.
pub(super) async fn either(context: &Context, what: &str) -> anyhow::Result<String> {
    if std::path::Path::new(what).exists() {
        return read(context, Some(what.into()));
    }
    let store = context.store().await?;
    let digest = whole_digest(&store, what).await?;
    text_of(&store, &digest).await
}
