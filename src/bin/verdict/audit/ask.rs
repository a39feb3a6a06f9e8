//! Asking witnesses for the newest head that they signed.

use std::time::Duration;

use anyhow::{anyhow, bail};
use merkle_log::note::VerifyingKey;
use reqwest::{Client, StatusCode};
use sha2::{Digest, Sha256};
use verdict::audit_log::heads::Witness;
use verdict::causes::{self, Cause};
use verdict::domain::audit_heads::KnownHead;

use super::installation::Installation;
use crate::context::Usage;

const TIMEOUT: Duration = Duration::from_secs(20);
/// A head with the signatures of many witnesses fits.
const MOST_BYTES: usize = 64 * 1024;

/// The newest head of each configured witness. One that gives none is an error: its head may be the one
/// that tells of a rewrite.
pub(super) async fn newest_heads(
    audit: &Installation,
    log: Option<&VerifyingKey>,
) -> anyhow::Result<Vec<KnownHead>> {
    let Some(origin) = audit.heads.origin.as_ref().filter(|_| audit.heads.has_witnesses()) else {
        let says = "--ask-witnesses needs audit.origin and audit.witnesses in the configuration";
        return Err(Usage(says.to_owned()).into());
    };
    let client = Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let path = format!("{}/checkpoint", hex::encode(Sha256::digest(origin)));
    let mut heads = Vec::new();
    for witness in &audit.heads.witnesses {
        let note = newest_note(&client, witness, &path).await?;
        heads.push(KnownHead::cosigned(&note, &witness.key, log)?.0);
    }
    Ok(heads)
}

async fn newest_note(client: &Client, witness: &Witness, path: &str) -> anyhow::Result<String> {
    let name = witness.key.name();
    let failed = |error: &reqwest::Error| {
        let cause = causes::of(error).unwrap_or(Cause::Unknown);
        anyhow!("the witness {name} gives no head: {}", cause.says())
    };
    let mut response =
        client.get(witness.address(path)).send().await.map_err(|error| failed(&error))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => bail!("the witness {name} has signed no head of this audit"),
        status => bail!("the witness {name} gives no head: it answers with status {status}"),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_BYTES {
            bail!("the witness {name} gives no head: its answer is too long");
        }
    }
    String::from_utf8(body).map_err(|_| anyhow!("the witness {name} gives no head: no text"))
}
