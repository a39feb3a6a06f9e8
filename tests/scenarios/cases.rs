//! Reviewers and their cases: who gets which, and what becomes of a verdict.

use std::time::Duration;

use policy::decision::Outcome;
use serde_json::{Value, json};
use time::OffsetDateTime;
use verdict::domain::case::{Ended, Judgement, Mix};
use verdict::domain::clock::Clock;
use verdict::domain::ids::{AssignmentId, DecisionId, Ids, ReviewId, UserId, VerificationId};
use verdict::domain::review::FourEyes;
use verdict::http::api_key_auth::Scope;
use verdict::store::Store;
use verdict::store::assignments::{Assignment, Hold};
use verdict::store::cases::Filter;
use verdict::store::claim_cases::{Claimed, Next, Reviewing};
use verdict::store::verdicts::{Given, Judged, NewVerdict};

use crate::harness::{Options, Reply, TestApp, eventually, make_key_of};

const LEASE: Duration = Duration::from_mins(10);
/// A verdict that cannot be undone.
pub const AT_ONCE: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_hours(1);

/// A person who may sign in to the console.
pub struct Person {
    store: Store,
    clock: Clock,
    pub user: UserId,
    name: String,
}

impl Person {
    pub async fn new(app: &TestApp, name: &str) -> Self {
        Self::of(&app.store, &app.clock, name).await
    }

    pub async fn of(store: &Store, clock: &Clock, name: &str) -> Self {
        let user: UserId = Ids::random().next(OffsetDateTime::UNIX_EPOCH);
        sqlx::query(
            "insert into users (id, name, language, time_zone, scopes, created_at)
             values ($1, $2, 'en', 'UTC', '{reviews:write}', now())",
        )
        .bind(user.0)
        .bind(name)
        .execute(store.pool())
        .await
        .unwrap();
        Self { store: store.clone(), clock: clock.clone(), user, name: name.to_owned() }
    }

    pub fn reviewing(&self) -> Reviewing<'_> {
        Reviewing { user: self.user, person: &self.name, scenes: None }
    }

    pub async fn next(&self) -> Next {
        self.next_with(Mix::NOTHING).await
    }

    pub async fn next_with(&self, mix: Mix) -> Next {
        let id = Ids::random().next(self.clock.now());
        let now = self.clock.now();
        let who = self.reviewing();
        self.store.assignments().next(&who, mix, LEASE, id, now).await.unwrap()
    }

    /// The next case; there has to be one.
    pub async fn claims(&self) -> AssignmentId {
        match self.next().await {
            Next::Claimed(id) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn claims_this(&self, case: DecisionId) -> Claimed {
        let id = Ids::random().next(self.clock.now());
        self.store.assignments().claim(&self.reviewing(), case, LEASE, id).await.unwrap()
    }

    pub async fn judges(&self, id: AssignmentId, judgement: Judgement) -> Judged {
        self.store.assignments().judge(id, self.user, judgement, LEASE).await.unwrap()
    }

    pub async fn says(&self, id: AssignmentId, outcome: Outcome, undo: Duration) -> Given {
        let review: ReviewId = Ids::random().next(self.clock.now());
        let verdict = NewVerdict {
            id,
            user: self.user,
            outcome,
            reason: "seen".to_owned(),
            note: Some(b"sealed".to_vec()),
            review,
        };
        self.store.assignments().give(&verdict, undo).await.unwrap()
    }

    /// Judges and gives a verdict that a worker commits after `undo`.
    pub async fn decides(&self, id: AssignmentId, outcome: Outcome, undo: Duration) {
        assert_eq!(self.judges(id, Judgement::ProbablySame).await, Judged::Continues);
        assert_eq!(self.says(id, outcome, undo).await, Given::Taken);
    }

    async fn undoes(&self, id: AssignmentId) -> bool {
        self.store.assignments().undo(id, self.user, LEASE).await.unwrap()
    }

    pub async fn assignment(&self, id: AssignmentId) -> Assignment {
        self.store.assignments().find(id, self.user).await.unwrap().unwrap()
    }

    pub async fn ended(&self, id: AssignmentId) -> Option<Ended> {
        self.assignment(id).await.ended.map(|(ended, _)| ended)
    }

    pub async fn until_ended(&self, id: AssignmentId) -> Ended {
        eventually("it ends", || self.ended(id)).await
    }

    pub async fn case(&self, id: AssignmentId) -> (DecisionId, VerificationId) {
        self.assignment(id).await.case().unwrap()
    }

    /// The cases that the queue shows this person.
    async fn queue(&self, filter: &Filter) -> Vec<verdict::store::cases::QueuedCase> {
        let targets = verdict::domain::case::Targets {
            general: Duration::from_hours(4),
            scenes: std::collections::BTreeMap::new(),
        };
        let now = self.clock.now();
        self.store.cases().queue(filter, &targets, now, self.user, None, 50).await.unwrap()
    }
}

/// A verification that a person has to decide.
pub async fn waiting(app: &TestApp, biz_id: &str) -> VerificationId {
    let verification = app.verified(biz_id).await;
    assert_eq!(verification["decision"]["outcome"], "review", "{verification}");
    verification["id"].as_str().unwrap().parse().unwrap()
}

async fn outcome_of(app: &TestApp, id: VerificationId) -> String {
    let reply = app.get(&format!("/v1/verifications/{id}")).await;
    reply.json["decision"]["outcome"].as_str().unwrap_or_default().to_owned()
}

async fn review_by_api(app: &TestApp, key: &str, id: VerificationId, outcome: &str) -> Reply {
    let url = format!("http://{}/v1/verifications/{id}/reviews", app.http);
    let body = json!({ "outcome": outcome, "reason": "by-api" }).to_string();
    let request = app.client.post(url).bearer_auth(key).header("content-type", "application/json");
    Reply::read(request.body(body).send().await.unwrap()).await
}

/// The actions on record about a verification.
async fn recorded(app: &TestApp, id: VerificationId) -> Vec<Value> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select action, actor from audit where subject = $1 order by position")
            .bind(id.0)
            .fetch_all(app.store.pool())
            .await
            .unwrap();
    rows.into_iter().map(|(action, actor)| json!([action, actor])).collect()
}

#[tokio::test]
async fn verdict_becomes_a_decision_of_the_person_on_record() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    let id = waiting(&app, "pass-88").await;
    let assignment = anna.claims().await;
    let (case, verification) = anna.case(assignment).await;
    assert_eq!(verification, id);
    // Faces first, then the verdict.
    assert_eq!(anna.says(assignment, Outcome::Approve, AT_ONCE).await, Given::NotJudged);
    assert_eq!(anna.judges(assignment, Judgement::ProbablySame).await, Judged::Continues);
    let again = anna.judges(assignment, Judgement::CertainlyDifferent).await;
    assert_eq!(again, Judged::Before(Judgement::ProbablySame));
    assert_eq!(anna.says(assignment, Outcome::Approve, AT_ONCE).await, Given::Taken);
    assert_eq!(anna.until_ended(assignment).await, Ended::Decided);
    assert_eq!(
        anna.says(assignment, Outcome::Reject, AT_ONCE).await,
        Given::Lost(Some(Ended::Decided))
    );

    assert_eq!(outcome_of(&app, id).await, "approve");
    let decisions = app.decisions(&id.to_string()).await;
    assert_eq!((decisions.len(), &decisions[1]["by"]), (2, &json!("person")));
    assert_eq!(decisions[1]["reasons"], json!(["seen"]));
    let user = anna.user;
    let record = json!(["verification.review", format!("user:{user} person:anna")]);
    assert!(recorded(&app, id).await.contains(&record));
    let reviews = app.store.reviews().reviews_of(id).await.unwrap();
    assert_eq!((reviews[0].reviewer.clone(), reviews[0].about), (format!("user:{user}"), case));
    assert!(reviews[0].has_note);
    // Nothing is left in the queue, nor of the note beside the review.
    assert!(anna.queue(&Filter::default()).await.is_empty());
    let notes: i64 = sqlx::query_scalar("select count(*) from assignments where note is not null")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(notes, 0);
}

#[tokio::test]
async fn reviewers_get_different_cases_oldest_first() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        app.clock.advance(Duration::from_secs(1));
        ids.push(waiting(&app, &format!("pass-88-{n}")).await);
    }
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    let of_anna = anna.claims().await;
    assert_eq!(anna.next().await, Next::Open(of_anna), "one at a time");
    let of_bo = bo.claims().await;
    assert_eq!((anna.case(of_anna).await.1, bo.case(of_bo).await.1), (ids[0], ids[1]));
    // Others see who has it; one's own looks free, as it would with a golden pair in its place.
    let queue = bo.queue(&Filter::default()).await;
    let holders: Vec<Option<String>> =
        queue.iter().map(|case| case.holder.as_ref().map(|holder| holder.name.clone())).collect();
    assert_eq!(holders, [Some("anna".to_owned()), None, None]);
    assert_eq!(bo.queue(&Filter { free: true, ..Filter::default() }).await.len(), 1);
    assert_eq!(app.store.cases().held(None).await.unwrap().len(), 2);

    // Skipped, it comes again to others only; released, to the same person too.
    assert!(app.store.assignments().skip(of_anna, anna.user).await.unwrap());
    let next = anna.claims().await;
    assert_eq!(anna.case(next).await.1, ids[2]);
    assert!(app.store.assignments().release(next, anna.user).await.unwrap());
    assert!(!app.store.assignments().release(next, anna.user).await.unwrap());
    let next = anna.claims().await;
    assert_eq!(anna.case(next).await.1, ids[2]);
    let cy = Person::new(&app, "cy").await;
    let of_cy = cy.claims().await;
    assert_eq!(cy.case(of_cy).await.1, ids[0]);
    let di = Person::new(&app, "di").await;
    assert_eq!(di.next().await, Next::Empty { skipped: 0 });
    let (case, _) = cy.case(of_cy).await;
    assert!(matches!(di.claims_this(case).await, Claimed::Held(holder) if holder.name == "cy"));
}

#[tokio::test]
async fn escalated_case_goes_to_somebody_else() {
    let app = TestApp::start().await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    waiting(&app, "pass-88").await;
    let assignment = anna.claims().await;
    let assignments = app.store.assignments();
    assert!(assignments.escalate(assignment, anna.user, "needs-expert").await.unwrap());
    assert_eq!(anna.ended(assignment).await, Some(Ended::Escalated));
    assert_eq!(anna.next().await, Next::Empty { skipped: 0 });
    let queue = bo.queue(&Filter { escalated: true, ..Filter::default() }).await;
    assert_eq!(queue[0].escalation.as_deref(), Some("needs-expert"));
    let of_bo = bo.claims().await;
    bo.decides(of_bo, Outcome::Reject, AT_ONCE).await;
    assert_eq!(bo.until_ended(of_bo).await, Ended::Decided);
}

#[tokio::test]
async fn lapsed_claim_goes_to_another_and_its_verdict_is_refused() {
    let app = TestApp::start().await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    waiting(&app, "pass-88").await;
    let of_anna = anna.claims().await;
    assert_eq!(anna.judges(of_anna, Judgement::Unsure).await, Judged::Continues);
    app.database.shift_clock(599).await;
    assert_eq!(bo.next().await, Next::Empty { skipped: 0 });
    // The open page renews it.
    let renewed = app.store.assignments().renew(of_anna, anna.user, LEASE).await.unwrap();
    assert_eq!(renewed, Hold::Held);
    app.database.shift_clock(599 + 599).await;
    assert_eq!(bo.next().await, Next::Empty { skipped: 0 });
    app.database.shift_clock(599 + 602).await;
    let of_bo = bo.claims().await;
    assert_eq!(anna.case(of_anna).await, bo.case(of_bo).await);
    assert_eq!(
        anna.says(of_anna, Outcome::Approve, AT_ONCE).await,
        Given::Lost(Some(Ended::Lapsed))
    );
    let renewed = app.store.assignments().renew(of_anna, anna.user, LEASE).await.unwrap();
    assert_eq!(renewed, Hold::Lost(Some(Ended::Lapsed)));
    bo.decides(of_bo, Outcome::Reject, AT_ONCE).await;
    assert_eq!(bo.until_ended(of_bo).await, Ended::Decided);
}

#[tokio::test]
async fn verdict_is_undone_until_it_is_committed() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    let id = waiting(&app, "pass-88").await;
    let first = anna.claims().await;
    anna.decides(first, Outcome::Approve, LATER).await;
    let pending = app.store.assignments().pending(anna.user).await.unwrap().unwrap();
    assert_eq!((pending.assignment, pending.outcome), (first, Outcome::Approve));
    // Meanwhile the next case is there already; undoing gives it back.
    waiting(&app, "pass-89").await;
    let second = anna.claims().await;
    assert!(anna.undoes(first).await);
    assert_eq!(anna.ended(second).await, Some(Ended::Released));
    assert!(!anna.undoes(first).await);
    assert_eq!(app.store.assignments().open(anna.user).await.unwrap(), Some(first));
    // The judgement stays, the verdict may be another one.
    assert_eq!(anna.says(first, Outcome::Reject, LATER).await, Given::Taken);
    assert_eq!(anna.says(first, Outcome::Reject, LATER).await, Given::Before);
    app.database.shift_clock(3_601).await;
    assert!(!anna.undoes(first).await, "its time has come");
    assert_eq!(anna.until_ended(first).await, Ended::Decided);
    assert_eq!(outcome_of(&app, id).await, "reject");
}

#[tokio::test]
async fn verdict_is_committed_once_however_many_commit_it() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    let stores = [app.database.store(), app.database.store(), app.database.store()];
    for n in 0..8 {
        let id = waiting(&app, &format!("pass-88-{n}")).await;
        let assignment = anna.claims().await;
        anna.decides(assignment, Outcome::Reject, AT_ONCE).await;
        let now = app.clock.now();
        let commits = stores.iter().map(|store| {
            let decision = Ids::random().next(now);
            store.assignments().commit_verdict(FourEyes::Off, decision, now, &[])
        });
        for commit in futures_util::future::join_all(commits).await {
            commit.unwrap();
        }
        assert_eq!(anna.until_ended(assignment).await, Ended::Decided);
        assert_eq!(app.decisions(&id.to_string()).await.len(), 2);
    }
}

#[tokio::test]
async fn verdict_on_a_case_decided_meanwhile_is_told_and_changes_nothing() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    let key = make_key_of(&app.store, "bo", &[Scope::ReviewsWrite]).await;
    // Given, and waiting for its commit time.
    let given = waiting(&app, "pass-88").await;
    let first = anna.claims().await;
    anna.decides(first, Outcome::Approve, LATER).await;
    assert_eq!(review_by_api(&app, &key, given, "reject").await.status, 201);
    app.database.shift_clock(3_601).await;
    assert_eq!(anna.until_ended(first).await, Ended::DecisionChanged);
    assert_eq!(outcome_of(&app, given).await, "reject");
    let untold = app.store.assignments().untold(anna.user).await.unwrap();
    assert_eq!((untold[0].assignment, untold[0].ended), (first, Ended::DecisionChanged));
    app.store.assignments().told(&[first], anna.user).await.unwrap();
    assert!(app.store.assignments().untold(anna.user).await.unwrap().is_empty());

    // Not given yet: the next renewal of the page tells it.
    let open = waiting(&app, "pass-89").await;
    let second = anna.claims().await;
    anna.judges(second, Judgement::CertainlySame).await;
    assert_eq!(review_by_api(&app, &key, open, "reject").await.status, 201);
    let renewed = app.store.assignments().renew(second, anna.user, LEASE).await.unwrap();
    assert_eq!(renewed, Hold::Lost(Some(Ended::DecisionChanged)));
    let given = anna.says(second, Outcome::Approve, AT_ONCE).await;
    assert_eq!(given, Given::Lost(Some(Ended::DecisionChanged)));
    assert_eq!(app.decisions(&open.to_string()).await.len(), 2);
}

#[tokio::test]
async fn erasure_ends_assignments_and_takes_their_notes() {
    let app = TestApp::start().await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    let (given, open) = (waiting(&app, "pass-88").await, waiting(&app, "pass-89").await);
    let first = anna.claims().await;
    anna.decides(first, Outcome::Approve, LATER).await;
    let second = bo.claims().await;
    for id in [given, open] {
        let url = format!("http://{}/v1/verifications/{id}/material", app.http);
        let request = app.client.delete(url).bearer_auth(&app.api_key);
        let reply = Reply::read(request.header("verdict-purpose", "asked").send().await.unwrap());
        assert!(reply.await.status < 300);
    }
    assert_eq!(anna.ended(first).await, Some(Ended::Erased));
    assert_eq!(bo.ended(second).await, Some(Ended::Erased));
    app.database.shift_clock(3_601).await;
    let notes: i64 = sqlx::query_scalar("select count(*) from assignments where note is not null")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(notes, 0);
    assert_eq!(app.store.assignments().untold(anna.user).await.unwrap().len(), 1);
    assert!(app.store.reviews().reviews_of(given).await.unwrap().is_empty());
    assert!(anna.queue(&Filter::default()).await.is_empty());
}

/// How many assignments ended so, by the metrics of this process.
async fn counted(app: &TestApp, ended: &str) -> u64 {
    let metrics = app.client.get(format!("http://{}/metrics", app.operations));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let of_kind = format!("verdict_assignments_total{{kind=\"review\",ended=\"{ended}\"}} ");
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(&of_kind)?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn assignments_that_an_erasure_or_the_api_ends_are_counted() {
    let app = TestApp::start().await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    let erased = waiting(&app, "pass-88").await;
    let first = anna.claims().await;
    let changed = waiting(&app, "pass-89").await;
    let second = bo.claims().await;
    let before = (counted(&app, "erased").await, counted(&app, "decision-changed").await);
    let url = format!("http://{}/v1/verifications/{erased}/material", app.http);
    let request = app.client.delete(url).bearer_auth(&app.api_key);
    let reply = Reply::read(request.header("verdict-purpose", "asked").send().await.unwrap()).await;
    assert!(reply.status < 300, "{reply:?}");
    let key = make_key_of(&app.store, "cy", &[Scope::ReviewsWrite]).await;
    let url = format!("http://{}/v1/verifications/{changed}/reviews", app.http);
    let body = json!({ "outcome": "reject", "reason": "by-api" }).to_string();
    let request = app.client.post(url).bearer_auth(key).header("content-type", "application/json");
    let reply = Reply::read(request.body(body).send().await.unwrap()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(anna.ended(first).await, Some(Ended::Erased));
    assert_eq!(bo.ended(second).await, Some(Ended::DecisionChanged));
    eventually("both are counted", || async {
        let now = (counted(&app, "erased").await, counted(&app, "decision-changed").await);
        (now.0 > before.0 && now.1 > before.1).then_some(())
    })
    .await;
    let uncounted = "select count(*) from assignments where uncounted";
    let uncounted: i64 = sqlx::query_scalar(uncounted).fetch_one(app.store.pool()).await.unwrap();
    assert_eq!(uncounted, 0, "each is counted once");
}

#[tokio::test]
async fn four_eyes_are_two_persons_whether_by_key_or_console() {
    let more = "[reviews]\nfour_eyes = \"all\"".to_owned();
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let (anna, bo) = (Person::new(&app, "anna").await, Person::new(&app, "bo").await);
    let annas_key = make_key_of(&app.store, "anna", &[Scope::ReviewsWrite]).await;
    let id = waiting(&app, "pass-88").await;
    let first = anna.claims().await;
    anna.decides(first, Outcome::Approve, AT_ONCE).await;
    assert_eq!(anna.until_ended(first).await, Ended::Proposed);
    assert_eq!(outcome_of(&app, id).await, "review");
    // She is one person, whatever she comes with.
    assert_eq!(review_by_api(&app, &annas_key, id, "approve").await.status, 202);
    assert_eq!(anna.next().await, Next::Empty { skipped: 0 });
    let (case, _) = anna.case(first).await;
    assert_eq!(anna.claims_this(case).await, Claimed::Reviewed);
    let queue = bo.queue(&Filter { second: true, ..Filter::default() }).await;
    assert!(queue.len() == 1 && queue[0].reviews == 2 && !queue[0].mine);
    // Somebody who was disabled does not count as the first.
    disable(&app, anna.user, true).await;
    sqlx::query("update api_keys set revoked_at = now() where person = 'anna'")
        .execute(app.store.pool())
        .await
        .unwrap();
    let second = bo.claims().await;
    bo.decides(second, Outcome::Approve, AT_ONCE).await;
    assert_eq!(bo.until_ended(second).await, Ended::Proposed);
    disable(&app, anna.user, false).await;
    // A third person agrees with one who counts.
    let third = Person::new(&app, "cy").await;
    let of_cy = third.claims().await;
    third.decides(of_cy, Outcome::Approve, AT_ONCE).await;
    assert_eq!(third.until_ended(of_cy).await, Ended::Decided);
    assert_eq!(outcome_of(&app, id).await, "approve");
}

async fn disable(app: &TestApp, user: UserId, disabled: bool) {
    sqlx::query("update users set disabled_at = case when $2 then now() end where id = $1")
        .bind(user.0)
        .bind(disabled)
        .execute(app.store.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn verdict_of_somebody_who_may_not_decide_any_more_is_not_taken() {
    let app = TestApp::start().await;
    let takes_away: [(&str, &str); 3] = [
        ("anna", "update users set disabled_at = now() where name = 'anna'"),
        ("bo", "update users set scopes = '{decisions:read}' where name = 'bo'"),
        ("cy", "update users set scenes = '{elsewhere}' where name = 'cy'"),
    ];
    for (name, statement) in takes_away {
        let person = Person::new(&app, name).await;
        let id = waiting(&app, &format!("pass-88-{name}")).await;
        let assignment = person.claims().await;
        person.decides(assignment, Outcome::Approve, Duration::from_secs(1)).await;
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(app.store.pool()).await.unwrap();
        assert_eq!(person.until_ended(assignment).await, Ended::Lapsed, "{name}");
        assert_eq!(outcome_of(&app, id).await, "review");
        let key = make_key_of(&app.store, "di", &[Scope::ReviewsWrite]).await;
        assert_eq!(review_by_api(&app, &key, id, "reject").await.status, 201);
    }
}

#[tokio::test]
async fn scenes_limit_what_a_reviewer_sees_and_gets() {
    let app = TestApp::start().await;
    let anna = Person::new(&app, "anna").await;
    waiting(&app, "pass-88").await;
    let elsewhere = verdict::domain::callback::BizType::parse("elsewhere").unwrap();
    let limit = vec![elsewhere];
    let who = Reviewing { scenes: Some(limit.clone()), ..anna.reviewing() };
    let assignments = app.store.assignments();
    let id = Ids::random().next(app.clock.now());
    let next = assignments.next(&who, Mix::NOTHING, LEASE, id, app.clock.now()).await.unwrap();
    assert_eq!(next, Next::Empty { skipped: 0 });
    let case = anna.queue(&Filter::default()).await[0].decision;
    assert_eq!(assignments.claim(&who, case, LEASE, id).await.unwrap(), Claimed::Closed);
    let filter = Filter { scenes: Some(limit.clone()), ..Filter::default() };
    assert!(anna.queue(&filter).await.is_empty());
    let targets = verdict::domain::case::Targets {
        general: Duration::from_hours(4),
        scenes: std::collections::BTreeMap::new(),
    };
    let now = app.clock.now();
    let cases = app.store.cases();
    assert!(cases.counts(Some(&limit), &targets, now).await.unwrap().is_empty());
    let counted = cases.counts(None, &targets, now).await.unwrap();
    assert_eq!((counted[0].open, counted[0].soon, counted[0].late), (1, 0, 0));
    let counted = cases.counts(None, &targets, now + time::Duration::hours(3)).await.unwrap();
    assert_eq!((counted[0].open, counted[0].soon, counted[0].late), (1, 1, 0));
    let counted = cases.counts(None, &targets, now + time::Duration::hours(4)).await.unwrap();
    assert_eq!((counted[0].open, counted[0].soon, counted[0].late), (1, 0, 1));
}
