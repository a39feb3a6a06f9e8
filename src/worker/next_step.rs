//! What an answer means for the verification and for the account: pure, and the one place where
//! it is said.

use std::time::Duration;

use crate::domain::answer::{AnswerError, ErrorClass};
use crate::domain::verification::State;
use crate::provider::is_conclusive;
use crate::store::accounts::Breaker;
use crate::store::claims::{Claimed, Wanted};
use crate::store::completions::NextStep;

/// When to ask again.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Delays between polls of an unfinished verification; the last one repeats.
    pub unfinished: Vec<Duration>,
    /// Longest first backoff; doubles with every failure in a row.
    pub backoff_first: Duration,
    /// Longest backoff.
    pub backoff_longest: Duration,
    /// Answers in a row that are unreadable, or refusals that may pass, before it is a dead letter.
    pub unreadable_tries: i32,
    /// Passing faults in a row, of this verification alone while others succeed, before it is a
    /// dead letter.
    pub transient_tries: i32,
}

/// Longest wait a provider may ask of one verification: an answer that says "in a year" is a
/// mistake of the provider's, and must not lose ours.
const LONGEST_TOLD_WAIT: Duration = Duration::from_hours(1);
/// Longest pause of the whole account after one throttled call. Throttling counts per second, so
/// one second is what a pause can win.
const LONGEST_ACCOUNT_PAUSE: Duration = Duration::from_secs(1);
/// While calls are stopped rows probe one after the other, those that have not failed first; one
/// that was refused counts as having failed (once, however often) and makes room for the next, in
/// case it alone is refused.
const BEHIND_THE_OTHERS: Duration = Duration::from_secs(1);
/// Pause of the account where the provider does not say how long.
const ACCOUNT_PAUSE: Duration = Duration::from_millis(500);

/// What came of one call.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A verification status.
    Status(i32),
    /// The status once more, in an answer that says nothing but what the standing decision was made
    /// from.
    AsBefore(i32),
    /// An error, and how long the provider asked us to wait.
    Error(&'a AnswerError, Option<Duration>),
    /// No answer at all: connection, timeout.
    Nothing,
    /// We have nothing to sign with.
    NoCredentials,
    /// Not asked: the answer could not have been sealed. A key missing from the ring may come back.
    Unsealable,
}

/// What to do about the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEffect {
    /// It is in good order.
    Well,
    /// Says nothing about the account.
    None,
    /// A passing fault: enough in a row open the breaker.
    Fault,
    /// Everybody waits this long.
    Pause(Duration),
    /// Stop calling for the account.
    Trip(Breaker),
}

/// The consequence of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// For the verification.
    pub next: NextStep,
    /// For the account.
    pub account: AccountEffect,
    /// The answer is fit for a decision.
    pub decide: bool,
}

/// Draws the consequence. `jitter` is in `[0, 1)`; `breaker_open` says that the account was
/// already suspected when the call went out: then nothing is held against the verification.
pub fn consequence(
    schedule: &Schedule,
    claimed: &Claimed,
    heard: Heard<'_>,
    jitter: f64,
    breaker_open: bool,
) -> Consequence {
    let drawn = awaited(schedule, claimed, heard, jitter, breaker_open);
    match claimed.wanted {
        Wanted::Answer => drawn,
        Wanted::Links { closed } => quietly(claimed.overdue, closed, heard, drawn),
    }
}

/// Asked for links that live, not for an answer: who was decided stays decided, and not even by the
/// same answer is anything decided anew: another policy may be active by now. Where the provider has
/// changed its mind, what it says now counts all the same.
fn quietly(overdue: bool, closed: bool, heard: Heard<'_>, drawn: Consequence) -> Consequence {
    match heard {
        Heard::Status(-1 | 0) if overdue => {}
        Heard::Status(_) if !closed => return drawn,
        _ => {}
    }
    let due_in = match heard {
        Heard::Status(_) | Heard::AsBefore(_) => None,
        _ => drawn.next.due_in,
    };
    let next = NextStep { state: None, closed, due_in, ..drawn.next };
    Consequence { next, decide: false, ..drawn }
}

fn awaited(
    schedule: &Schedule,
    claimed: &Claimed,
    heard: Heard<'_>,
    jitter: f64,
    breaker_open: bool,
) -> Consequence {
    let failures = claimed.failures.saturating_add(1);
    let backoff = || {
        let doublings = claimed.failures.clamp(0, 20);
        let ceiling = (schedule.backoff_first * 2_u32.pow(doublings.unsigned_abs()))
            .min(schedule.backoff_longest);
        // Full jitter: spreads a crowd evenly, and needs no memory of the last delay.
        ceiling.mul_f64(jitter)
    };
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

    let (error, told) = match heard {
        Heard::Status(-1 | 0) | Heard::AsBefore(-1 | 0) if claimed.overdue => {
            return settle(State::Expired, false, 0, AccountEffect::Well);
        }
        Heard::Status(-1 | 0) | Heard::AsBefore(-1 | 0) => return unfinished(schedule, claimed),
        Heard::Status(status) | Heard::AsBefore(status) => {
            return settle(State::Decided, status == 1, 0, AccountEffect::Well);
        }
        Heard::NoCredentials => {
            let trip = AccountEffect::Trip(Breaker::Credentials);
            return again(Duration::ZERO, claimed.failures, trip);
        }
        Heard::Unsealable => return again(backoff(), failures, AccountEffect::None),
        Heard::Nothing => (ErrorClass::Transient, None),
        Heard::Error(error, told) => (error.class, told),
    };
    let code = match heard {
        Heard::Error(error, _) => error.code.as_deref().unwrap_or_default(),
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
        // Once more, at once, with a new nonce, a new timestamp, a new token.
        ErrorClass::Clock if claimed.failures == 0 => {
            again(Duration::ZERO, failures, AccountEffect::None)
        }
        ErrorClass::Credentials if claimed.failures == 0 && code.contains("SecurityToken") => {
            again(Duration::ZERO, failures, AccountEffect::None)
        }
        ErrorClass::Clock if code.starts_with("SignatureNonce") => {
            again(backoff(), failures, AccountEffect::None)
        }
        // Refused again although the account has been well since: its own trouble (a scene that
        // was never saved, say), which must not stop the others.
        ErrorClass::Credentials
            if is_about_permission(code) && claimed.refused_before && !breaker_open =>
        {
            again(backoff(), failures, AccountEffect::None)
        }
        ErrorClass::Clock if claimed.failures > 1 && claimed.refused_before && !breaker_open => {
            again(backoff(), failures, AccountEffect::None)
        }
        ErrorClass::Clock => {
            let failures = claimed.failures.max(failures.min(2));
            again(BEHIND_THE_OTHERS, failures, AccountEffect::Trip(Breaker::Clock))
        }
        ErrorClass::Credentials => {
            let failures = claimed.failures.max(1);
            again(BEHIND_THE_OTHERS, failures, AccountEffect::Trip(Breaker::Credentials))
        }
        ErrorClass::Gone => settle(State::Expired, false, 0, AccountEffect::Well),
        ErrorClass::BadRequest if is_conclusive(Some(code)) => {
            settle(State::Failed, false, failures, AccountEffect::Well)
        }
        // A page of a gateway, a code nobody knows: ten of them in a row are an outage, and then
        // nobody is held to them.
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

/// Codes that may be about one scene (not saved, not granted) as well as about the account; bad
/// keys, signatures and tokens are always about the account.
fn is_about_permission(code: &str) -> bool {
    code == "NoPermission" || code == "Error.NoPermissionAccess" || code.starts_with("Forbidden")
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
    use crate::store::claims::ReferenceUse;
    use crate::store::past::Past;

    const S: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        Schedule {
            unfinished: vec![5 * S, 10 * S, 60 * S],
            backoff_first: S,
            backoff_longest: 300 * S,
            unreadable_tries: 3,
            transient_tries: 10,
        }
    }

    fn claimed(failures: i32, polls: i32) -> Claimed {
        Claimed {
            id: VerificationId(Uuid::nil()),
            biz_type: "t".to_owned(),
            biz_id: "i".to_owned(),
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
            Heard::Error(&error, None),
            0.5,
            breaker_open,
        )
    }

    #[test]
    fn a_fault_of_ours_or_the_providers_never_settles_a_person() {
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
    fn credentials_stop_the_account_and_keep_the_work() {
        for failures in [0, 4, 1000] {
            let after = after(ErrorClass::Credentials, "SignatureDoesNotMatch", failures, false);
            assert_eq!(after.account, AccountEffect::Trip(Breaker::Credentials));
            assert_eq!(after.next.state, None);
            assert!(after.next.due_in.is_some());
        }
    }

    #[test]
    fn one_that_is_refused_while_others_are_not_stops_nobody_else() {
        let error =
            AnswerError { class: ErrorClass::Credentials, code: Some("NoPermission".to_owned()) };
        let again = Claimed { refused_before: true, ..claimed(3, 0) };
        let of = |breaker_open| {
            consequence(&schedule(), &again, Heard::Error(&error, None), 0.5, breaker_open).account
        };
        assert_eq!(of(false), AccountEffect::None);
        // As a probe it says nothing about the others: the account stays stopped.
        assert_eq!(of(true), AccountEffect::Trip(Breaker::Credentials));
    }

    #[test]
    fn only_a_refusal_that_will_not_change_fails_at_once() {
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
    fn a_refused_token_or_timestamp_is_tried_once_more_before_the_account_stops() {
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
    fn unfinished_ones_are_asked_again_on_the_schedule_and_expire_when_overdue() {
        for (polls, seconds) in [(0, 5), (1, 10), (2, 60), (9, 60)] {
            let after = consequence(&schedule(), &claimed(0, polls), Heard::Status(-1), 0.0, false);
            assert_eq!(after.next.due_in, Some(Duration::from_secs(seconds)));
            assert_eq!(after.next.state, Some(State::Unfinished));
            assert_eq!(after.next.polls, polls + 1);
        }
        let overdue = Claimed { overdue: true, ..claimed(0, 3) };
        let after = consequence(&schedule(), &overdue, Heard::Status(0), 0.0, false);
        assert_eq!((after.next.state, after.next.due_in), (Some(State::Expired), None));
    }

    #[test]
    fn waits_are_as_told_within_reason_and_backoff_is_bounded() {
        let error = AnswerError { class: ErrorClass::Throttled, code: None };
        let wait = |told: u64, failures: i32| {
            let heard = Heard::Error(&error, Some(Duration::from_secs(told)));
            consequence(&schedule(), &claimed(failures, 0), heard, 0.999, false).next.due_in
        };
        assert_eq!(wait(7, 0), Some(7 * S));
        assert_eq!(wait(1_000_000, 0), Some(LONGEST_TOLD_WAIT));
        assert_eq!(wait(3000, 0), Some(3000 * S));
        assert!(wait(0, i32::MAX).unwrap() <= 300 * S);
    }

    #[test]
    fn only_status_one_is_final() {
        for status in [1, 2, 7, 12, 42, -2] {
            let after = consequence(&schedule(), &claimed(3, 3), Heard::Status(status), 0.0, false);
            assert_eq!(after.next.closed, status == 1);
            assert!(after.decide);
            assert_eq!(after.account, AccountEffect::Well);
        }
    }

    #[test]
    fn asking_for_links_changes_nothing_about_who_was_decided() {
        let gone = AnswerError { class: ErrorClass::Gone, code: Some("DataExpired".to_owned()) };
        let fault = AnswerError { class: ErrorClass::Transient, code: None };
        for closed in [true, false] {
            let quiet =
                Claimed { wanted: Wanted::Links { closed }, overdue: true, ..claimed(0, 0) };
            let heard = [
                (Heard::Error(&gone, None), false),
                (Heard::Status(-1), false),
                (Heard::Error(&fault, None), true),
                (Heard::Nothing, true),
                (Heard::NoCredentials, true),
            ];
            for (heard, again) in heard {
                let drawn = consequence(&schedule(), &quiet, heard, 0.5, false);
                assert_eq!((drawn.next.state, drawn.next.closed), (None, closed), "{heard:?}");
                assert_eq!(
                    (drawn.next.due_in.is_some(), drawn.decide),
                    (again, false),
                    "{heard:?}"
                );
            }
        }
        let closed = Claimed { wanted: Wanted::Links { closed: true }, ..claimed(0, 0) };
        for status in [1, 7] {
            let drawn = consequence(&schedule(), &closed, Heard::Status(status), 0.5, false);
            assert!(drawn.next.state.is_none() && drawn.next.closed && !drawn.decide);
        }
        // Nothing new is nothing to decide upon.
        for closed in [true, false] {
            let quiet = Claimed { wanted: Wanted::Links { closed }, ..claimed(0, 0) };
            for status in [1, 7] {
                let drawn = consequence(&schedule(), &quiet, Heard::AsBefore(status), 0.5, false);
                assert_eq!((drawn.next.state, drawn.next.closed), (None, closed));
                assert_eq!((drawn.next.due_in, drawn.decide), (None, false));
            }
        }
        // Somebody who had failed has passed meanwhile.
        let open = Claimed { wanted: Wanted::Links { closed: false }, ..claimed(0, 0) };
        let drawn = consequence(&schedule(), &open, Heard::Status(1), 0.5, false);
        assert!(drawn.next.state == Some(State::Decided) && drawn.next.closed && drawn.decide);
    }
}
