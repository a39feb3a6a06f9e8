//! The witnesses of the audit: whether each has signed a head lately.

use merkle_log::note::VerifyingKey;
use time::{Duration, OffsetDateTime};

use super::database::unasked;
use super::finding::Finding;
use crate::audit_log::heads::HeadSettings;
use crate::store::Store;
use crate::store::audit_tree::CosignedHead;

/// A witness that has signed nothing for so many rounds, and for so long at least, is silent.
const ROUNDS: u32 = 10;
const SHORTEST: Duration = Duration::minutes(15);

/// By what the database keeps of them: whether a worker reaches them counts, not whether this does.
pub async fn of_witnesses(
    heads: &HeadSettings,
    store: &Store,
    now: OffsetDateTime,
) -> Vec<Finding> {
    if heads.witnesses.is_empty() {
        return vec![Finding::ok("no witness is configured (audit.witnesses)")];
    }
    let kept = match store.audit_tree().cosigned(heads.name()).await {
        Ok(kept) => kept,
        Err(error) => return vec![unasked(&error)],
    };
    let longest = Duration::try_from(heads.every * ROUNDS).unwrap_or(Duration::MAX).max(SHORTEST);
    let found = heads.witnesses.iter().map(|witness| of_witness(&witness.key, &kept, longest, now));
    found.collect()
}

fn of_witness(
    witness: &VerifyingKey,
    kept: &[CosignedHead],
    longest: Duration,
    now: OffsetDateTime,
) -> Finding {
    const HINT: &str = "check that a worker and the witness run, and what the worker logs: `audit head \
        not signed by a witness yet`, or that the audit is not the one that it signed";
    let (name, label) = (witness.name(), witness.label());
    match kept.iter().find(|head| head.witness == label) {
        None => Finding::warning(format!("{name} has signed no head of the audit"), HINT),
        Some(head) if head.cosigned_at + longest < now => {
            let minutes = (now - head.cosigned_at).whole_minutes();
            Finding::warning(format!("{name} signed its newest head {minutes} min ago"), HINT)
        }
        Some(head) => Finding::ok(format!("{name} signed the audit up to row {}", head.size)),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::State;
    use super::*;

    #[test]
    fn silent_witness_is_found() {
        const KEY: &str =
            "witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
        let (key, now) = (VerifyingKey::parse(KEY).unwrap(), datetime!(2026-12-03 12:00 UTC));
        let head = |witness: &str, minutes| CosignedHead {
            witness: witness.to_owned(),
            origin: "log.example/audit".to_owned(),
            size: 7,
            root: Vec::new(),
            cosigned_at: now - Duration::minutes(minutes),
            note: String::new(),
        };
        let state = |kept: &[CosignedHead]| of_witness(&key, kept, SHORTEST, now).state;
        assert_eq!(state(&[head(&key.label(), 14)]), State::Ok);
        assert_eq!(state(&[head(&key.label(), 16)]), State::Warning);
        // Signed with a key that it had before.
        assert_eq!(state(&[head("witness.example/w1+00000000", 1)]), State::Warning);
    }
}
