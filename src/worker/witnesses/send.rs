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

/// The whole audit is read again after so long: the tree in memory notices no change of older rows.
const REREAD_EVERY: Duration = Duration::from_hours(1);
/// Reading it may take this share of the time, one part in so many. With tens of millions of rows it
/// takes minutes.
const REREAD_SHARE: u32 = 25;
/// The first request tells how many rows the witness signed last. Another worker can be faster once.
const MOST_REQUESTS: u32 = 3;
/// A few signatures fit.
const MOST_BYTES: usize = 64 * 1024;

/// The result of sending a head to a witness.
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
    /// The older size in the request is not that of the head that it signed last. Contains that size,
    /// if the answer does.
    Conflict(Option<u64>),
    Refused(Outcome),
}

struct SendHeads<'a> {
    worker: &'a Worker,
    heads: &'a AuditHeads,
    /// The rows that were read since the tree was begun.
    tree: Tree,
    begun: Instant,
    reread_after: Duration,
}

impl Worker {
    /// Runs until dropped. Several workers may do it at once: a witness takes one head after the other.
    pub(in crate::worker) async fn send_heads(&self) {
        let Some(heads) = &self.heads else { return std::future::pending().await };
        let (tree, begun, reread_after) = (Tree::default(), Instant::now(), REREAD_EVERY);
        let sending = SendHeads { worker: self, heads, tree, begun, reread_after };
        periodic::repeat(&self.ids, sending).await;
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
        // Before the rows: a head that another worker sends meanwhile has more of them. Nothing
        // without a signature is remembered: an attacker on the network can answer for the witness.
        let signed: BTreeMap<String, u64> = self
            .kept()
            .await?
            .into_iter()
            .map(|kept| (kept.witness, kept.size.unsigned_abs()))
            .collect();
        // Only rows up to a checkpoint: until then the vault's key can be replaced.
        let last = store.audit().audit_checkpointed_to().await?;
        self.read_up_to(last).await?;
        if self.tree.size() == 0 {
            return Ok(());
        }
        let (head, note) = signed_head(&self.tree, &heads.key);
        let asked = heads.witnesses.iter().map(|witness| {
            let known = signed.get(&witness.key.label()).copied().unwrap_or(0);
            self.ask(witness, known, &head, &note)
        });
        let outcomes = join_all(asked).await;
        // Another worker may have sent a newer head meanwhile.
        let newest = store.audit().audit_head().await?.0;
        for (witness, outcome) in heads.witnesses.iter().zip(outcomes) {
            let (outcome, size) = outcome?;
            let was_overtaken = size.is_some_and(|size| position(size) <= newest);
            if outcome != Outcome::Ahead || !was_overtaken {
                report(witness, outcome);
            }
        }
        Ok(self.report_ages().await?)
    }

    /// The heads of this log that the database keeps.
    async fn kept(&self) -> store::Result<Vec<CosignedHead>> {
        let origin = self.heads.key.verifying().name();
        self.worker.store.audit_tree().cosigned(origin).await
    }

    /// Lets the tree grow to this row, or computes it again from the first row.
    async fn read_up_to(&mut self, last: i64) -> Result<(), TreeFault> {
        // Rows were read that are gone: the database was restored, or an attacker removed them.
        let are_rows_missing = position(self.tree.size()) > last;
        if are_rows_missing || self.begun.elapsed() > self.reread_after {
            (self.tree, self.begun) = (Tree::default(), Instant::now());
        }
        let (is_new, reading) = (self.tree.size() == 0, Instant::now());
        grow(&self.worker.store, &mut self.tree, last).await?;
        if is_new {
            self.reread_after = REREAD_EVERY.max(reading.elapsed() * REREAD_SHARE);
        }
        Ok(())
    }

    /// Sends the head, and again where the witness has signed another one than the database knows of.
    /// Returns also the size of the witness's head if it is larger.
    async fn ask(
        &self,
        witness: &Witness,
        known: u64,
        head: &TreeHead,
        note: &SignedNote,
    ) -> Result<(Outcome, Option<u64>), TreeFault> {
        if known > head.size {
            return Ok((Outcome::Ahead, Some(known)));
        }
        let mut older = known;
        for _ in 0..MOST_REQUESTS {
            match self.request(witness, older, head, note).await? {
                Answer::Conflict(Some(size)) if size > head.size => {
                    return Ok((Outcome::Ahead, Some(size)));
                }
                // It signed as many rows, with another root. Older witnesses have this status for it.
                Answer::Conflict(size)
                    if older == head.size && size.is_none_or(|it| it == older) =>
                {
                    return Ok((Outcome::Contradicts, None));
                }
                Answer::Conflict(Some(size)) if size != older => older = size,
                Answer::Conflict(_) => break,
                answer => return Ok((self.taken(witness, answer, head, note).await?, None)),
            }
        }
        Ok((Outcome::BadAnswer, None))
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
    ) -> Result<Outcome, TreeFault> {
        let lines = match answer {
            Answer::Signatures(lines) => lines,
            Answer::Refused(outcome) => return Ok(outcome),
            Answer::Conflict(_) => return Ok(Outcome::BadAnswer),
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
            return Ok(Outcome::BadAnswer);
        };
        let Some(cosigned_at) = time_of(at) else { return Ok(Outcome::BadAnswer) };
        let kept = CosignedHead {
            witness: witness.key.label(),
            origin: head.origin.clone(),
            size: position(head.size),
            root: head.root.bytes().to_vec(),
            cosigned_at,
            note: text,
        };
        self.worker.store.audit_tree().keep_cosigned(&kept).await?;
        Ok(Outcome::Signed)
    }

    /// By what the database keeps, so that every worker says the same.
    async fn report_ages(&self) -> store::Result<()> {
        let kept = self.kept().await?;
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
        StatusCode::CONFLICT => Answer::Conflict(text.trim_end().parse().ok()),
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
