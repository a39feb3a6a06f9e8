//! Loading a policy: compile it, check it, run its examples, lint it.

use crate::check;
use crate::compile::{self, Compiled, Example, Limits};
use crate::decide::{decide, missing_evidence};
use crate::decision::Decision;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::effort::Effort;
use crate::lint;
use crate::policy::{EVIDENCE_MISSING, Policy};
use crate::visible::shorten;

/// Most of an example's name, and of a list of reasons, that a diagnostic repeats.
const MOST_NAME_CHARS: usize = 128;
const MOST_REASON_CHARS: usize = 1024;
/// Most rules without evidence that a diagnostic explains.
const MOST_DETAILS: usize = 3;

/// Severity of an example that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailedExample {
    /// The policy is refused.
    Error,
    /// The policy can be tried.
    Warning,
}

impl Policy {
    /// Loads a text: compiles it, checks it, runs its examples. The error holds every error and
    /// warning, in the order of the text.
    pub fn load(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::load_within(text, &Effort::default())
    }

    /// The same, with the caller's budget of steps. A policy that would take more is refused.
    pub fn load_within(text: &str, effort: &Effort) -> Result<Self, Vec<Diagnostic>> {
        load(text, effort, FailedExample::Error)
    }

    /// The same, for trying a policy: an example that fails is a warning.
    pub fn load_to_try(text: &str) -> Result<Self, Vec<Diagnostic>> {
        load(text, &Effort::default(), FailedExample::Warning)
    }

    /// Compiles a text that was accepted before, perhaps by an older version with fewer checks and
    /// higher limits: it must decide again as it did then. Checks nothing and runs no examples, so
    /// its cost is that of reading the text. `None` where the text is no policy.
    pub fn load_stored(text: &str) -> Option<Self> {
        let mut diagnostics = Diagnostics::of(text);
        compile::compile(text, Limits::Stored, &mut diagnostics).map(|compiled| compiled.policy)
    }
}

fn load(text: &str, effort: &Effort, failed: FailedExample) -> Result<Policy, Vec<Diagnostic>> {
    let mut diagnostics = Diagnostics::of(text);
    let compiled = compile::compile(text, Limits::New, &mut diagnostics);
    if let Some(compiled) = &compiled {
        check_all(&mut diagnostics, compiled, effort, failed);
    }
    let refused = diagnostics.has_errors();
    let diagnostics = diagnostics.into_sorted();
    match compiled {
        Some(Compiled { policy, .. }) if !refused => Ok(Policy { warnings: diagnostics, ..policy }),
        _ => Err(diagnostics),
    }
}

/// Looks for errors first and for warnings last, so that the effort goes to errors.
fn check_all(
    diagnostics: &mut Diagnostics,
    compiled: &Compiled,
    effort: &Effort,
    failed: FailedExample,
) {
    let Compiled { policy, name, rules, examples } = compiled;
    check::source(diagnostics, &policy.text);
    check::name(diagnostics, &policy.name, name.clone());
    check::check(diagnostics, rules, effort);
    let steps: usize = rules.iter().map(|located| located.rule.decision_steps()).sum();
    for example in examples {
        if !effort.spend(steps) {
            break;
        }
        run(diagnostics, example, policy, failed);
    }
    if effort.is_spent() {
        diagnostics.error_overall::<()>(
            "this policy takes too much work to check, so it is refused; use fewer rules, \
             comparisons and examples, or shorter lists",
        );
        return;
    }
    lint::lint(diagnostics, rules, effort);
}

/// Reports an example that the policy decides otherwise than the example says.
fn run(diagnostics: &mut Diagnostics, example: &Example, policy: &Policy, failed: FailedExample) {
    let decision = decide(policy, &example.evidence);
    let mut got: Vec<&str> = decision.reasons.iter().map(|r| r.code.as_str()).collect();
    got.sort_unstable();
    let wanted = example.reasons.as_ref().map(|reasons| {
        let mut wanted: Vec<&str> = reasons.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        wanted
    });
    if decision.outcome == example.outcome && wanted.as_ref().is_none_or(|w| *w == got) {
        return;
    }
    // Both lists may be as long as the policy.
    let list = |reasons: Vec<&str>| shorten(&reasons.join(", "), MOST_REASON_CHARS);
    let wanted = wanted.map(|wanted| format!(" ({})", list(wanted))).unwrap_or_default();
    let message = format!(
        "the example \"{}\" expects {}{wanted}, but the policy decides {} ({}){}",
        shorten(&example.name, MOST_NAME_CHARS),
        example.outcome,
        decision.outcome,
        list(got),
        missing(example, &decision)
    );
    match failed {
        FailedExample::Error => {
            diagnostics.error::<()>(example.span.clone(), message);
        }
        FailedExample::Warning => diagnostics.warn(example.span.clone(), message),
    }
}

/// Explains `evidence-missing` where the example does not expect it.
fn missing(example: &Example, decision: &Decision) -> String {
    let is_expected = |code: &str| {
        example.reasons.as_ref().is_some_and(|reasons| reasons.iter().any(|given| given == code))
    };
    if is_expected(EVIDENCE_MISSING) {
        return String::new();
    }
    let details = decision.reasons.iter().filter_map(missing_evidence).take(MOST_DETAILS);
    details.fold(String::new(), |told, detail| told + "; " + &detail)
}
