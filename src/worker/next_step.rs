//! Decides the consequence of a call for the verification and for the account. Pure; no other place
//! decides it.

use std::time::Duration;

use super::backoff::Backoff;
use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::verification::State;
use crate::provider::{Progress, is_about_permission, is_conclusive};
use crate::store::account_breaker::Breaker;
use crate::store::claims::{Claimed, Wanted};
use crate::store::completions::NextStep;

/// When to poll and to retry.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Delays between polls of an unfinished verification; the last one repeats.
    pub unfinished: Vec<Duration>,
    /// Delay of a retry after failures in a row.
    pub backoff: Backoff,
    /// Unreadable answers in a row, or refusals that may be transient, before it is a dead letter.
    pub unreadable_tries: i32,
    /// Transient faults in a row, of this verification alone while others succeed, before it is a
    /// dead letter.
    pub transient_tries: i32,
}

/// Longest wait that the provider may impose on one verification: an answer "in a year" is the
/// provider's mistake, and must not cost us the verification.
const LONGEST_TOLD_WAIT: Duration = Duration::from_hours(1);
/// Longest pause of the whole account after one throttled call. Throttling counts per second, so a
/// longer pause gains nothing.
const LONGEST_ACCOUNT_PAUSE: Duration = Duration::from_secs(1);
/// While the breaker is open, verifications probe one after the other, those that have not failed
/// first. A refused one counts as failed (once, however often) and is rescheduled behind the next,
/// because it alone may be refused.
const REFUSED_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Pause of the account where the provider does not say how long.
const ACCOUNT_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub enum CallOutcome<'a> {
    /// What the provider says about the verification.
    Answered(Progress),
    /// The same again, in an answer with the same evidence as the current decision.
    Unchanged(Progress),
    /// Not asked: the provider's id of the verification is not known yet. Like an unfinished one, but
    /// it says nothing about the account.
    NotAsked,
    /// An error, and how long the provider asked us to wait, if it did.
    Error(&'a AnswerError, Option<Duration>),
    /// No answer at all: connection, timeout.
    NoAnswer,
    /// We have nothing to sign with.
    NoCredentials,
    /// Not asked: the answer could not be sealed. A key missing from the ring may come back.
    Unsealable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEffect {
    /// The provider serves it.
    Well,
    /// Says nothing about the account.
    None,
    /// A transient fault: enough in a row open the breaker.
    Fault,
    /// No replica calls for this long.
    Pause(Duration),
    /// Open the breaker.
    Trip(Breaker),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    pub next: NextStep,
    pub account: AccountEffect,
    /// The evidence is fit for a decision.
    pub decide: bool,
}

/// `jitter` is in `[0, 1)`. `breaker_open`: the account was already suspected when the call was
/// made, so no failure counts against the verification.
pub fn consequence(
    schedule: &Schedule,
    claimed: &Claimed,
    outcome: CallOutcome<'_>,
    jitter: f64,
    breaker_open: bool,
) -> Consequence {
    let consequence = for_result(schedule, claimed, outcome, jitter, breaker_open);
    match claimed.wanted {
        Wanted::Answer => consequence,
        Wanted::Links { closed } => for_link_refresh(claimed.overdue, closed, outcome, consequence),
    }
}

/// The call only refreshes links: the current decision stays. The same evidence is not decided
/// again, because another policy may be active by now. A changed status counts all the same.
fn for_link_refresh(
    overdue: bool,
    closed: bool,
    outcome: CallOutcome<'_>,
    consequence: Consequence,
) -> Consequence {
    match outcome {
        CallOutcome::Answered(Progress::Unfinished) if overdue => {}
        CallOutcome::Answered(_) if !closed => return consequence,
        _ => {}
    }
    let due_in = match outcome {
        CallOutcome::Answered(_) | CallOutcome::Unchanged(_) => None,
        _ => consequence.next.due_in,
    };
    let next = NextStep { state: None, closed, due_in, ..consequence.next };
    Consequence { next, decide: false, ..consequence }
}

fn for_result(
    schedule: &Schedule,
    claimed: &Claimed,
    outcome: CallOutcome<'_>,
    jitter: f64,
    breaker_open: bool,
) -> Consequence {
    let failures = claimed.failures.saturating_add(1);
    let backoff = || schedule.backoff.full_jitter(claimed.failures, jitter);
    let again = |due_in: Duration, failures: i32, account| Consequence {
        next: NextStep {
            state: None,
            closed: false,
            due_in: Some(due_in),
            failures,
            polls: claimed.polls,
        },
        account,
        decide: false,
    };
    let settle = |state: State, closed: bool, failures: i32, account| Consequence {
        next: NextStep { state: Some(state), closed, due_in: None, failures, polls: claimed.polls },
        account,
        decide: state == State::Decided,
    };

    let (error, told) = match outcome {
        CallOutcome::Answered(progress) | CallOutcome::Unchanged(progress) => {
            return match progress {
                Progress::Unfinished if claimed.overdue => {
                    settle(State::Expired, false, 0, AccountEffect::Well)
                }
                Progress::Unfinished => unfinished(schedule, claimed),
                Progress::Finished { last } => settle(State::Decided, last, 0, AccountEffect::Well),
            };
        }
        CallOutcome::NotAsked if claimed.overdue => {
            return settle(State::Expired, false, 0, AccountEffect::None);
        }
        CallOutcome::NotAsked => {
            return Consequence { account: AccountEffect::None, ..unfinished(schedule, claimed) };
        }
        CallOutcome::NoCredentials => {
            let trip = AccountEffect::Trip(Breaker::Credentials);
            return again(Duration::ZERO, claimed.failures, trip);
        }
        CallOutcome::Unsealable => return again(backoff(), failures, AccountEffect::None),
        CallOutcome::NoAnswer => (ErrorClass::Transient, None),
        CallOutcome::Error(error, told) => (error.class, told),
    };
    let code = match outcome {
        CallOutcome::Error(error, _) => error.code.as_deref().unwrap_or_default(),
        _ => "",
    };
    match error {
        ErrorClass::Throttled => {
            let wait = told.unwrap_or_default().min(LONGEST_TOLD_WAIT).max(backoff());
            let pause = told.unwrap_or(ACCOUNT_PAUSE).min(LONGEST_ACCOUNT_PAUSE);
            again(wait, failures, AccountEffect::Pause(pause))
        }
        ErrorClass::Transient if failures >= schedule.transient_tries && !breaker_open => {
            settle(State::Failed, false, failures, AccountEffect::Fault)
        }
        ErrorClass::Transient => {
            let wait = told.unwrap_or_default().min(LONGEST_TOLD_WAIT).max(backoff());
            again(wait, failures, AccountEffect::Fault)
        }
        // Retried at once, with a new nonce, a new timestamp, a new token.
        ErrorClass::Clock if claimed.failures == 0 => {
            again(Duration::ZERO, failures, AccountEffect::None)
        }
        ErrorClass::Credentials if claimed.failures == 0 && code.contains("SecurityToken") => {
            again(Duration::ZERO, failures, AccountEffect::None)
        }
        ErrorClass::Clock if code.starts_with("SignatureNonce") => {
            again(backoff(), failures, AccountEffect::None)
        }
        // Refused again although the account has worked since: a fault of this verification, such
        // as a scene that was never saved. It must not stop the others.
        ErrorClass::Credentials
            if is_about_permission(claimed.product, code)
                && claimed.refused_before
                && !breaker_open =>
        {
            again(backoff(), failures, AccountEffect::None)
        }
        ErrorClass::Clock if claimed.failures > 1 && claimed.refused_before && !breaker_open => {
            again(backoff(), failures, AccountEffect::None)
        }
        ErrorClass::Clock => {
            let failures = claimed.failures.max(failures.min(2));
            again(REFUSED_RETRY_DELAY, failures, AccountEffect::Trip(Breaker::Clock))
        }
        ErrorClass::Credentials => {
            let failures = claimed.failures.max(1);
            again(REFUSED_RETRY_DELAY, failures, AccountEffect::Trip(Breaker::Credentials))
        }
        ErrorClass::Gone => settle(State::Expired, false, 0, AccountEffect::Well),
        ErrorClass::BadRequest if is_conclusive(claimed.product, code) => {
            settle(State::Failed, false, failures, AccountEffect::Well)
        }
        // A gateway's page or an unknown code. Ten of them in a row are an outage, and then do not
        // count against the verification.
        ErrorClass::BadRequest | ErrorClass::Unreadable
            if failures >= schedule.unreadable_tries && !breaker_open =>
        {
            settle(State::Failed, false, failures, AccountEffect::Fault)
        }
        ErrorClass::BadRequest | ErrorClass::Unreadable => {
            again(backoff(), failures, AccountEffect::Fault)
        }
    }
}

fn unfinished(schedule: &Schedule, claimed: &Claimed) -> Consequence {
    let place = usize::try_from(claimed.polls).unwrap_or(0);
    let delay = schedule.unfinished.get(place).or(schedule.unfinished.last());
    Consequence {
        next: NextStep {
            state: Some(State::Unfinished),
            closed: false,
            due_in: Some(delay.copied().unwrap_or(Duration::from_mins(1))),
            failures: 0,
            polls: claimed.polls.saturating_add(1),
        },
        account: AccountEffect::Well,
        decide: false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{LeaseToken, VerificationId};
    use crate::store::claims::Past;
    use crate::store::claims::ReferenceUse;
    use policy::product::Product;

    const S: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        Schedule {
            unfinished: vec![5 * S, 10 * S, 60 * S],
            backoff: Backoff::new(S, 300 * S),
            unreadable_tries: 3,
            transient_tries: 10,
        }
    }

    fn claimed(failures: i32, polls: i32) -> Claimed {
        Claimed {
            id: VerificationId(Uuid::nil()),
            product: Product::VerifyResult,
            biz_type: "t".to_owned(),
            biz_id: "i".to_owned(),
            certify_id: None,
            lease_token: LeaseToken(Uuid::nil()),
            attempt: 1,
            failures,
            polls,
            callbacks: 1,
            past: Past::default(),
            reference: ReferenceUse::None,
            overdue: false,
            refused_before: false,
            wanted: Wanted::Answer,
            data_key: None,
            trace: None,
        }
    }

    fn after(class: ErrorClass, code: &str, failures: i32, breaker_open: bool) -> Consequence {
        let error = AnswerError { class, code: Some(code.to_owned()) };
        consequence(
            &schedule(),
            &claimed(failures, 0),
            CallOutcome::Error(&error, None),
            0.5,
            breaker_open,
        )
    }

    #[test]
    fn faults_never_settle_a_verification() {
        for class in ErrorClass::ALL {
            for failures in 0..50 {
                let after = after(class, "X", failures, true);
                let settled = after.next.state.is_some_and(State::is_settled);
                let may = class == ErrorClass::Gone;
                assert_eq!(settled, may, "{class} after {failures} failures");
                assert_eq!(settled, after.next.due_in.is_none());
                assert!(!after.decide);
            }
        }
    }

    #[test]
    fn refused_credentials_open_breaker_and_keep_work() {
        for failures in [0, 4, 1000] {
            let after = after(ErrorClass::Credentials, "SignatureDoesNotMatch", failures, false);
            assert_eq!(after.account, AccountEffect::Trip(Breaker::Credentials));
            assert_eq!(after.next.state, None);
            assert!(after.next.due_in.is_some());
        }
    }

    #[test]
    fn verification_refused_alone_does_not_open_breaker() {
        let of = |product, code: &str, breaker_open| {
            let code = Some(code.to_owned());
            let error = AnswerError { class: ErrorClass::Credentials, code };
            let again = Claimed { product, refused_before: true, ..claimed(3, 0) };
            consequence(&schedule(), &again, CallOutcome::Error(&error, None), 0.5, breaker_open)
                .account
        };
        let trips = AccountEffect::Trip(Breaker::Credentials);
        for (product, code) in [
            (Product::VerifyResult, "NoPermission"),
            (Product::FaceVerify, "Forbidden.RAM"),
            (Product::FaceVerify, "411"),
        ] {
            assert_eq!(of(product, code, false), AccountEffect::None);
            // As a probe it says nothing about the others: the account stays stopped.
            assert_eq!(of(product, code, true), trips);
        }
        assert_eq!(of(Product::FaceVerify, "SignatureDoesNotMatch", false), trips);
    }

    #[test]
    fn only_conclusive_refusal_fails_at_once() {
        for (code, at_once) in [
            ("InvalidParam.InvalidBiz", true),
            ("MissingParameter", true),
            ("InvalidParam.RecordNotFound", false),
            ("SomethingNew", false),
        ] {
            let first = after(ErrorClass::BadRequest, code, 0, false);
            assert_eq!(first.next.state == Some(State::Failed), at_once, "{code}");
            let last = after(ErrorClass::BadRequest, code, 2, false);
            assert_eq!(last.next.state, Some(State::Failed), "{code}");
        }
    }

    #[test]
    fn refused_token_or_timestamp_is_retried_before_breaker_opens() {
        for (class, code) in [
            (ErrorClass::Credentials, "InvalidSecurityToken.Expired"),
            (ErrorClass::Clock, "InvalidTimeStamp.Expired"),
        ] {
            assert_eq!(after(class, code, 0, false).account, AccountEffect::None);
            assert!(matches!(after(class, code, 1, false).account, AccountEffect::Trip(_)));
        }
        // A nonce used twice is no reason to stop the account.
        assert_eq!(
            after(ErrorClass::Clock, "SignatureNonceUsed", 3, false).account,
            AccountEffect::None
        );
    }

    #[test]
    fn unfinished_is_polled_on_schedule_and_expires_when_overdue() {
        for (polls, seconds) in [(0, 5), (1, 10), (2, 60), (9, 60)] {
            let after = consequence(
                &schedule(),
                &claimed(0, polls),
                CallOutcome::Answered(Progress::Unfinished),
                0.0,
                false,
            );
            assert_eq!(after.next.due_in, Some(Duration::from_secs(seconds)));
            assert_eq!(after.next.state, Some(State::Unfinished));
            assert_eq!(after.next.polls, polls + 1);
        }
        let overdue = Claimed { overdue: true, ..claimed(0, 3) };
        let after = consequence(
            &schedule(),
            &overdue,
            CallOutcome::Answered(Progress::Unfinished),
            0.0,
            false,
        );
        assert_eq!((after.next.state, after.next.due_in), (Some(State::Expired), None));
    }

    #[test]
    fn verification_that_cannot_be_asked_about_says_nothing_about_the_account() {
        for breaker_open in [true, false] {
            for overdue in [true, false] {
                let claimed = Claimed { overdue, ..claimed(0, 1) };
                let outcome = CallOutcome::NotAsked;
                let after = consequence(&schedule(), &claimed, outcome, 0.0, breaker_open);
                let state = if overdue { State::Expired } else { State::Unfinished };
                assert_eq!((after.next.state, after.account), (Some(state), AccountEffect::None));
                assert_eq!(after.next.due_in.is_none(), overdue);
            }
        }
    }

    #[test]
    fn retry_after_is_respected_within_bounds() {
        let error = AnswerError { class: ErrorClass::Throttled, code: None };
        let wait = |told: u64, failures: i32| {
            let outcome = CallOutcome::Error(&error, Some(Duration::from_secs(told)));
            consequence(&schedule(), &claimed(failures, 0), outcome, 0.999, false).next.due_in
        };
        assert_eq!(wait(7, 0), Some(7 * S));
        assert_eq!(wait(1_000_000, 0), Some(LONGEST_TOLD_WAIT));
        assert_eq!(wait(3000, 0), Some(3000 * S));
        assert!(wait(0, i32::MAX).unwrap() <= 300 * S);
    }

    #[test]
    fn only_last_result_closes() {
        for last in [true, false] {
            let outcome = CallOutcome::Answered(Progress::Finished { last });
            let after = consequence(&schedule(), &claimed(3, 3), outcome, 0.0, false);
            assert_eq!(after.next.closed, last);
            assert!(after.decide);
            assert_eq!(after.account, AccountEffect::Well);
        }
    }

    #[test]
    fn link_refresh_keeps_current_decision() {
        let gone = AnswerError { class: ErrorClass::Gone, code: Some("DataExpired".to_owned()) };
        let fault = AnswerError { class: ErrorClass::Transient, code: None };
        for closed in [true, false] {
            let quiet =
                Claimed { wanted: Wanted::Links { closed }, overdue: true, ..claimed(0, 0) };
            let outcome = [
                (CallOutcome::Error(&gone, None), false),
                (CallOutcome::Answered(Progress::Unfinished), false),
                (CallOutcome::Error(&fault, None), true),
                (CallOutcome::NoAnswer, true),
                (CallOutcome::NoCredentials, true),
            ];
            for (outcome, again) in outcome {
                let consequence = consequence(&schedule(), &quiet, outcome, 0.5, false);
                assert_eq!(
                    (consequence.next.state, consequence.next.closed),
                    (None, closed),
                    "{outcome:?}"
                );
                assert_eq!(
                    (consequence.next.due_in.is_some(), consequence.decide),
                    (again, false),
                    "{outcome:?}"
                );
            }
        }
        let closed = Claimed { wanted: Wanted::Links { closed: true }, ..claimed(0, 0) };
        for last in [true, false] {
            let outcome = CallOutcome::Answered(Progress::Finished { last });
            let consequence = consequence(&schedule(), &closed, outcome, 0.5, false);
            assert!(
                consequence.next.state.is_none() && consequence.next.closed && !consequence.decide
            );
        }
        // The same evidence is not decided again.
        for closed in [true, false] {
            let quiet = Claimed { wanted: Wanted::Links { closed }, ..claimed(0, 0) };
            for last in [true, false] {
                let outcome = CallOutcome::Unchanged(Progress::Finished { last });
                let consequence = consequence(&schedule(), &quiet, outcome, 0.5, false);
                assert_eq!((consequence.next.state, consequence.next.closed), (None, closed));
                assert_eq!((consequence.next.due_in, consequence.decide), (None, false));
            }
        }
        // The person had failed and has passed meanwhile.
        let open = Claimed { wanted: Wanted::Links { closed: false }, ..claimed(0, 0) };
        let outcome = CallOutcome::Answered(Progress::Finished { last: true });
        let consequence = consequence(&schedule(), &open, outcome, 0.5, false);
        assert!(
            consequence.next.state == Some(State::Decided)
                && consequence.next.closed
                && consequence.decide
        );
    }
}
