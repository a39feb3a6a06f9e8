//! The steps of the protocol, as accepting and working processes take them: the only place where
//! tests of accept, claim and complete call the store, with a fixed clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Executor, Row};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::{Database, Proxy, eventually, new_database, vault_secret};
use policy::evidence::{Evidence, History, Product, Scores};
use policy::{Policy, decide};
use verdict::domain::answer::{AnswerError, ErrorClass, StoredResult};
use verdict::domain::body_digest::BodyDigest;
use verdict::domain::callback::Callback;
use verdict::domain::decision::{DecidedBy, StoredDecision};
use verdict::domain::ids::{Ids, LeaseToken, VerificationId};
use verdict::domain::source::SourceAccess;
use verdict::domain::verification::Verification;
use verdict::provider::Progress;
use verdict::store::callbacks::{Accepted, Incoming};
use verdict::store::claims::{self, ClaimLimits, Claimed};
use verdict::store::completions::{Completion, NewResult, Written};
use verdict::store::lease::LeaseKey;
use verdict::store::{Result, Store};
use verdict::vault::{Key, KeyRing, Vault};
use verdict::worker::backoff::Backoff;
use verdict::worker::next_step::{CallOutcome, Schedule, consequence};

/// The start of every test; the database's clock shows this time until a test moves it.
pub const START: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);
/// How long an unfinished verification is asked about.
pub const WINDOW: Duration = Duration::from_mins(40);
/// Length of a lease.
pub const LEASE: Duration = Duration::from_secs(5);
const POLICY: &str = include_str!("../../../config/policy.toml");
/// One call a second, and a budget that was spent this far ahead when the test began: so what was
/// spent since can be read off, however the clock moves.
const RATE: f64 = 1.0;
const AHEAD: Duration = Duration::from_hours(24 * 365);

/// A message, as its sender keeps it until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub biz_id: String,
    /// Stands for the exact bytes.
    pub bytes: u8,
}

/// The provider's answers that the protocol distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status 1: final.
    Passed,
    /// Status 7: decided, and open to another try.
    Rejected,
    /// Status −1.
    Unfinished,
    /// A fault that passes.
    Fault,
    /// This will never be answered.
    Hopeless,
    /// No answer at all.
    Nothing,
}

impl Answer {
    pub const ALL: [Self; 6] = [
        Self::Passed,
        Self::Rejected,
        Self::Unfinished,
        Self::Fault,
        Self::Hopeless,
        Self::Nothing,
    ];
}

/// A database, a store on it, and a fixed clock.
pub struct Steps {
    /// A direct pool on the database, past any proxy.
    pub look: PgPool,
    pub store: Store,
    pub ids: Ids,
    policy: Policy,
    vault: Vault,
    seconds: AtomicI64,
}

impl Steps {
    /// On a new database.
    pub async fn new() -> Self {
        let database = new_database().await;
        let store = database.store();
        Self::with(database, store).await
    }

    /// Statements that a test holds up do not run into a timeout, however slow the machine is.
    pub async fn without_timeouts() -> Self {
        let database = new_database().await;
        let store = database.store_that_waits(Duration::from_hours(1));
        Self::with(database, store).await
    }

    /// The store reaches its database through a proxy.
    pub async fn behind_proxy() -> (Self, Proxy) {
        let database = new_database().await;
        let (through, proxy) = database.behind_proxy().await;
        (Self::with(database, through.store()).await, proxy)
    }

    /// Steps by hand beside a service on the same database, with a running clock.
    pub async fn beside(database: &Database) -> Self {
        Self::bare(database, database.store()).await
    }

    async fn with(database: Database, store: Store) -> Self {
        let steps = Self::bare(&database, store).await;
        steps.begin().await;
        steps
    }

    async fn bare(database: &Database, store: Store) -> Self {
        let look = database.pool().await;
        let policy = Policy::load(POLICY).expect("the default policy");
        let (digest, name, text) = (policy.digest(), policy.name(), policy.text());
        store.policies().seed_policy(digest, name, text, START).await.expect("a policy");
        open_account(&store).await;
        // The service's key, so that a service can continue where the test stops.
        let key = Key::parse("test", &vault_secret("test")).expect("a key");
        let vault = Vault::new(KeyRing::new(vec![key]).expect("a ring"));
        let (seconds, ids) = (AtomicI64::new(0), Ids::random());
        Self { look, store, ids, policy, vault, seconds }
    }

    /// Empties the database and sets the clock back.
    pub async fn begin(&self) {
        self.look
            .execute(
                "delete from decisions; delete from results; delete from data_keys;
                 delete from callbacks; delete from verifications; delete from accounts;
                 delete from budgets",
            )
            .await
            .expect("emptied");
        self.clock_stands_at(0).await;
        open_account(&self.store).await;
    }

    async fn clock_stands_at(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::SeqCst);
        let statement = format!(
            "create or replace function verdict_now() returns timestamptz language sql stable
             parallel safe return timestamptz '{START}' + interval '{seconds} seconds'"
        );
        self.look.execute(AssertSqlSafe(statement)).await.expect("replace the clock");
    }

    /// Time passes, by the database's clock.
    pub async fn advance(&self, seconds: i64) {
        self.clock_stands_at(self.now() + seconds).await;
    }

    /// Seconds since the beginning, by the database's clock.
    pub fn now(&self) -> i64 {
        self.seconds.load(Ordering::SeqCst)
    }

    /// A message that nobody has sent before.
    pub fn message(&self, biz_id: &str) -> Message {
        Message { id: format!("msg-{}", self.ids.nonce()), biz_id: biz_id.to_owned(), bytes: 1 }
    }

    pub async fn accept(&self, batch: &[Message]) -> Result<Vec<Accepted>> {
        let incoming = batch.iter().map(|message| {
            let body = serde_json::json!({ "biz_type": "test", "biz_id": message.biz_id });
            Incoming {
                source: SourceAccess::alone("app"),
                message_id: message.id.clone(),
                body: BodyDigest::of(&[message.bytes]),
                salt: self.ids.salt(),
                callback: Callback::parse(
                    body.to_string().as_bytes(),
                    policy::product::Product::default(),
                )
                .expect("a callback"),
                received_at: START,
                verification_id: self.ids.next(START),
                trace: None,
            }
        });
        self.store.accept(incoming.collect(), WINDOW).await
    }

    /// Accepts one new message and returns the sender's answer.
    pub async fn accept_new(&self, message: &Message) -> Verification {
        match self.accept(std::slice::from_ref(message)).await.expect("accepted").remove(0) {
            Accepted::New(verification) => verification,
            other => panic!("not new: {other:?}"),
        }
    }

    /// Claims with as much budget as there may be.
    pub async fn claim(&self, hands: i32) -> Result<Vec<Claimed>> {
        self.claim_as(self.ids.next(START), hands, 1_000_000).await
    }

    /// Claims with this token and this burst of the budget.
    pub async fn claim_as(
        &self,
        token: LeaseToken,
        hands: i32,
        budget: i32,
    ) -> Result<Vec<Claimed>> {
        let limits = ClaimLimits {
            account: "a",
            max_rows: hands,
            lease: LEASE,
            queries_per_second: RATE,
            burst: self.ahead().await + f64::from(budget),
            probe_every: LEASE,
            due_since: None,
            first: &[],
        };
        Ok(self.store.claim(&limits, token).await?.rows)
    }

    /// Claims one row for longer than any test takes, for tests with a running clock.
    pub async fn claim_for_ten_minutes(&self) -> Claimed {
        let claimed = self.claim(1).await.expect("claimed");
        let ten_minutes = Duration::from_mins(10);
        let renewed =
            self.store.leases().renew(&claims::LEASED, &held(&claimed), ten_minutes).await;
        assert_eq!(renewed.expect("renewed"), [claimed[0].id.0]);
        claimed[0].clone()
    }

    /// How far ahead of the clock the budget is spent, in calls.
    async fn ahead(&self) -> f64 {
        let ahead: f64 = sqlx::query_scalar(
            "select extract(epoch from spent_to - verdict_now())::float8 from budgets
             where account = 'a' order by draws desc limit 1",
        )
        .fetch_one(&self.look)
        .await
        .expect("the account");
        ahead * RATE
    }

    /// Calls the budget was spent for since the beginning.
    pub async fn spent(&self) -> i64 {
        let passed = Duration::from_secs(self.now().unsigned_abs());
        let spent = self.ahead().await + (passed.as_secs_f64() - AHEAD.as_secs_f64()) * RATE;
        #[expect(clippy::cast_possible_truncation, reason = "a handful")]
        let whole = spent.round() as i64;
        whole
    }

    /// All that follows from an answer, as a worker would write it.
    pub fn answered(&self, claimed: &Claimed, answer: Answer) -> Completion {
        let error = |class, code: &str| AnswerError { class, code: Some(code.to_owned()) };
        let (status, error) = match answer {
            Answer::Passed => (Some(1), None),
            Answer::Rejected => (Some(7), None),
            Answer::Unfinished => (Some(-1), None),
            Answer::Fault => (None, Some(error(ErrorClass::Transient, "InternalError"))),
            Answer::Hopeless => {
                (None, Some(error(ErrorClass::BadRequest, "InvalidParam.InvalidBiz")))
            }
            Answer::Nothing => (None, None),
        };
        let heard = match (status, &error) {
            (Some(-1), _) => CallOutcome::Answered(Progress::Unfinished),
            (Some(status), _) => CallOutcome::Answered(Progress::Finished { last: status == 1 }),
            (None, Some(error)) => CallOutcome::Error(error, None),
            (None, None) => CallOutcome::NoAnswer,
        };
        let after = consequence(&schedule(), claimed, heard, 0.5, false);
        let evidence = status.map(|status| evidence(status, claimed.attempt));
        let id = self.ids.next(START);
        let decision = evidence.as_ref().filter(|_| after.decide).map(|evidence| StoredDecision {
            id: self.ids.next(START),
            result_id: id,
            policy: self.policy.digest().to_owned(),
            by: DecidedBy::Policy,
            decided_at: START,
            simulated: false,
            decision: decide(&self.policy, evidence),
        });
        let result = (answer != Answer::Nothing).then(|| NewResult {
            bucket_objects: Vec::new(),
            stored: StoredResult {
                coarsened: false,
                id,
                attempt: claimed.attempt,
                fetched_at: START,
                request_id: None,
                http_status: 200,
                evidence,
                error,
                simulated: false,
            },
            sealed_body: sealed_body(claimed),
            material: None,
            links: None,
        });
        let new_data_key = (result.is_some() && claimed.data_key.is_none()).then(|| {
            let (_, wrapped) = self.vault.new_data_key(claimed.id).expect("a data key");
            (wrapped.key_id, wrapped.bytes)
        });
        Completion {
            verification_id: claimed.id,
            lease_token: claimed.lease_token,
            attempt: claimed.attempt,
            called: true,
            callbacks_seen: claimed.callbacks,
            next: after.next,
            decision,
            shadow: None,
            new_data_key,
            result,
            at: START,
        }
    }

    pub async fn complete(&self, batch: &[Completion]) -> Result<Vec<Written>> {
        self.store.complete(batch).await
    }

    /// Claims with one hand and gets this answer written.
    pub async fn fetch(&self, answer: Answer) -> Claimed {
        let claimed = self.claim(1).await.expect("claimed").remove(0);
        let written = self.complete(&[self.answered(&claimed, answer)]).await.expect("written");
        assert_eq!(written, [Written::Committed]);
        claimed
    }

    /// A successor takes up whatever is left, however long it has to wait for it, and passes all.
    pub async fn successor_finishes(&self) {
        for _ in 0..100 {
            let claimed = self.claim(100).await.expect("claimed");
            let answers: Vec<Completion> =
                claimed.iter().map(|claimed| self.answered(claimed, Answer::Passed)).collect();
            let written = self.complete(&answers).await.expect("written");
            assert!(written.iter().all(|written| *written == Written::Committed), "{written:?}");
            let due: i64 =
                sqlx::query_scalar("select count(*) from verifications where due_at is not null")
                    .fetch_one(&self.look)
                    .await
                    .expect("a count");
            if due == 0 {
                return;
            }
            // Leases expire, and rescheduled work falls due.
            self.advance(LEASE.as_secs().cast_signed()).await;
        }
        panic!("a successor cannot finish");
    }

    /// The final state: exactly these messages are stored, once each. Nothing is leased or due. No
    /// attempt has two results. Each valid answer has one decision, and nothing else has any. The
    /// budget was spent for exactly the claims. A repeated message gets its first answer, and
    /// changes nothing.
    pub async fn assert_done(&self, accepted: &[(Message, Verification)]) {
        let ids: Vec<&str> = accepted.iter().map(|(message, _)| message.id.as_str()).collect();
        assert_done(&self.look, &ids).await;
        let claims: i64 =
            sqlx::query_scalar("select coalesce(sum(attempts), 0)::int8 from verifications")
                .fetch_one(&self.look)
                .await
                .expect("a sum");
        assert_eq!(self.spent().await, claims, "the budget was spent for other than the claims");

        let before = everything(&self.look).await;
        for (message, told) in accepted {
            let again = self.accept(std::slice::from_ref(message)).await.expect("accepted");
            let Accepted::Repeated(again) = &again[0] else { panic!("not repeated: {again:?}") };
            assert_eq!(again, told, "another answer to the same message");
        }
        assert_eq!(everything(&self.look).await, before, "a repeated message changed something");
    }
}

async fn open_account(store: &Store) {
    store.accounts().open_account("a").await.expect("an account");
    store.accounts().pause("a", AHEAD).await.expect("spent ahead");
}

/// The part of [`Steps::assert_done`] that any database can be asked, whoever worked on it.
pub async fn assert_done(look: &PgPool, messages: &[&str]) {
    let mut expected = messages.to_vec();
    expected.sort_unstable();
    let kept: Vec<String> = sqlx::query_scalar("select message_id from callbacks order by 1")
        .fetch_all(look)
        .await
        .expect("callbacks");
    assert_eq!(kept, expected, "callbacks kept, against those accepted");
    let rows = sqlx::query(
        "select v.biz_id, v.state, v.attempts, v.lease_token is not null as held,
            v.due_at is not null as due, count(r.id) as results,
            count(distinct r.attempt) as answered, coalesce(max(r.attempt), 0) as last,
            count(*) filter (where r.verify_status not in (-1, 0)) as good,
            (select count(*) from decisions d where d.verification_id = v.id) as decisions,
            (select count(distinct d.result_id) from decisions d join results r on r.id = d.result_id
             where r.verification_id = v.id and r.verify_status not in (-1, 0)) as judged
         from verifications v left join results r on r.verification_id = v.id group by v.id",
    )
    .fetch_all(look)
    .await
    .expect("verifications");
    for row in rows {
        let biz_id: String = row.get("biz_id");
        let state: &str = row.get("state");
        assert!(!["pending", "unfinished"].contains(&state), "{biz_id} is {state}");
        let (held, due): (bool, bool) = (row.get("held"), row.get("due"));
        assert!(!held && !due, "{biz_id}: held {held}, due {due}");
        let [results, answered, good, decisions, judged]: [i64; 5] =
            ["results", "answered", "good", "decisions", "judged"].map(|name| row.get(name));
        assert_eq!(results, answered, "{biz_id}: two results for one attempt");
        let (last, attempts): (i32, i32) = (row.get("last"), row.get("attempts"));
        assert!(last <= attempts, "{biz_id}: a result of attempt {last} of {attempts}");
        assert_eq!((decisions, judged), (good, good), "{biz_id}: decisions, and good answers");
    }
}

/// All rows, as text.
pub async fn everything(look: &PgPool) -> HashMap<String, Vec<String>> {
    let mut all = HashMap::new();
    for table in ["verifications", "callbacks", "data_keys", "results", "decisions", "accounts"] {
        let statement = format!("select t::text from {table} t order by 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(look).await;
        all.insert(table.to_owned(), rows.expect("rows"));
    }
    all
}

/// The backend of this database that waits for another's lock.
pub async fn waits_for_a_lock(look: &PgPool) -> i32 {
    eventually("a statement waits for a lock", || async {
        sqlx::query_scalar(
            "select pid from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_optional(look)
        .await
        .expect("activity")
    })
    .await
}

/// Cuts one backend off, in the middle of its statement, and waits for its end.
pub async fn terminate(look: &PgPool, pid: i32) {
    let gone: bool = sqlx::query_scalar("select pg_terminate_backend($1, 30000)")
        .bind(pid)
        .fetch_one(look)
        .await
        .expect("terminated");
    assert!(gone, "the backend is still there");
}

/// Raw bytes of an answer, so that a network can tell the message that carries them.
pub fn sealed_body(claimed: &Claimed) -> Vec<u8> {
    format!("sealed: {} {}", claimed.id, claimed.lease_token).into_bytes()
}

/// The ids and fencing tokens of claimed rows.
pub fn held(claimed: &[Claimed]) -> Vec<LeaseKey> {
    claimed.iter().map(Claimed::lease).collect()
}

/// The fencing token and the end of the lease, in seconds since the start.
pub async fn holder(look: &PgPool, id: VerificationId) -> Option<(Uuid, i64)> {
    sqlx::query_as(
        "select lease_token, extract(epoch from lease_until - $2)::int8 from verifications
         where id = $1 and lease_token is not null",
    )
    .bind(id.0)
    .bind(START)
    .fetch_optional(look)
    .await
    .expect("a lease")
}

fn schedule() -> Schedule {
    Schedule {
        unfinished: vec![Duration::from_secs(3), Duration::from_secs(10)],
        backoff: Backoff::new(Duration::from_secs(2), Duration::from_mins(1)),
        unreadable_tries: 5,
        transient_tries: 1000,
    }
}

fn evidence(status: i32, attempt: i32) -> Evidence {
    let history =
        History { callbacks: Some(1), answers: Some(1), ..History::of_calls(i64::from(attempt)) };
    Evidence {
        verify_status: Some(status),
        scores: Scores { authority: Some(97.0), ..Scores::default() },
        ..Evidence::blank(Product::VerifyResult, "t", history)
    }
}
