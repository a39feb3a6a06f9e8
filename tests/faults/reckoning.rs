//! The reconciliation: the promised outcome compared with the database, the provider and the API.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::atomic::Ordering;

use policy::evidence::{Evidence, History};
use policy::product::Product;
use policy::{Policy, decide};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;
use verdict::domain::ids::{ResultId, VerificationId};
use verdict::provider;
use verdict::vault::{Key, KeyRing, SealedAt, Vault, WrappedKey};
use zeroize::Zeroizing;

use super::ledger::{Entry, Ledger, Prescribed};
use super::world::{BURST, GRANTED_PER_SECOND, World};
use crate::harness::vault_secret;

/// Examples shown of each kind of violation.
const EXAMPLES: usize = 5;

/// One promise, and what broke it.
struct Line {
    promise: &'static str,
    broken: Vec<String>,
}

/// All promises, judged.
#[derive(Default)]
pub struct Reckoning {
    counted: Vec<(String, usize)>,
    lines: Vec<Line>,
}

impl Reckoning {
    pub fn count(&mut self, what: impl Into<String>, n: usize) {
        self.counted.push((what.into(), n));
    }

    pub fn zero(&mut self, promise: &'static str, broken: Vec<String>) {
        self.lines.push(Line { promise, broken });
    }

    /// How many promises are broken.
    pub fn broken(&self) -> usize {
        self.lines.iter().filter(|line| !line.broken.is_empty()).count()
    }

    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string cannot fail.
        for (what, n) in &self.counted {
            let _ = writeln!(table, "  {what:<64} {n:>8}");
        }
        for Line { promise, broken } in &self.lines {
            let mark = if broken.is_empty() { "" } else { "  <-- must be 0" };
            let _ = writeln!(table, "  {promise:<64} {:>8}{mark}", broken.len());
            for example in broken.iter().take(EXAMPLES) {
                let _ = writeln!(table, "      {example}");
            }
        }
        table
    }
}

/// One verification as it stands in the database.
struct Standing {
    id: Uuid,
    biz_id: String,
    state: String,
    attempts: i32,
    outcome: Option<String>,
    result_id: Option<Uuid>,
}

/// Compares everything with everything. The service still serves, nothing disturbs it any more.
pub async fn reckon(world: &World, ledger: &Ledger) -> Reckoning {
    let mut reckoning = Reckoning::default();
    let mut db = world.admin().await;
    let entries = ledger.entries.lock().expect("not poisoned").clone();
    let standing = standing(&mut db).await;
    accepted(&mut reckoning, &mut db, &entries, &standing).await;
    ledger_lines(&mut reckoning, ledger);
    let fenced = world.troubles.fenced.load(Ordering::SeqCst);
    reckoning.count("completions fenced off, by the logs", fenced);
    let dropped = world.troubles.dropped.load(Ordering::SeqCst);
    reckoning.count("calls dropped because their lease was lost, by the logs", dropped);
    let lost = world.moments.lost.load(Ordering::SeqCst);
    reckoning.count("messages and answers lost one by one on the network", lost);
    let held = world.moments.held.load(Ordering::SeqCst);
    reckoning.count("writes that arrived after their sender's death", held);
    let turned_away = world.moments.turned_away.load(Ordering::SeqCst);
    reckoning.count("connections Postgres had no place for", turned_away);
    fences(&mut reckoning, &mut db).await;
    budget(&mut reckoning, &mut db).await;
    replay(&mut reckoning, &mut db).await;
    told(&mut reckoning, world, &standing).await;
    reckoning
}

/// Checks the logs and exit codes of the processes; call it after all have stopped.
pub fn processes(reckoning: &mut Reckoning, world: &World) {
    let taken = |list: &std::sync::Mutex<Vec<String>>| list.lock().expect("not poisoned").clone();
    let troubles = &world.troubles;
    reckoning.zero("processes that exited by themselves", taken(&troubles.exits));
    reckoning.zero("processes that did not stop as told", taken(&troubles.bad_stops));
    reckoning.zero("panics in logs", taken(&troubles.panics));
    reckoning.zero("persons or secrets in logs", taken(&troubles.persons));
}

async fn standing(db: &mut PgConnection) -> HashMap<Uuid, Standing> {
    let rows = sqlx::query(
        "select v.id, v.biz_id, v.state, v.attempts, d.outcome, d.result_id
         from verifications v left join decisions d on d.id = v.decision_id",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let read = |row: &PgRow| Standing {
        id: row.get("id"),
        biz_id: row.get("biz_id"),
        state: row.get("state"),
        attempts: row.get("attempts"),
        outcome: row.get("outcome"),
        result_id: row.get("result_id"),
    };
    rows.iter().map(read).map(|standing| (standing.id, standing)).collect()
}

/// One accepted message: its id, its digest and salt, its verification.
type KeptMessage = (String, Option<Vec<u8>>, Option<Vec<u8>>, Uuid);

/// accepted = decided + unfinished + failed with a reason; lost 0; each as prescribed.
async fn accepted(
    reckoning: &mut Reckoning,
    db: &mut PgConnection,
    entries: &[Entry],
    standing: &HashMap<Uuid, Standing>,
) {
    let rows: Vec<KeptMessage> =
        sqlx::query_as("select message_id, digest, salt, verification_id from callbacks")
            .fetch_all(&mut *db)
            .await
            .unwrap();
    let kept: HashMap<&str, &KeptMessage> = rows.iter().map(|row| (row.0.as_str(), row)).collect();
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut lost, mut unsettled, mut otherwise) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let found = kept.get(entry.message_id.as_str()).filter(|(_, digest, salt, of)| {
            entry.digest().made(digest.as_deref(), salt.as_deref())
                && of.to_string() == entry.verification
        });
        let Some(found) = found.and_then(|(_, _, _, of)| standing.get(of)) else {
            lost.push(format!("{} about {}", entry.message_id, entry.biz_id));
            continue;
        };
        *states.entry(found.state.as_str()).or_default() += 1;
        let came_to = match found.state.as_str() {
            "decided" => found.outcome.as_deref().unwrap_or("no decision"),
            state => state,
        };
        let prescribed = match entry.prescribed {
            Prescribed::Decided(outcome) => outcome,
            Prescribed::Expired => "expired",
            Prescribed::Failed => "failed",
        };
        let about = format!("{}: {came_to} instead of {prescribed}", entry.biz_id);
        if ["pending", "unfinished"].contains(&came_to) {
            unsettled.push(about);
        } else if came_to != prescribed || found.biz_id != entry.biz_id {
            otherwise.push(about);
        }
    }
    reckoning.count("messages accepted (2xx)", entries.len());
    for (state, n) in states {
        reckoning.count(format!("  of which about a verification now {state}"), n);
    }
    reckoning.count("verifications", standing.len());
    reckoning.zero("accepted and lost", lost);
    reckoning.zero("accepted and not settled", unsettled);
    reckoning.zero("settled otherwise than prescribed", otherwise);
    let unexplained = "select biz_id || ' ' || state from verifications v where state = 'failed'
         and not exists (select from results r where r.id = v.result_id and r.error_code is not null)
         and not exists (select from starts s where s.verification_id = v.id
             and s.refused_code is not null)";
    reckoning.zero("failed without a reason", list(db, unexplained).await);
    let open = "select biz_id from verifications v join results r on r.id = v.result_id
         where v.state = 'decided' and not v.closed
             and (r.verify_status = 1 or v.product = 'face-verify')";
    reckoning.zero("decided on a last result and not closed", list(db, open).await);
    let unseen = "select biz_id from verifications v
         where v.state = 'decided' and not v.closed and not exists (
             select from lease_log l where l.verification_id = v.id and l.event = 'claimed'
                 and l.callbacks = v.callbacks)";
    reckoning.zero("decided without a call after the newest callback", list(db, unseen).await);
    let busy = "select biz_id from verifications where state in ('decided', 'expired', 'failed')
         and (due_at is not null or lease_token is not null)";
    reckoning.zero("settled, and still due or leased", list(db, busy).await);
}

fn ledger_lines(reckoning: &mut Reckoning, ledger: &Ledger) {
    let taken = |list: &std::sync::Mutex<Vec<String>>| list.lock().expect("not poisoned").clone();
    reckoning.count("repeats of accepted messages", ledger.repeats.load(Ordering::SeqCst));
    reckoning
        .count("other bytes under a known id, refused", ledger.conflicts.load(Ordering::SeqCst));
    reckoning.count("clients that gave up early", ledger.gave_up_early.load(Ordering::SeqCst));
    reckoning.zero("messages that could not be delivered", taken(&ledger.never_accepted));
    reckoning.zero("repeats answered otherwise", taken(&ledger.repeats_answered_otherwise));
    reckoning.zero("other bytes under a known id, accepted", taken(&ledger.conflicts_accepted));
    reckoning.zero("answers that are neither 2xx, 409 nor 503", taken(&ledger.odd_answers));
}

/// Leases, attempts and results, by the log that the harness's trigger writes inside the
/// transactions. Only the transaction that ends the lease of an attempt may write its result.
async fn fences(reckoning: &mut Reckoning, db: &mut PgConnection) {
    for (what, query) in [
        ("claims", "select count(*) from lease_log where event = 'claimed'"),
        (
            "leases overtaken after they ran out",
            "select count(*) from lease_log where event = 'overtaken'",
        ),
        ("results", "select count(*) from results"),
        ("decisions", "select count(*) from decisions"),
    ] {
        let n: i64 = sqlx::query_scalar(query).fetch_one(&mut *db).await.unwrap();
        reckoning.count(what, usize::try_from(n).unwrap());
    }
    for (promise, query) in [
        (
            "two results for one attempt",
            "select verification_id || ' attempt ' || attempt from results
             group by verification_id, attempt having count(*) > 1",
        ),
        (
            "two decisions for one result",
            "select result_id::text from decisions where decided_by = 'policy'
             group by result_id having count(*) > 1",
        ),
        (
            "results for attempts never claimed",
            "select verification_id || ' attempt ' || attempt from results r where not exists (
                 select from lease_log l where l.event = 'claimed'
                 and (l.verification_id, l.attempt) = (r.verification_id, r.attempt))",
        ),
        (
            "stale writes: results of another lease than the one that ended",
            // An erasure rewrites the results.
            "select verification_id || ' attempt ' || attempt from results r where not exists (
                 select from lease_log l where l.event = 'ended' and l.transaction = r.xmin
                 and (l.verification_id, l.attempt) = (r.verification_id, r.attempt))
             and not exists (select from verifications v
                 where v.id = r.verification_id and v.state = 'erased')",
        ),
        (
            "decisions not written with their result",
            "select d.id::text from decisions d join results r on r.id = d.result_id
                 join verifications v on v.id = d.verification_id
             where d.decided_by = 'policy' and v.state <> 'erased'
                 and (d.xmin <> r.xmin or d.verification_id <> r.verification_id)",
        ),
        (
            "attempts claimed twice",
            "select verification_id || ' attempt ' || attempt from lease_log
             where event = 'claimed' group by verification_id, attempt having count(*) > 1",
        ),
        (
            "standing decisions that are not the newest",
            "select v.biz_id from verifications v where v.decision_id is distinct from (
                 select d.id from decisions d where d.verification_id = v.id
                 order by position desc limit 1)",
        ),
    ] {
        reckoning.zero(promise, list(db, query).await);
    }
}

/// Over any stretch of time no more claims than rate × time + burst, by the clock that granted
/// them. (What the provider sees is not judged: we bunch its calls ourselves.)
async fn budget(reckoning: &mut Reckoning, db: &mut PgConnection) {
    let claims: Vec<(f64, bool)> = sqlx::query_as(
        "select extract(epoch from judged_at - min(judged_at) over ())::float8,
             coalesce(probe, false)
         from lease_log where event = 'claimed' order by judged_at",
    )
    .fetch_all(db)
    .await
    .unwrap();
    // With f(k) = k − rate × t(k), claims i to j break it where f(j) − f(i) + 1 > burst.
    let mut lowest = f64::INFINITY;
    let mut broken = Vec::new();
    let mut k = 0.0;
    for (at, probe) in &claims {
        let f = k - GRANTED_PER_SECOND * at;
        lowest = lowest.min(f);
        let above = f - lowest + 1.0 - BURST;
        // A microsecond of rounding each is less than that.
        if above > 0.01 {
            let kind = if *probe { "a probe" } else { "a claim" };
            broken.push(format!("{kind} at {at:.6} s is {above:.3} calls above the budget"));
        }
        k += 1.0;
    }
    reckoning.count("claims that were probes", claims.iter().filter(|(_, probe)| *probe).count());
    reckoning.zero("budget broken", broken);
}

/// Every decision made again from what is stored, and all evidence read again from the sealed
/// body.
async fn replay(reckoning: &mut Reckoning, db: &mut PgConnection) {
    let key = Key::parse("test", &vault_secret("test")).expect("a key");
    let vault = Vault::new(KeyRing::new(vec![key]).expect("a ring"));
    let texts: Vec<(String, String)> =
        sqlx::query_as("select digest, body from policies").fetch_all(&mut *db).await.unwrap();
    let policies: HashMap<String, Policy> = texts
        .into_iter()
        .map(|(digest, text)| (digest, Policy::load(&text).expect("it loads")))
        .collect();
    let mut after = Uuid::nil();
    let (mut decided_otherwise, mut unopened, mut read_otherwise) =
        (Vec::new(), Vec::new(), Vec::new());
    loop {
        // Page by page: a long run leaves hundreds of megabytes of bodies.
        let rows = sqlx::query(
            "select r.*, v.biz_type, v.product, k.key_id, k.wrapped, d.outcome, d.reasons, d.policy_digest
             from results r join verifications v on v.id = r.verification_id
             left join data_keys k on k.verification_id = r.verification_id
             left join decisions d on d.result_id = r.id and d.decided_by = 'policy'
             where v.state <> 'erased' and r.id > $1 order by r.id limit 1000",
        )
        .bind(after)
        .fetch_all(&mut *db)
        .await
        .unwrap();
        let Some(last) = rows.last() else { break };
        after = last.get("id");
        for row in &rows {
            let id = row.get::<Uuid, _>("id").to_string();
            if !decided_again(row, &policies) {
                decided_otherwise.push(id.clone());
            }
            match opened(row, &vault) {
                None => unopened.push(id),
                Some(body) if !read_again(row, &body) => read_otherwise.push(id),
                Some(_) => {}
            }
        }
    }
    reckoning.zero("decisions that differ from a replay", decided_otherwise);
    reckoning.zero("sealed bodies that do not open", unopened);
    reckoning.zero("evidence that differs from its sealed body", read_otherwise);
}

/// The decision about this result, if there is one, comes out the same.
fn decided_again(row: &PgRow, policies: &HashMap<String, Policy>) -> bool {
    let Some(outcome) = row.get::<Option<&str>, _>("outcome") else { return true };
    let evidence: serde_json::Value = row.get("evidence");
    let evidence: Evidence = serde_json::from_value(evidence).expect("evidence");
    let again = decide(&policies[row.get::<&str, _>("policy_digest")], &evidence);
    let reasons = serde_json::to_value(&again.reasons).unwrap();
    (again.outcome.as_str(), reasons) == (outcome, row.get("reasons"))
}

fn opened(row: &PgRow, vault: &Vault) -> Option<Zeroizing<Vec<u8>>> {
    let key_id = row.get::<Option<String>, _>("key_id")?;
    let wrapped = WrappedKey { key_id, bytes: row.get("wrapped") };
    let key = vault.open_data_key(VerificationId(row.get("verification_id")), &wrapped).ok()?;
    key.open(SealedAt::ResultBody(ResultId(row.get("id"))), row.get("sealed_body")).ok()
}

/// Reading the stored body again gives the same evidence, as far as evidence comes from the body.
fn read_again(row: &PgRow, body: &[u8]) -> bool {
    let http_status = u16::try_from(row.get::<i32, _>("http_status")).unwrap();
    let product = Product::parse(row.get("product")).unwrap();
    let again = provider::read(product, http_status, body).ok().map(|reading| {
        let attempt: i32 = row.get("attempt");
        let stored: Option<Json<Evidence>> = row.get("evidence");
        let history = stored.map(|Json(stored)| stored.history()).unwrap_or_default();
        let history = History { calls: attempt.into(), ..history };
        let evidence = reading.evidence(row.get("biz_type"), history, row.get("fetched_at"));
        serde_json::to_value(evidence).unwrap()
    });
    again == row.get::<Option<serde_json::Value>, _>("evidence")
}

/// The API and the database agree about each verification.
async fn told(reckoning: &mut Reckoning, world: &World, standing: &HashMap<Uuid, Standing>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let addresses: Vec<_> = world.services.iter().filter_map(|service| service.address()).collect();
    let mut otherwise = Vec::new();
    for (n, standing) in standing.values().enumerate() {
        let address = addresses[n % addresses.len()];
        let url = format!("http://{address}/v1/verifications/{}", standing.id);
        let answer = client.get(url).bearer_auth(&world.api_key).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let result_id = standing.result_id.map(|id| id.to_string());
        let fits = told["biz_id"] == standing.biz_id
            && told["state"] == standing.state
            && told["attempts"] == standing.attempts
            && told["decision"]["outcome"].as_str() == standing.outcome.as_deref()
            && told["decision"]["result_id"].as_str() == result_id.as_deref();
        if !fits {
            otherwise.push(text);
        }
    }
    reckoning.zero("told otherwise by the API than by the database", otherwise);
}

/// The first column of a query, as text.
pub async fn list(db: &mut PgConnection, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(db).await.unwrap()
}
