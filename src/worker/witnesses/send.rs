//! Has witnesses sign the newest head of the audit. A witness that refuses because rows were changed or
//! are missing is the alarm of the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use merkle_log::head::TreeHead;
use merkle_log::note::{Signature, SignedNote};
use merkle_log::tree::Tree;
use merkle_log::witness::Request;
use reqwest::StatusCode;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::context::AuditHeads;
use crate::audit_log::heads::Witness;
use crate::audit_log::tree::{TreeFault, grow, position, prove_consistency, signed_head};
use crate::domain::audit_heads::KnownHead;
use crate::periodic::{self, Periodic};
use crate::store;
use crate::store::audit_tree::CosignedHead;
use crate::worker::context::Worker;

/// The whole audit is read again after so long: what is in memory notices no change of older rows.
const REREAD_EVERY: Duration = Duration::from_hours(1);
/// A few signatures fit.
const MOST_BYTES: usize = 64 * 1024;

/// What became of a head at a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Signed,
    /// It has signed a head with more rows: the newest rows are missing here.
    Ahead,
    /// The head does not continue the one that it signed: rows were changed.
    Contradicts,
    /// It does not know the log, or its key.
    Unknown,
    NoAnswer,
    /// An answer that the protocol does not have.
    BadAnswer,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Ahead => "ahead",
            Self::Contradicts => "contradicts",
            Self::Unknown => "unknown-log",
            Self::NoAnswer => "no-answer",
            Self::BadAnswer => "bad-answer",
        }
    }
}

/// An answer of a witness.
enum Answer {
    Signatures(String),
    /// The rows of the head that it signed last.
    Size(u64),
    Refused(Outcome),
}

struct SendHeads<'a> {
    worker: &'a Worker,
    heads: &'a AuditHeads,
    /// The rows that were read since the tree was begun.
    tree: Tree,
    begun: Instant,
    /// The rows of the head that each witness signed last, by the label of its key.
    signed: BTreeMap<String, u64>,
}

impl Worker {
    /// Runs until dropped. Several workers may do it at once: a witness takes one head after the other.
    pub(in crate::worker) async fn send_heads(&self) {
        let Some(heads) = &self.heads else { return std::future::pending().await };
        let (tree, begun, signed) = (Tree::default(), Instant::now(), BTreeMap::new());
        periodic::repeat(&self.ids, SendHeads { worker: self, heads, tree, begun, signed }).await;
    }
}

impl Periodic for SendHeads<'_> {
    async fn round(&mut self) -> Duration {
        match self.send().await {
            Ok(()) => {}
            Err(TreeFault::Store(error)) => {
                tracing::warn!(%error, cause = error.cause().code(), "audit head not computed yet");
            }
            Err(fault) => tracing::error!(error = %fault, "audit head cannot be computed"),
        }
        self.heads.every
    }
}

impl SendHeads<'_> {
    async fn send(&mut self) -> Result<(), TreeFault> {
        let (store, heads) = (&self.worker.store, self.heads);
        for kept in store.audit_tree().cosigned(heads.key.verifying().name()).await? {
            self.signed.entry(kept.witness).or_insert(kept.size.unsigned_abs());
        }
        if self.begun.elapsed() > REREAD_EVERY {
            (self.tree, self.begun) = (Tree::default(), Instant::now());
        }
        // Only rows that a checkpoint stands behind: until then the vault's key can be replaced.
        let last = store.audit().audit_checkpointed_to().await?;
        grow(store, &mut self.tree, last).await?;
        if self.tree.size() == 0 {
            return Ok(());
        }
        let (head, note) = signed_head(&self.tree, &heads.key);
        let asked = heads.witnesses.iter().map(|witness| self.ask(witness, &head, &note));
        let outcomes = join_all(asked).await;
        // Another worker may have sent a newer head meanwhile.
        let newest = store.audit().audit_head().await?.0;
        for (witness, outcome) in heads.witnesses.iter().zip(outcomes) {
            let (outcome, size) = outcome?;
            let was_overtaken = size.is_some_and(|size| position(size) <= newest);
            if outcome != Outcome::Ahead || !was_overtaken {
                report(witness, outcome);
            }
            if let Some(size) = size {
                self.signed.insert(witness.key.label(), size);
            }
        }
        Ok(self.report_ages().await?)
    }

    /// Sends the head once, or twice where the witness has signed another than we know of.
    async fn ask(
        &self,
        witness: &Witness,
        head: &TreeHead,
        note: &SignedNote,
    ) -> Result<(Outcome, Option<u64>), TreeFault> {
        let known = self.signed.get(&witness.key.label()).copied().unwrap_or(0);
        if known > head.size {
            return Ok((Outcome::Ahead, Some(known)));
        }
        match self.request(witness, known, head, note).await? {
            Answer::Size(size) if size > head.size => Ok((Outcome::Ahead, Some(size))),
            Answer::Size(size) => match self.request(witness, size, head, note).await? {
                Answer::Size(size) => Ok((Outcome::BadAnswer, Some(size))),
                answer => self.taken(witness, answer, head, note).await,
            },
            answer => self.taken(witness, answer, head, note).await,
        }
    }

    async fn request(
        &self,
        witness: &Witness,
        older: u64,
        head: &TreeHead,
        note: &SignedNote,
    ) -> Result<Answer, TreeFault> {
        let proof = prove_consistency(&self.worker.store, &self.tree, older, head.size).await?;
        let body = Request { older, proof, note: note.clone() }.body();
        let address = witness.address("add-checkpoint");
        let Ok(response) = self.heads.http.post(address).body(body).send().await else {
            return Ok(Answer::Refused(Outcome::NoAnswer));
        };
        Ok(answer(response).await)
    }

    /// Keeps the head, if the answer is a signature of it.
    async fn taken(
        &self,
        witness: &Witness,
        answer: Answer,
        head: &TreeHead,
        note: &SignedNote,
    ) -> Result<(Outcome, Option<u64>), TreeFault> {
        let lines = match answer {
            Answer::Signatures(lines) => lines,
            Answer::Refused(outcome) => return Ok((outcome, None)),
            Answer::Size(size) => return Ok((Outcome::BadAnswer, Some(size))),
        };
        let lines = lines.lines().filter_map(Signature::parse).collect();
        let mut note = note.clone();
        // Others may have signed too: nobody asked for that.
        let answered = SignedNote::new(note.text().to_owned(), lines).of(&witness.key);
        for signature in answered {
            note.add(signature);
        }
        let text = note.to_string();
        let log = self.heads.key.verifying();
        let Ok((_, at)) = KnownHead::cosigned(&text, &witness.key, Some(log)) else {
            return Ok((Outcome::BadAnswer, None));
        };
        let Some(cosigned_at) = time_of(at) else { return Ok((Outcome::BadAnswer, None)) };
        let kept = CosignedHead {
            witness: witness.key.label(),
            origin: head.origin.clone(),
            size: position(head.size),
            root: head.root.bytes().to_vec(),
            cosigned_at,
            note: text,
        };
        self.worker.store.audit_tree().keep_cosigned(&kept).await?;
        Ok((Outcome::Signed, Some(head.size)))
    }

    /// By what the database keeps, so that every worker says the same.
    async fn report_ages(&self) -> store::Result<()> {
        let origin = self.heads.key.verifying().name();
        let kept = self.worker.store.audit_tree().cosigned(origin).await?;
        let now = self.worker.clock.now();
        for witness in &self.heads.witnesses {
            let label = witness.key.label();
            let newest = kept.iter().find(|head| head.witness == label);
            let age =
                newest.map_or(f64::INFINITY, |head| (now - head.cosigned_at).as_seconds_f64());
            let name = witness.key.name().to_owned();
            metrics::gauge!("verdict_audit_cosigned_age_seconds", "witness" => name).set(age);
        }
        Ok(())
    }
}

async fn answer(mut response: reqwest::Response) -> Answer {
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) if body.len() + chunk.len() <= MOST_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Answer::Refused(Outcome::BadAnswer),
            Err(_) => return Answer::Refused(Outcome::NoAnswer),
        }
    }
    let text = String::from_utf8(body).unwrap_or_default();
    match status {
        StatusCode::OK => Answer::Signatures(text),
        StatusCode::CONFLICT => match text.trim_end().parse() {
            Ok(size) => Answer::Size(size),
            Err(_) => Answer::Refused(Outcome::BadAnswer),
        },
        StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused(Outcome::Contradicts),
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Answer::Refused(Outcome::Unknown),
        _ => Answer::Refused(Outcome::BadAnswer),
    }
}

fn time_of(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

fn report(witness: &Witness, became: Outcome) {
    let (witness, outcome) = (witness.key.name(), became.as_str());
    let name = witness.to_owned();
    metrics::counter!("verdict_audit_heads_total", "witness" => name, "outcome" => outcome)
        .increment(1);
    match became {
        Outcome::Signed => {}
        Outcome::Ahead | Outcome::Contradicts => {
            tracing::error!(witness, outcome, "the audit is not the one that a witness signed");
        }
        _ => tracing::warn!(witness, outcome, "audit head not signed by a witness yet"),
    }
}
