//! Starting a verification at the provider.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use policy::product::Product;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::callback::{BizId, BizType, CertifyId};

/// How long the provider's token or `CertifyId` is valid, by its documentation.
pub const TOKEN_LIVES: Duration = Duration::from_mins(30);

/// What a phone says of itself.
const DEVICE: &str = "MetaInfo";
const NUMBER: &str = "CertNo";
/// Name and number are given as ciphertext.
const ENCRYPTED: &str = "EncryptType";

/// A verification to be started. Its `Debug` shows nothing of the person.
pub struct Starting {
    pub product: Product,
    pub biz_type: BizType,
    pub biz_id: BizId,
    pub reference: Option<String>,
    /// The source that the verification will belong to.
    pub source: Option<String>,
    /// For the provider only, under its own names; stored nowhere.
    pub handed_through: Vec<(&'static str, Zeroizing<String>)>,
}

impl Starting {
    /// As the client takes them.
    pub fn parameters(&self) -> Vec<(&str, &str)> {
        self.handed_through.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// The person's identity number, if it is given in clear.
    pub fn number(&self) -> Option<&str> {
        let named = |wanted| self.parameters().into_iter().find(|(name, _)| *name == wanted);
        named(NUMBER).filter(|_| named(ENCRYPTED).is_none()).map(|(_, number)| number)
    }

    /// Tells a repeated request from another one. What the phone says of itself is new each time and
    /// is left out.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (name, value) in self.parameters() {
            if name == DEVICE {
                continue;
            }
            for part in [name, value] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        digest.finalize().into()
    }
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting")
            .field("biz_type", &self.biz_type)
            .field("biz_id", &self.biz_id)
            .finish_non_exhaustive()
    }
}

/// The data that the phone needs. Its `Debug` shows nothing: it opens the verification.
pub enum Started {
    /// Of verify-result.
    WithToken {
        /// `VerifyToken`.
        token: Zeroizing<String>,
        /// `VerifyPageUrl`, of the old H5 scheme only.
        page_url: Option<String>,
    },
    /// Of face-verify.
    WithId {
        certify_id: CertifyId,
        /// The page to open in a browser; `None` for apps.
        certify_url: Option<Zeroizing<String>>,
    },
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The provider refuses this request, with its code.
    Refused(Option<String>),
    /// The provider is unavailable, throttles, or refuses this account.
    Unavailable {
        /// How long to wait, if the provider says so.
        wait: Option<Duration>,
        /// The provider's code, if any.
        code: Option<String>,
    },
    /// The call was sent, and its outcome is not known. It must not be repeated: it is billed.
    Unknown,
}

/// Calls of the provider about starts. The composition root supplies the client.
#[derive(Clone)]
pub struct Starter {
    pub start: Start,
    pub find: Find,
}

/// Starts a verification.
pub type Start =
    Arc<dyn Fn(Starting) -> Call<Result<(Starting, Started), NotStarted>> + Send + Sync>;

/// The ids that the provider's records have for a start whose outcome is unknown. None: it has no
/// record, or does not let us search.
pub type Find = Arc<dyn Fn(Product, BizType, BizId) -> Call<Vec<CertifyId>> + Send + Sync>;

pub type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;
