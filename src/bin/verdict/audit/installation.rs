//! The audit of this installation: its database, its key, and how its heads are known to others.

use anyhow::{Context as _, bail};
use merkle_log::note::{SigningKey, VerifyingKey};
use verdict::audit_log;
use verdict::audit_log::heads::HeadSettings;
use verdict::config::Keys;
use verdict::store::Store;
use verdict::vault::{AuditSeal, Vault};

use crate::context::{Context, Usage, migrated_store};

pub(super) struct Installation {
    pub(super) store: Store,
    /// `None`: no keys are configured, or none was ever made.
    pub(super) seal: Option<AuditSeal>,
    pub(super) heads: HeadSettings,
}

impl Installation {
    pub(super) async fn open(context: &Context) -> anyhow::Result<Self> {
        let mut settings = context.settings(Keys::Optional)?;
        let keys = settings.keys.take();
        let store = migrated_store(&settings).await?;
        let seal = match keys {
            Some(keys) => audit_log::seal(&store, &Vault::new(keys)).await?,
            None => None,
        };
        Ok(Self { store, seal, heads: settings.common.audit })
    }

    /// The key that signs heads, for a command that needs it.
    pub(super) fn head_key(&self) -> anyhow::Result<SigningKey> {
        let Some(origin) = &self.heads.origin else {
            let says =
                "set audit.origin: the name of this audit, such as verdict.example.com/audit";
            return Err(Usage(says.to_owned()).into());
        };
        let Some(seal) = &self.seal else {
            bail!(
                "heads are signed by a key of the installation: give the configuration with its \
                 vault.keys, and run a worker once, which makes that key"
            );
        };
        seal.head_key(origin).context("the key that signs heads")
    }

    /// Its public half, where both the name and the key are known.
    pub(super) fn log_key(&self) -> Option<VerifyingKey> {
        self.heads.log_key(self.seal.as_ref())
    }
}
