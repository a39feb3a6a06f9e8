//! Every step of accept, claim, complete, renew and release fails, and is repeated. After each
//! failure a successor finishes the work, and `Steps::assert_done` holds: one row per message, one
//! result per attempt, one decision per valid answer, nothing leased or due, the budget spent for
//! exactly the claims, and the same answer for a repeated message.
//!
//! | | Step | Failure | Repeated by | Test |
//! |---|---|---|---|---|
//! | 1 | accept | before the statement reaches Postgres | the store; the sender | `accept_never_reaches_postgres` |
//! | 2 | accept | its backend is terminated before the commit | the store; the sender | `accept_is_cut_off_before_its_commit` |
//! | 3 | accept | committed, the answer is lost | the store; the sender | `accept_commits_and_its_answer_is_lost` |
//! | 4 | accept | answered, killed before waking the worker | nobody: the worker polls | `protocol_workers`: `notification_after_an_accept_is_lost` |
//! | 5 | claim | before it reaches Postgres; before its commit | the worker | `a_claim_rolls_back` |
//! | 6 | claim | committed, the answer is lost: leased by no worker | a successor | `a_claim_commits_and_its_answer_is_lost` |
//! | 7 | claim | claimed, killed before the call | a successor | `a_worker_dies_before_its_call` |
//! | 8 | fetch | call sent, the answer is lost; the process is killed | the worker; a successor | `protocol_workers`: `the_providers_answer_is_lost`, `a_worker_is_killed_during_its_call` |
//! | 9 | fetch | answered, killed before the write | a successor | `protocol_workers`: `worker_is_killed_between_answer_and_write` |
//! | 10 | fetch | the answer comes after the lease's end | fenced off | `protocol_workers`: `answer_arrives_after_the_lease_ended` |
//! | 11 | complete | before it reaches Postgres; before its commit | the store; the worker | `a_completion_rolls_back` |
//! | 12 | complete | committed, the answer is lost | the store; the worker | `a_completion_commits_and_its_answer_is_lost` |
//! | 13 | complete | completed, killed before any signal | nobody: readers poll | `protocol_workers`: `notification_after_a_completion_is_lost` |
//! | 14 | renew | before it reaches Postgres; its answer, the lease is lost | the store | `renewing_fails_and_is_repeated` |
//! | 15 | release | before it reaches Postgres; its answer is lost | the store; the worker | `releasing_fails_and_is_repeated` |
//!
//! Where the store retries by itself, both are tested: one failure, which the caller does not see,
//! and two, which are handed on.

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::harness::protocol::{
    Answer, LEASE, Message, Steps, everything, held, holder, sealed_body, terminate,
    waits_for_a_lock,
};
use crate::harness::{Proxy, READY_FOR_QUERY};
use verdict::domain::ids::LeaseToken;
use verdict::domain::verification::{State, Verification};
use verdict::store::callbacks::Accepted;
use verdict::store::claims;
use verdict::store::completions::{Completion, Written};
use verdict::store::{Error, Result};

/// How often a step fails: the store repeats it once, and then gives up.
const ONCE_AND_TWICE: [usize; 2] = [1, 2];

/// Takes a step, and loses this message of it as often.
async fn losing<T>(proxy: &Proxy, needle: &[u8], times: usize, step: impl Future<Output = T>) -> T {
    let lost: Vec<_> = (0..times).map(|_| proxy.lose_message_with(needle)).collect();
    let outcome = step.await;
    for mut lost in lost {
        lost.try_recv().expect("the message was sent as often, and lost");
    }
    outcome
}

/// Takes a step, has this message of it carried out as often, and loses the answers.
async fn losing_the_answer<T>(
    proxy: &Proxy,
    needle: &[u8],
    times: usize,
    step: impl Future<Output = T>,
) -> T {
    let lost: Vec<_> = (0..times).map(|_| proxy.lose_answer_to(needle, READY_FOR_QUERY)).collect();
    let outcome = step.await;
    for mut lost in lost {
        lost.try_recv().expect("the message was sent as often, and its answer lost");
    }
    outcome
}

/// Waits until the step waits for a lock held by `blocker`, cuts it off as often, and lets the
/// lock go.
async fn cut_off<T>(
    steps: &Steps,
    blocker: sqlx::Transaction<'_, sqlx::Postgres>,
    times: usize,
    step: JoinHandle<T>,
) -> T {
    for _ in 0..times {
        terminate(&steps.look, waits_for_a_lock(&steps.look).await).await;
    }
    blocker.rollback().await.expect("the lock is free again");
    step.await.expect("no panic")
}

#[track_caller]
fn assert_passing<T: std::fmt::Debug>(outcome: &Result<T>) {
    assert!(outcome.as_ref().is_err_and(Error::is_passing), "{outcome:?}");
}

/// The answer to one message, new or repeated.
#[track_caller]
fn told(accepted: Result<Vec<Accepted>>) -> (&'static str, Verification) {
    match accepted.expect("accepted").remove(0) {
        Accepted::New(verification) => ("new", verification),
        Accepted::Repeated(verification) => ("repeated", verification),
        refused => panic!("{refused:?}"),
    }
}

async fn count(steps: &Steps, table: &str) -> usize {
    everything(&steps.look).await[table].len()
}

fn bytes(token: &LeaseToken) -> Vec<u8> {
    token.0.as_bytes().to_vec()
}

#[tokio::test]
async fn accept_never_reaches_postgres() {
    for times in ONCE_AND_TWICE {
        let (steps, proxy) = Steps::behind_proxy().await;
        let message = steps.message("x");
        let send = || steps.accept(std::slice::from_ref(&message));
        let outcome = losing(&proxy, message.id.as_bytes(), times, send()).await;
        let outcome = if times == 1 {
            outcome
        } else {
            assert_passing(&outcome);
            assert_eq!(
                (count(&steps, "callbacks").await, count(&steps, "verifications").await),
                (0, 0)
            );
            send().await
        };
        let (kind, answer) = told(outcome);
        assert_eq!((kind, answer.state, answer.attempts), ("new", State::Pending, 0));
        steps.successor_finishes().await;
        steps.assert_done(&[(message, answer)]).await;
    }
}

#[tokio::test]
async fn accept_is_cut_off_before_its_commit() {
    for times in ONCE_AND_TWICE {
        let steps = Arc::new(Steps::new().await);
        let first = steps.message("b");
        let told_first = steps.accept_new(&first).await;
        // A batch of two: by the order of locks `a` is already written when it waits for `b`.
        let batch = [steps.message("a"), steps.message("b")];
        let mut blocker = steps.look.begin().await.unwrap();
        sqlx::query("select from verifications where id = $1 for update")
            .bind(told_first.id.0)
            .execute(&mut *blocker)
            .await
            .unwrap();
        let (sender, sent) = (Arc::clone(&steps), batch.clone());
        let sending = tokio::spawn(async move { sender.accept(&sent).await });
        let mut outcome = cut_off(&steps, blocker, times, sending).await;
        if times == 2 {
            assert_passing(&outcome);
            assert_eq!(
                (count(&steps, "callbacks").await, count(&steps, "verifications").await),
                (1, 1)
            );
            outcome = steps.accept(&batch).await;
        }
        let mut all = vec![(first, told_first)];
        for (message, accepted) in batch.into_iter().zip(outcome.unwrap()) {
            let Accepted::New(verification) = accepted else { panic!("not new: {accepted:?}") };
            all.push((message, verification));
        }
        assert_eq!(count(&steps, "verifications").await, 2);
        steps.successor_finishes().await;
        steps.assert_done(&all).await;
    }
}

#[tokio::test]
async fn accept_commits_and_its_answer_is_lost() {
    for times in ONCE_AND_TWICE {
        let (steps, proxy) = Steps::behind_proxy().await;
        let message = steps.message("x");
        let send = || steps.accept(std::slice::from_ref(&message));
        let outcome = losing_the_answer(&proxy, message.id.as_bytes(), times, send()).await;
        assert_eq!(
            (count(&steps, "callbacks").await, count(&steps, "verifications").await),
            (1, 1)
        );
        let outcome = if times == 1 {
            outcome
        } else {
            assert_passing(&outcome);
            // The work continues; the repetition gets the first answer.
            steps.fetch(Answer::Rejected).await;
            send().await
        };
        let (kind, answer) = told(outcome);
        assert_eq!((kind, answer.state, answer.attempts), ("repeated", State::Pending, 0));
        assert_eq!(answer.decision, None);
        steps.successor_finishes().await;
        steps.assert_done(&[(message, answer)]).await;
    }
}

/// Nothing was claimed and nothing spent; who comes next gets it as the first attempt.
async fn nothing_came_of_the_claim(steps: &Steps, message: Message, answer: Verification) {
    assert_eq!((steps.spent().await, holder(&steps.look, answer.id).await), (0, None));
    assert_eq!(steps.fetch(Answer::Passed).await.attempt, 1);
    steps.successor_finishes().await;
    steps.assert_done(&[(message, answer)]).await;
}

#[tokio::test]
async fn repeated_callback_with_wait_sees_the_decision() {
    let steps = Arc::new(Steps::new().await);
    let first = steps.message("x");
    let told_first = steps.accept_new(&first).await;
    let claimed = steps.claim(1).await.unwrap().remove(0);
    let answer = steps.answered(&claimed, Answer::Passed);
    let decision = answer.decision.clone().unwrap();
    // A completion that has written everything and not committed yet.
    let mut blocker = steps.look.begin().await.unwrap();
    assert_eq!(steps.complete(&[answer]).await.unwrap(), [Written::Committed]);
    sqlx::query("update verifications set decision_id = null, closed = false, state = 'pending'")
        .execute(&steps.look)
        .await
        .unwrap();
    let kept: String = sqlx::query_scalar("select to_jsonb(d)::text from decisions d")
        .fetch_one(&steps.look)
        .await
        .unwrap();
    sqlx::query("delete from decisions").execute(&steps.look).await.unwrap();
    sqlx::query(
        "insert into decisions overriding system value
         select * from jsonb_populate_record(null::decisions, $1::jsonb)",
    )
    .bind(kept)
    .execute(&mut *blocker)
    .await
    .unwrap();
    sqlx::query("update verifications set decision_id = $1, closed = true, state = 'decided'")
        .bind(decision.id.0)
        .execute(&mut *blocker)
        .await
        .unwrap();

    let second = steps.message("x");
    let (sender, message) = (Arc::clone(&steps), second.clone());
    let accepting =
        tokio::spawn(async move { sender.accept(std::slice::from_ref(&message)).await });
    waits_for_a_lock(&steps.look).await;
    blocker.commit().await.unwrap();
    let told = accepting.await.unwrap().unwrap().remove(0);
    let Accepted::New(told_second) = told else { panic!("not new: {told:?}") };
    assert_eq!(told_second.decision.as_ref().map(|told| told.id), Some(decision.id));
    steps.assert_done(&[(first, told_first), (second, told_second)]).await;
}

#[tokio::test]
async fn a_claim_rolls_back() {
    let (steps, proxy) = Steps::behind_proxy().await;
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    let token: LeaseToken = steps.ids.next(crate::harness::protocol::START);
    let claimed = losing(&proxy, &bytes(&token), 1, steps.claim_as(token, 10, 10)).await;
    assert_passing(&claimed);
    nothing_came_of_the_claim(&steps, message, answer).await;

    let steps = Arc::new(Steps::new().await);
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    let mut blocker = steps.look.begin().await.unwrap();
    sqlx::query("select from accounts for update").execute(&mut *blocker).await.unwrap();
    let worker = Arc::clone(&steps);
    let claiming = tokio::spawn(async move { worker.claim(10).await });
    assert_passing(&cut_off(&steps, blocker, 1, claiming).await);
    nothing_came_of_the_claim(&steps, message, answer).await;
}

#[tokio::test]
async fn a_claim_commits_and_its_answer_is_lost() {
    let (steps, proxy) = Steps::behind_proxy().await;
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    let token: LeaseToken = steps.ids.next(crate::harness::protocol::START);
    let claimed = losing_the_answer(&proxy, &bytes(&token), 1, steps.claim_as(token, 10, 10)).await;
    assert_passing(&claimed);
    // Not repeated: it is leased to nobody, and paid for.
    let until = LEASE.as_secs().cast_signed();
    assert_eq!(holder(&steps.look, answer.id).await, Some((token.0, until)));
    assert_eq!(steps.spent().await, 1);
    a_successor_gets_it_when_the_lease_has_ended(&steps).await;
    steps.assert_done(&[(message, answer)]).await;
}

#[tokio::test]
async fn a_worker_dies_before_its_call() {
    let steps = Steps::new().await;
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    assert_eq!(steps.claim(10).await.unwrap().len(), 1);
    a_successor_gets_it_when_the_lease_has_ended(&steps).await;
    steps.assert_done(&[(message, answer)]).await;
}

async fn a_successor_gets_it_when_the_lease_has_ended(steps: &Steps) {
    steps.advance(LEASE.as_secs().cast_signed() - 1).await;
    assert!(steps.claim(10).await.unwrap().is_empty(), "still leased");
    steps.advance(1).await;
    assert_eq!(steps.fetch(Answer::Passed).await.attempt, 2);
    steps.successor_finishes().await;
}

#[tokio::test]
async fn a_completion_rolls_back() {
    for times in ONCE_AND_TWICE {
        let (steps, proxy) = Steps::behind_proxy().await;
        let message = steps.message("x");
        let answer = steps.accept_new(&message).await;
        let claimed = steps.claim(10).await.unwrap().remove(0);
        let completion = [steps.answered(&claimed, Answer::Rejected)];
        let write = || steps.complete(&completion);
        let written = losing(&proxy, &sealed_body(&claimed), times, write()).await;
        wrote_nothing_and_then_all(&steps, written, times, write).await;
        steps.assert_done(&[(message, answer)]).await;
    }
    for times in ONCE_AND_TWICE {
        let steps = Arc::new(Steps::new().await);
        let message = steps.message("x");
        let answer = steps.accept_new(&message).await;
        let claimed = steps.claim(10).await.unwrap().remove(0);
        let completion = [steps.answered(&claimed, Answer::Rejected)];
        let mut blocker = steps.look.begin().await.unwrap();
        sqlx::query("lock table decisions in share row exclusive mode")
            .execute(&mut *blocker)
            .await
            .unwrap();
        let (worker, batch) = (Arc::clone(&steps), completion.clone());
        let writing = tokio::spawn(async move { worker.complete(&batch).await });
        let written = cut_off(&steps, blocker, times, writing).await;
        wrote_nothing_and_then_all(&steps, written, times, || steps.complete(&completion)).await;
        steps.assert_done(&[(message, answer)]).await;
    }
}

async fn wrote_nothing_and_then_all<F: Future<Output = Result<Vec<Written>>>>(
    steps: &Steps,
    mut written: Result<Vec<Written>>,
    times: usize,
    write: impl FnOnce() -> F,
) {
    if times == 2 {
        assert_passing(&written);
        let kept = ["results", "decisions", "data_keys"].map(|table| count(steps, table));
        for kept in kept {
            assert_eq!(kept.await, 0);
        }
        written = write().await;
    }
    assert_eq!(written.unwrap(), [Written::Committed]);
    assert_eq!((count(steps, "results").await, count(steps, "decisions").await), (1, 1));
    steps.successor_finishes().await;
}

#[tokio::test]
async fn malformed_row_fails_only_its_own_reader() {
    let steps = Steps::new().await;
    let sound = steps.accept_new(&steps.message("sound")).await.id;
    let broken = steps.accept_new(&steps.message("broken")).await.id;
    sqlx::query("update verifications set biz_id = e'no\\nsense' where id = $1")
        .bind(broken.0)
        .execute(&steps.look)
        .await
        .unwrap();
    let found = steps.store.verifications().find_all(&[broken, sound]).await.unwrap();
    assert!(found[0].is_err());
    assert_eq!(found[1].as_ref().unwrap().as_ref().map(|found| found.id), Some(sound));
}

#[tokio::test]
async fn a_completion_commits_and_its_answer_is_lost() {
    for times in ONCE_AND_TWICE {
        let (steps, proxy) = Steps::behind_proxy().await;
        let messages = ["overslept", "x", "unanswered"].map(|biz_id| steps.message(biz_id));
        let mut all = Vec::new();
        for message in messages {
            let answer = steps.accept_new(&message).await;
            all.push((message, answer));
        }
        // In one batch: one whose lease was lost, one with an answer, one without.
        let overslept = steps.claim(1).await.unwrap().remove(0);
        steps.advance(LEASE.as_secs().cast_signed()).await;
        let owned = steps.claim(10).await.unwrap();
        let of = |biz_id: &str| owned.iter().find(|claimed| claimed.biz_id == biz_id).unwrap();
        let batch: Vec<Completion> = [
            (&overslept, Answer::Hopeless),
            (of("x"), Answer::Rejected),
            (of("unanswered"), Answer::Nothing),
        ]
        .map(|(claimed, answer)| steps.answered(claimed, answer))
        .into();
        let needle = sealed_body(of("x"));
        let written = losing_the_answer(&proxy, &needle, times, steps.complete(&batch)).await;
        let before = everything(&steps.look).await;
        // A stored result proves that a completion was written. Without a result the store cannot
        // know, so it reports the safer outcome.
        let known = [Written::Fenced, Written::Committed, Written::Fenced];
        if times == 1 {
            assert_eq!(written.unwrap(), known);
        } else {
            assert_passing(&written);
        }
        // A repetition, however late, gets the same answer and changes nothing.
        assert_eq!(steps.complete(&batch).await.unwrap(), known);
        assert_eq!(everything(&steps.look).await, before);
        assert_eq!((count(&steps, "results").await, count(&steps, "decisions").await), (1, 1));
        assert_eq!(holder(&steps.look, of("unanswered").id).await, None);
        assert_eq!(
            holder(&steps.look, of("overslept").id).await.unwrap().0,
            of("overslept").lease_token.0
        );
        steps.successor_finishes().await;
        steps.assert_done(&all).await;
    }
}

#[tokio::test]
async fn renewing_fails_and_is_repeated() {
    let (steps, proxy) = Steps::behind_proxy().await;
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    let claimed = steps.claim(10).await.unwrap();
    let (mine, token) = (held(&claimed), claimed[0].lease_token);
    let renew = || steps.store.leases().renew(&claims::LEASED, &mine, LEASE);

    steps.advance(2).await;
    assert_passing(&losing(&proxy, &bytes(&token), 2, renew()).await);
    assert_eq!(holder(&steps.look, answer.id).await, Some((token.0, 5)), "not renewed");
    let renewed = losing(&proxy, &bytes(&token), 1, renew()).await.unwrap();
    assert_eq!(renewed, [answer.id.0]);
    assert_eq!(holder(&steps.look, answer.id).await, Some((token.0, 7)));

    steps.advance(2).await;
    assert_passing(&losing_the_answer(&proxy, &bytes(&token), 2, renew()).await);
    assert_eq!(holder(&steps.look, answer.id).await, Some((token.0, 9)), "renewed all the same");
    let renewed = losing_the_answer(&proxy, &bytes(&token), 1, renew()).await.unwrap();
    assert_eq!(renewed, [answer.id.0], "a repeat is still told that it holds it");

    // Expired, but no other worker has claimed the row: renewing works.
    steps.advance(6).await;
    assert_eq!(renew().await.unwrap(), [answer.id.0]);
    steps.advance(5).await;
    let successor = steps.claim(10).await.unwrap();
    let lease = holder(&steps.look, answer.id).await;
    steps.advance(1).await;
    assert!(renew().await.unwrap().is_empty(), "another worker holds it");
    assert_eq!(
        holder(&steps.look, answer.id).await,
        lease,
        "and is not extended for the former one"
    );
    let written = steps.complete(&[steps.answered(&successor[0], Answer::Passed)]).await;
    assert_eq!(written.unwrap(), [Written::Committed]);
    let renewed = steps.store.leases().renew(&claims::LEASED, &held(&successor), LEASE).await;
    assert!(renewed.unwrap().is_empty(), "all done");
    steps.assert_done(&[(message, answer)]).await;
}

#[tokio::test]
async fn releasing_fails_and_is_repeated() {
    let (steps, proxy) = Steps::behind_proxy().await;
    let message = steps.message("x");
    let answer = steps.accept_new(&message).await;
    let mut claimed = steps.claim(10).await.unwrap();
    for times in ONCE_AND_TWICE {
        let (mine, token) = (held(&claimed), claimed[0].lease_token);
        let release = || steps.store.leases().release(&claims::LEASED, &mine);
        let lost = losing(&proxy, &bytes(&token), 2, release()).await;
        assert_passing(&lost);
        assert_eq!(holder(&steps.look, answer.id).await.unwrap().0, token.0, "not released");
        let lost = losing_the_answer(&proxy, &bytes(&token), times, release()).await;
        if times == 1 {
            assert_eq!(lost.unwrap(), 0, "the repeat finds nothing left to release");
        } else {
            assert_passing(&lost);
        }
        assert_eq!(holder(&steps.look, answer.id).await, None, "released, due as before");
        claimed = steps.claim(10).await.unwrap();
        let lease = holder(&steps.look, answer.id).await;
        assert_eq!(release().await.unwrap(), 0, "it is the successor's now");
        assert_eq!(holder(&steps.look, answer.id).await, lease);
    }
    let released = steps.store.leases().release(&claims::LEASED, &held(&claimed)).await;
    assert_eq!(released.unwrap(), 1);
    steps.successor_finishes().await;
    steps.assert_done(&[(message, answer)]).await;
}
