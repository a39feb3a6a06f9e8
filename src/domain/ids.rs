//! Ids, and the only source of randomness.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body_digest::Salt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// One verification: one (`biz_type`, `biz_id`).
    VerificationId;
    /// One answer of the provider.
    ResultId;
    /// One decision.
    DecisionId;
    /// One review.
    ReviewId;
    /// One case, or golden pair, in the hands of one reviewer.
    AssignmentId;
    /// One pair of pictures whose answer is known.
    GoldenId;
    /// One API key.
    ApiKeyId;
    /// One webhook endpoint.
    EndpointId;
    /// One user of the console.
    UserId;
    /// One place where a user is signed in.
    SessionId;
    /// The fencing token of one claim: a write with another token changes nothing.
    LeaseToken;
    /// One HTTP request to us.
    RequestId;
}

/// Makes ids, nonces and jitter. Clones share the source.
#[derive(Clone, Debug)]
pub struct Ids(Source);

#[derive(Clone, Debug)]
enum Source {
    Random,
    Counted(Arc<AtomicU64>),
}

impl Ids {
    /// From the operating system's random source.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// A fixed sequence, for tests that name ids.
    pub fn counted(seed: u64) -> Self {
        Self(Source::Counted(Arc::new(AtomicU64::new(seed))))
    }

    /// 16 bytes: 122 random bits in the system's case.
    fn entropy(&self) -> [u8; 16] {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the door")]
            Source::Random => *Uuid::new_v4().as_bytes(),
            Source::Counted(next) => {
                // SplitMix64 twice: spreads a counter over all bits (Steele, Lea, Flood 2014).
                let n = next.fetch_add(1, Ordering::SeqCst);
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&split_mix(n).to_be_bytes());
                bytes[8..].copy_from_slice(&split_mix(!n).to_be_bytes());
                bytes
            }
        }
    }

    /// A `UUIDv7` (RFC 9562): ordered by `now` in milliseconds, so that index inserts stay local.
    pub fn next<T: From<Uuid>>(&self, now: OffsetDateTime) -> T {
        let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let entropy = self.entropy();
        // A version 4 UUID keeps its version and variant bits in bytes 6 and 8; these ten avoid them.
        let mut tail = [0; 10];
        tail[..6].copy_from_slice(&entropy[..6]);
        tail[6..].copy_from_slice(&entropy[12..]);
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid().into()
    }

    /// A nonce for one signed request: 32 hex digits, at least 122 random bits.
    pub fn nonce(&self) -> String {
        hex::encode(self.entropy())
    }

    /// The key of one stored digest: at least 122 random bits.
    pub fn salt(&self) -> Salt {
        self.entropy()
    }

    /// A number in `[0, 1)`, for jitter.
    pub fn fraction(&self) -> f64 {
        let bytes = self.entropy();
        let n = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        f64::from(n) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The smallest id of this time: no id of any kind made then or later is smaller.
pub fn earliest(at: OffsetDateTime) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// The time that an id begins with.
pub fn time_of(id: Uuid) -> Option<OffsetDateTime> {
    let millis = i128::try_from(id.as_u128() >> 80).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).ok()
}

fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ_within_a_millisecond() {
        let ids = Ids::counted(7);
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let a: VerificationId = ids.next(now);
        let b: VerificationId = ids.next(now);
        let later: VerificationId = ids.next(now + time::Duration::milliseconds(1));
        assert_ne!(a, b);
        assert!(a < later && b < later);
        assert!(earliest(now) <= a.0 && earliest(now) <= b.0 && earliest(now) > Uuid::nil());
        assert!(a.0 < earliest(now + time::Duration::milliseconds(1)));
        assert_eq!(time_of(earliest(now)), Some(now));
        assert_eq!(a.0.get_version_num(), 7);
        assert!((0.0..1.0).contains(&ids.fraction()));
        assert_eq!(Ids::random().nonce().len(), 32);
    }
}
