//! The state of the simulated provider between calls, in memory only.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;

use crate::face::{self, Sessions};
use crate::nonces::Nonces;
use crate::question::Version;
use crate::refusal::Refusal;
use crate::scenario::{Behaviour, Scenario};

/// Calls that are kept for [`crate::Sandbox::calls`].
const MAX_CALLS: usize = 100_000;
/// Longest text of a call that is kept.
const MAX_TEXT: usize = 64;

/// One call, for tests and the demo. No parameter but the two keys is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it came.
    pub at: OffsetDateTime,
    /// `Action`, as far as known.
    pub action: String,
    /// `BizType` or `SceneId`, or empty.
    pub biz_type: String,
    /// `BizId`, `OuterOrderNo` or `CertifyId`, or empty.
    pub biz_id: String,
    /// It came to the spare region.
    pub spare: bool,
    /// How it was signed, by the look of it.
    pub version: Version,
    /// HTTP method.
    pub method: String,
    /// `ok`, the error code, or what was done instead of answering: `html`, `garbage`, `empty`,
    /// `no-status`, `cut`, `torn`.
    pub outcome: String,
}

/// The memory.
pub struct Memory {
    /// The secret now in force.
    pub secret: SecretString,
    /// Replaces every answer.
    pub outage: Option<Behaviour>,
    /// Replaces every answer of the main region.
    pub main_outage: Option<Behaviour>,
    /// An HTTP status that replaces every image.
    pub image_outage: Option<u16>,
    /// Replacements for the images of a kind.
    pub images: HashMap<String, Vec<u8>>,
    /// Scenarios set by hand, by `biz_id`.
    pub scenarios: HashMap<String, Scenario>,
    calls: VecDeque<Call>,
    /// How many queries each (`biz_type`, `biz_id`) has had answered by its script.
    progress: HashMap<(String, String), u32>,
    /// How many well-signed queries each `biz_id` has had, whatever came of them.
    queries: HashMap<String, u64>,
    nonces: Nonces,
    queries_per_second: Option<u32>,
    deletes_per_second: Option<u32>,
    /// One for each operation: the vendor counts per account and API.
    buckets: HashMap<&'static str, Bucket>,
    /// The product face-verify.
    pub faces: Sessions,
}

impl Memory {
    /// Empty.
    pub fn new(
        secret: SecretString,
        queries_per_second: Option<u32>,
        deletes_per_second: Option<u32>,
    ) -> Self {
        Self {
            secret,
            outage: None,
            main_outage: None,
            image_outage: None,
            images: HashMap::new(),
            scenarios: HashMap::new(),
            calls: VecDeque::new(),
            progress: HashMap::new(),
            queries: HashMap::new(),
            nonces: Nonces::default(),
            queries_per_second,
            deletes_per_second,
            buckets: HashMap::new(),
            faces: Sessions::default(),
        }
    }

    /// Keeps a call, and forgets the oldest if there are too many.
    pub fn record(&mut self, mut call: Call) {
        for text in [&mut call.action, &mut call.biz_type, &mut call.biz_id] {
            if text.len() > MAX_TEXT {
                *text = text.chars().take(MAX_TEXT).collect();
            }
        }
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// All kept calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    /// Notes a query for that `biz_id`.
    pub fn count(&mut self, biz_id: &str) {
        *self.queries.entry(biz_id.to_owned()).or_default() += 1;
    }

    /// How many [`count`](Self::count) has noted.
    pub fn queries(&self, biz_id: &str) -> u64 {
        self.queries.get(biz_id).copied().unwrap_or_default()
    }

    /// The scenario of that `biz_id`.
    pub fn scenario(&self, biz_id: &str) -> Scenario {
        self.scenarios.get(biz_id).cloned().unwrap_or_else(|| Scenario::parse(biz_id))
    }

    /// How many queries that pair's script has answered before; one more from now on.
    pub fn advance(&mut self, biz_type: &str, biz_id: &str) -> u32 {
        let step = self.progress.entry((biz_type.to_owned(), biz_id.to_owned())).or_default();
        let before = *step;
        *step = before.saturating_add(1);
        before
    }

    /// Starts that `biz_id`'s script anew, in every `biz_type`.
    pub fn rewind(&mut self, biz_id: &str) {
        self.progress.retain(|(_, id), _| id != biz_id);
    }

    /// Takes the nonce, once.
    pub fn take_nonce(&mut self, nonce: &str, now: OffsetDateTime) -> Result<(), Refusal> {
        if self.nonces.take(nonce, now) {
            return Ok(());
        }
        Err(Refusal::new("SignatureNonceUsed", 400, "Specified signature nonce was used already."))
    }

    /// Takes one call out of this second's budget of that operation.
    pub fn take_turn(&mut self, action: &'static str, now: OffsetDateTime) -> Result<(), Refusal> {
        let deletes = self.deletes_per_second.filter(|_| action == face::DELETE);
        let Some(rate) = deletes.or(self.queries_per_second) else { return Ok(()) };
        let bucket = self.buckets.entry(action).or_insert_with(|| Bucket::full(rate, now));
        bucket.take(now).map_err(Refusal::throttled)
    }
}

/// A token bucket that holds one second's worth: a caller that keeps the rate is never refused.
struct Bucket {
    rate: f64,
    left: f64,
    at: OffsetDateTime,
}

impl Bucket {
    fn full(rate: u32, at: OffsetDateTime) -> Self {
        let rate = f64::from(rate.max(1));
        Self { rate, left: rate, at }
    }

    /// Takes one, or says how long until there is one.
    fn take(&mut self, now: OffsetDateTime) -> Result<(), Duration> {
        let passed = (now - self.at).as_seconds_f64().max(0.0);
        self.at = now;
        self.left = (self.left + passed * self.rate).min(self.rate);
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / self.rate));
        }
        self.left -= 1.0;
        Ok(())
    }
}
