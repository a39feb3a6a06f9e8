//! The sections about listeners, callers and what two persons decide.

use std::net::SocketAddr;

use url::Url;

use super::checks::{address, at_least, one_of, seconds, web_address};
use super::error::{self, Collector, ConfigErrors, wrong};
use super::raw::Config;
use crate::domain::review::FourEyes;
use crate::http::body_limits::{self, BodyLimits};
use crate::http::memory_budget::MemoryBudget;
use crate::http::server::Limits;
use crate::store;

const FIRST_BYTE: &str = "http.first_byte_seconds";
/// For bodies of callers with an API key, beyond the first 2 KiB of each.
const VERIFIED_BYTES: usize = 16 << 20;

impl Config {
    /// Where callbacks and the API are served.
    pub fn http_listen(&self) -> error::Result<SocketAddr> {
        address("http.listen", &self.http.listen)
    }

    /// Where callbacks and returns are served in place of there. `None`: they are served there.
    pub fn callbacks_listen(&self) -> error::Result<Option<SocketAddr>> {
        let text = &self.http.callbacks_listen;
        if text.is_empty() { Ok(None) } else { address("http.callbacks_listen", text).map(Some) }
    }

    /// Where metrics and health are served.
    pub fn operations_listen(&self) -> error::Result<SocketAddr> {
        address("operations.listen", &self.operations.listen)
    }

    /// File descriptors that a process needs beside the connections of callers: to the database,
    /// and while it works to the provider and to hosts of images, each with a file or store.
    pub fn descriptors_needed(&self, works: bool) -> usize {
        let database = usize::try_from(self.database.max_connections).unwrap_or(usize::MAX);
        let calls = if works {
            // An image is read from its host and put into the store.
            self.worker.concurrency.saturating_add(self.images.concurrency.saturating_mul(2))
        } else {
            0
        };
        // One more listens for notifications.
        database.saturating_add(1).saturating_add(calls)
    }

    pub fn limits(&self) -> Result<Limits, ConfigErrors> {
        let http = &self.http;
        let mut found = Collector::default();
        let connections = found.take(at_least("http.max_connections", http.max_connections, 1));
        let first_byte = found.take(seconds(FIRST_BYTE, http.first_byte_seconds));
        let header_read = found.take(seconds("http.header_read_seconds", http.header_read_seconds));
        let write_stall = found.take(seconds("http.write_stall_seconds", http.write_stall_seconds));
        let drain = found.take(self.drain());
        found.finish(|| {
            let header_read = header_read?;
            Some(Limits {
                connections: connections?,
                first_byte: first_byte?.min(header_read),
                header_read,
                write_stall: write_stall?,
                drain: drain?,
            })
        })
    }

    pub(super) fn body_limits(&self) -> Result<BodyLimits, ConfigErrors> {
        const UNVERIFIED: &str = "callbacks.unverified_bytes";
        let least = 4 * body_limits::MAX_CALLBACK_BYTES;
        let mut found = Collector::default();
        let unverified = found.take(at_least(UNVERIFIED, self.callbacks.unverified_bytes, least));
        let first_byte = found.take(seconds(FIRST_BYTE, self.http.first_byte_seconds));
        let whole = found.take(seconds("http.body_read_seconds", self.http.body_read_seconds));
        found.finish(|| {
            Some(BodyLimits {
                first_byte: first_byte?,
                whole: whole?,
                unverified: MemoryBudget::new(unverified?),
                verified: MemoryBudget::new(VERIFIED_BYTES),
            })
        })
    }

    /// Long polls that one API key may have open.
    pub(super) fn waits_per_key(&self) -> error::Result<usize> {
        at_least("http.waits_per_key", self.http.waits_per_key, 1)
    }

    /// Where users and the provider reach the public listener.
    pub fn public_url(&self) -> error::Result<Option<Url>> {
        const KEY: &str = "http.public_url";
        if self.http.public_url.is_empty() {
            return Ok(None);
        }
        let url = web_address(KEY, &self.http.public_url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return wrong(KEY, "must have neither a query nor a fragment");
        }
        Ok(Some(url))
    }

    /// Whether the public listener serves `/docs`.
    pub(super) fn serves_docs(&self) -> bool {
        self.http.docs
    }

    /// Callbacks written by one commit at most.
    pub(super) fn max_batch(&self) -> error::Result<usize> {
        let most = store::callbacks::MAX_BATCH;
        match self.callbacks.max_batch {
            n if (1..=most).contains(&n) => Ok(n),
            _ => wrong("callbacks.max_batch", format!("must be from 1 to {most}")),
        }
    }

    /// The reviews that need a second person.
    pub(super) fn four_eyes(&self) -> error::Result<FourEyes> {
        one_of(
            "reviews.four_eyes",
            &self.reviews.four_eyes,
            &[("off", FourEyes::Off), ("approvals", FourEyes::Approvals), ("all", FourEyes::All)],
        )
    }

    /// Whether what decides is changed by two persons.
    pub fn policies_need_two(&self) -> error::Result<bool> {
        let four_eyes = &self.policies.four_eyes;
        one_of("policies.four_eyes", four_eyes, &[("off", false), ("on", true)])
    }
}
