//! Reviewers who ask for cases and give verdicts at the same moment, whose requests break off at any
//! point, while the process that commits their verdicts is killed again and again. No case may get two
//! verdicts, and none may stay with somebody who is gone.
//!
//! The long form:
//!
//! ```sh
//! RACES=10000 SEED=1 cargo test --locked --test scenarios two_reviewers -- --nocapture
//! ```
//!
//! Each round has a seed and a new database. A stopped run continues with
//! the seed and the number that its last line names. The same seed gives the same reviewers; what
//! their requests meet depends on the machine.

use std::time::Duration;

use policy::decision::Outcome;
use verdict::app::Role;
use verdict::domain::case::{Judgement, Mix};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::store::claim_cases::{Next, Reviewing};
use verdict::store::verdicts::{Given, NewVerdict};
use verdict::store::{self, Store};

use crate::cases::Person;
use crate::harness::{Options, Setting, callback, now};

/// Cases of the normal run.
const FEW: usize = 40;
const REVIEWERS: usize = 3;
const LEASE: Duration = Duration::from_millis(400);
const UNDO: Duration = Duration::from_millis(60);

/// Cases of one round of the long form.
const ROUND: usize = 500;

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    }
}

#[tokio::test]
async fn no_race_of_reviewers_gives_a_case_two_verdicts() {
    let (mut left, mut seed) = (number("RACES", FEW), number("SEED", 1));
    while left > 0 {
        let cases = left.min(ROUND);
        race(cases, seed).await;
        (left, seed) = (left - cases, seed + 1);
        if left > 0 {
            say(&format!("the rest: RACES={left} SEED={seed}"));
        }
    }
}

#[expect(clippy::print_stdout, reason = "a stopped run continues from there")]
fn say(line: &str) {
    println!("{line}");
}

/// One round: everything that was promised is so at its end.
async fn race(cases: usize, seed: usize) {
    let began = std::time::Instant::now();
    let mut setting = Setting::new(Options { fixed_clock: false, ..Options::default() }).await;
    let service = setting.serve().await;
    for n in 0..cases {
        let biz_id = format!("pass-88-{n}");
        assert_eq!(service.post(&setting.client, callback(&biz_id, now())).await, Some(202));
    }
    setting.drained().await;
    service.kill().await;
    let store = setting.database.store();
    let open: i64 = count(&store, "select count(*) from cases where closed_at is null").await;
    assert_eq!(usize::try_from(open).unwrap(), cases);

    let mut reviewers = Vec::new();
    for n in 0..REVIEWERS {
        let store = setting.database.store();
        let person = Person::of(&store, &Clock::system(), &format!("reviewer-{n}")).await;
        let dice = Ids::counted(u64::try_from(seed * REVIEWERS + n).unwrap() << 32);
        reviewers.push(tokio::spawn(review_until_none_is_left(store, person, dice)));
    }
    setting.options.role = Role::Worker;
    // Two workers commit side by side; one of them is killed again and again.
    let steady = setting.serve().await;
    let mut killed = 0;
    while reviewers.iter().any(|reviewer| !reviewer.is_finished()) {
        let worker = setting.serve().await;
        tokio::time::sleep(Duration::from_millis(300 + 90 * (killed % 7))).await;
        worker.kill().await;
        killed += 1;
    }
    steady.kill().await;
    let mut broken_off = 0;
    for reviewer in reviewers {
        broken_off += reviewer.await.unwrap();
    }
    let assignments = count(&store, "select count(*) from assignments").await;
    let lapsed = "select count(*) from assignments where ended_as = 'lapsed'";
    let lapsed = count(&store, lapsed).await;
    say(&format!(
        "seed {seed}: {cases} cases, {assignments} claims, {lapsed} lapsed, {broken_off} requests \
         broken off, {killed} workers killed, {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    keeps_every_promise(&store).await;
}

async fn keeps_every_promise(store: &Store) {
    for (what, query) in [
        (
            "a case with more or less than one decision by a person",
            "select count(*) from cases c where 1 <> (select count(*) from decisions d
                 where d.verification_id = c.verification_id and d.decided_by = 'person')",
        ),
        (
            "a decision without its review, or with two",
            "select count(*) from decisions d where d.decided_by = 'person'
                 and 1 <> (select count(*) from reviews r where r.decision_id = d.id)",
        ),
        (
            "a case that two assignments have decided",
            "select count(*) from (select from assignments where ended_as = 'decided'
                 group by decision_id having count(*) > 1) twice",
        ),
        (
            "a decision that is not what its assignment says",
            "select count(*) from assignments a join reviews r on r.id = a.review_id
             where a.ended_as = 'decided' and (r.outcome, r.reason, r.about)
                 <> (a.outcome, a.reason, a.decision_id)",
        ),
        (
            "a decision whose assignment says something else",
            "select count(*) from reviews r join assignments a on a.review_id = r.id
             where r.decision_id is not null and a.ended_as <> 'decided'",
        ),
        (
            "a case that is open, or in somebody's hands",
            "select (select count(*) from cases where closed_at is null)
                 + (select count(*) from assignments where ended_at is null and kind = 'review'
                     and exists (select from cases c where c.decision_id = assignments.decision_id
                         and c.closed_at is null))",
        ),
        (
            "a case that two reviewers had at the same time",
            "select count(*) from assignments a join assignments b using (decision_id)
             where b.id <> a.id and b.claimed_at > a.claimed_at and b.claimed_at < a.ended_at",
        ),
    ] {
        assert_eq!(count(store, query).await, 0, "{what}");
    }
}

async fn count(store: &Store, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(store.pool()).await.unwrap()
}

/// Works until every case is closed; how many requests broke off. Each may at any moment, as when a
/// browser or a process goes away.
async fn review_until_none_is_left(store: Store, person: Person, dice: Ids) -> u64 {
    let mut broken_off = 0;
    loop {
        let open = "select count(*) from cases where closed_at is null";
        if count(&store, open).await == 0 {
            return broken_off;
        }
        let whole = review_one(&store, &person, &dice);
        // Often too little for all of it.
        let patience = Duration::from_millis(3).mul_f64(1.0 + 30.0 * dice.fraction());
        match tokio::time::timeout(patience, whole).await {
            Ok(Ok(true)) => {}
            Err(_) => broken_off += 1,
            Ok(Ok(false)) => tokio::time::sleep(Duration::from_millis(20)).await,
            // Others claim, or the connection was cut by the break before.
            Ok(Err(error)) => assert!(error.is_passing(), "{error}"),
        }
    }
}

/// `true`: a verdict was given and not undone.
async fn review_one(store: &Store, person: &Person, dice: &Ids) -> store::Result<bool> {
    let ids = Ids::random();
    let assignments = store.assignments();
    let who = Reviewing { scenes: None, ..person.reviewing() };
    let next = assignments.next(&who, Mix::NOTHING, LEASE, ids.next(now()), now()).await?;
    let (Next::Claimed(id) | Next::Open(id)) = next else { return Ok(false) };
    assignments.judge(id, person.user, Judgement::ProbablySame, LEASE).await?;
    let fraction = dice.fraction();
    let verdict = NewVerdict {
        id,
        user: person.user,
        outcome: if fraction < 0.5 { Outcome::Approve } else { Outcome::Reject },
        reason: "seen".to_owned(),
        note: None,
        review: ids.next(now()),
    };
    let given = assignments.give(&verdict, UNDO).await?;
    if given != Given::Taken {
        return Ok(false);
    }
    if fraction < 0.2 {
        // At the last moment, or too late.
        tokio::time::sleep(UNDO.mul_f64(0.8 + fraction * 2.0)).await;
        return Ok(!assignments.undo(id, person.user, LEASE).await?);
    }
    Ok(true)
}
