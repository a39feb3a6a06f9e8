//! The facts of a case, shown once the faces are judged: scores with their bounds, reasons with the
//! observed values, evidence, timeline, earlier verifications, the shadow policy's outcome.

use crate::console::figures::{Figure, symbol};
use crate::console::frame::moments::Moments;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::person;
use crate::console::verifications::pictures::Picture;
use crate::console::verifications::reveal::Choice;
use crate::console::verifications::timeline::{self, EventRow};
use crate::domain::decision::StoredDecision;
use crate::domain::ids::{DecisionId, VerificationId};
use crate::domain::verification::Verification;
use crate::store::listing::Filter;
use crate::store::policies::Use;
use policy::decision::{Datum, Reason};
use policy::evidence::Evidence;
use policy::field::{Field, by_name};
use policy::{Policy, decide, missing_evidence};

/// Earlier verifications that are shown.
const EARLIER: i64 = 10;

/// The fields that are scores, in the order of the page.
const SCORES: [Field; 9] = [
    Field::LowestScore,
    Field::AuthorityScore,
    Field::FaceScore,
    Field::IdCardFaceScore,
    Field::VerifyScore,
    Field::IdCardScore,
    Field::QualityScore,
    Field::AttackScore,
    Field::GuardRiskScore,
];

/// One reason of the decision.
pub(in crate::console) struct ReasonRow {
    pub(in crate::console) code: String,
    pub(in crate::console) text: Option<String>,
    pub(in crate::console) observed: Vec<Figure>,
}

pub(super) struct ScoreRow {
    pub(super) name: &'static str,
    pub(super) value: Figure,
    pub(super) bounds: String,
}

/// An earlier verification of the same reference.
pub(super) struct EarlierRow {
    pub(super) began: String,
    pub(super) machine: String,
    pub(super) scene: String,
    pub(super) outcome: Phrase,
    pub(super) reasons: String,
}

/// The person's data.
pub(super) enum Personal {
    Masked,
    Shown {
        rows: Vec<(Phrase, String)>,
        until: String,
        /// Milliseconds.
        left: u64,
        /// The whole portrait side, with viewer and time over it.
        card: Vec<Picture>,
        mark: String,
    },
    Nothing,
    NotForYou,
}

pub(super) struct Facts {
    pub(super) reasons: Vec<ReasonRow>,
    pub(super) scores: Vec<ScoreRow>,
    pub(super) shadow: Option<Phrase>,
    pub(super) person: Personal,
    pub(super) masked: [Phrase; 4],
    pub(super) purposes: Vec<Choice>,
    pub(super) evidence: Vec<(&'static str, Figure)>,
    pub(super) malformed: Option<String>,
    pub(super) verification: Vec<(Phrase, String)>,
    pub(super) timeline: Vec<EventRow>,
    pub(super) earlier: Vec<EarlierRow>,
    pub(super) has_reference: bool,
    pub(super) is_simulated: bool,
}

/// The case of this decision.
pub(super) async fn of(
    console: &Console,
    who: &SignedIn,
    moments: &Moments,
    (id, about): (VerificationId, DecisionId),
    person: Personal,
    purposes: Vec<Choice>,
) -> Result<Facts, Refused> {
    let store = &console.api.store;
    let verification = store.verifications().find(id).await?.ok_or_else(Refused::not_found)?;
    let decisions = store.results().decisions_of(id).await?;
    let decision = decisions
        .into_iter()
        .find(|decision| decision.id == about)
        .ok_or_else(Refused::not_found)?;
    let results = store.results().results_of(id).await?;
    let result = results.into_iter().find(|result| result.id == decision.result_id);
    let evidence = result.and_then(|result| result.evidence).map(Evidence::with_card_days_at_edge);
    let policy = console.api.policy_cache.get(store, &decision.policy).await?;
    let shadow = match &evidence {
        Some(evidence) => shadow(console, moments.t, evidence).await?,
        None => None,
    };
    let events = store.timeline().events_of(id).await?;
    Ok(Facts {
        reasons: reason_rows(&decision.decision.reasons, policy.as_deref(), who.language.as_str()),
        scores: scores(evidence.as_ref(), policy.as_deref()),
        shadow,
        person,
        masked: person::masked(moments.t),
        purposes,
        evidence: evidence
            .as_ref()
            .map(|evidence| of_evidence(evidence, policy.as_deref()))
            .unwrap_or_default(),
        malformed: evidence
            .as_ref()
            .map(|evidence| evidence.malformed.join(", "))
            .filter(|fields| !fields.is_empty()),
        timeline: timeline::rows(events, moments, Some(about)),
        earlier: earlier(console, who, moments, &verification).await?,
        has_reference: verification.reference.is_some(),
        is_simulated: decision.simulated,
        verification: of_verification(&verification, &decision, moments),
    })
}

/// Reasons of a decision by this policy.
pub(in crate::console) fn reason_rows(
    reasons: &[Reason],
    policy: Option<&Policy>,
    language: &str,
) -> Vec<ReasonRow> {
    let text = |code: &str| {
        let mut texts = policy?.texts_for(code)?;
        texts.remove(language).or_else(|| texts.into_values().next())
    };
    reasons
        .iter()
        .map(|reason| ReasonRow {
            code: reason.code.clone(),
            text: missing_evidence(reason).or_else(|| text(&reason.code)),
            observed: reason.observed.iter().map(Figure::observed).collect(),
        })
        .collect()
}

/// The scores that are there, each with what the policy compares it with.
fn scores(evidence: Option<&Evidence>, policy: Option<&Policy>) -> Vec<ScoreRow> {
    let Some(evidence) = evidence else { return Vec::new() };
    let all = bounds_of(policy);
    let row = |field: Field| {
        let policy::field::Reading::Value(value) = field.read(evidence) else { return None };
        let comparisons = policy.map(|policy| policy.score_comparisons(field)).unwrap_or_default();
        let bounds: Vec<String> = comparisons
            .into_iter()
            .map(|(operator, bound, outcome)| format!("{} {bound} → {outcome}", symbol(operator)))
            .collect();
        let value = Figure::of(&Datum::from(value), &all);
        Some(ScoreRow { name: field.name(), value, bounds: bounds.join(" · ") })
    };
    SCORES.into_iter().filter_map(row).collect()
}

/// Every bound of a score: the lowest score is one of the others.
fn bounds_of(policy: Option<&Policy>) -> Vec<f64> {
    let Some(policy) = policy else { return Vec::new() };
    [policy.score_bounds(), policy.verify_score_bounds()].concat()
}

fn of_evidence(evidence: &Evidence, policy: Option<&Policy>) -> Vec<(&'static str, Figure)> {
    let bounds = bounds_of(policy);
    by_name(evidence).into_iter().map(|(name, value)| (name, Figure::of(&value, &bounds))).collect()
}

fn of_verification(
    verification: &Verification,
    decision: &StoredDecision,
    moments: &Moments,
) -> Vec<(Phrase, String)> {
    let facts = &moments.t.facts;
    let mut rows = vec![(facts.scene, verification.biz_type.as_str().to_owned())];
    rows.extend(verification.reference.clone().map(|reference| (facts.reference, reference)));
    rows.push((facts.product, verification.product.as_str().to_owned()));
    rows.extend(verification.source.clone().map(|source| (facts.source, source)));
    rows.push((facts.attempts, verification.attempts.to_string()));
    rows.push((facts.began, moments.full(verification.created_at)));
    rows.push((facts.decided, moments.full(decision.decided_at)));
    rows
}

/// The outcome of the scene's shadow policy on the evidence.
async fn shadow(
    console: &Console,
    t: &'static Texts,
    evidence: &Evidence,
) -> Result<Option<Phrase>, Refused> {
    let store = &console.api.store;
    for scene in [evidence.biz_type.as_str(), ""] {
        if let Some(digest) = store.policies().policy_in_use(Use::Shadow, scene).await? {
            let policy = console.api.policy_cache.get(store, &digest).await?;
            return Ok(policy.map(|policy| t.words.decided(decide(&policy, evidence).outcome)));
        }
    }
    Ok(None)
}

/// Earlier verifications of the same reference at the same source, newest first.
async fn earlier(
    console: &Console,
    who: &SignedIn,
    moments: &Moments,
    of: &Verification,
) -> Result<Vec<EarlierRow>, Refused> {
    let Some(reference) = &of.reference else { return Ok(Vec::new()) };
    let filter = Filter {
        reference: Some(reference.clone()),
        scenes: who.scenes.limit(),
        ..Filter::default()
    };
    let found = console.api.store.listing().list(&filter, Some(of.id), EARLIER).await?;
    let words = &moments.t.words;
    let same_source = found.into_iter().filter(|found| found.source == of.source);
    Ok(same_source
        .map(|found| EarlierRow {
            began: moments.short(found.created_at),
            machine: Moments::machine(found.created_at),
            scene: found.biz_type.as_str().to_owned(),
            outcome: match &found.decision {
                Some(decision) => words.decided(decision.decision.outcome),
                None => words.state(found.state),
            },
            reasons: found
                .decision
                .map(|decision| decision.decision.codes().join(", "))
                .unwrap_or_default(),
        })
        .collect())
}
