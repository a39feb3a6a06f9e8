//! People under faults: reviewers decide cases, and persons are erased while their verification is at
//! any point. Each such verification belongs to one client, and nobody else sends anything about it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::ledger::{Client, Ledger};
use super::reckoning::{Reckoning, list};
use super::world::World;

/// For the erasures to be complete once nothing disturbs them any more.
const COMPLETE_WITHIN: Duration = Duration::from_mins(2);

/// Scripts of the simulated provider under which the default policy asks for a review, with an answer
/// that is the last one.
const CASES: [&str; 2] = ["pass-89.99", "pass-noscore"];
/// Of both products, of any length.
const PERSONS: [&str; 6] =
    ["pass-97", "status-2", "slow-800-pass-88", "slow-2500-pass-97", "fv-pass97", "fv-204"];

/// Reviews and erasures that the service acknowledged, and those that it never did.
#[derive(Default)]
pub struct Persons {
    /// Verifications that were approved.
    reviewed: Mutex<Vec<String>>,
    /// Verifications whose person was erased.
    erased: Mutex<Vec<String>>,
    /// Reviews and erasures that were never acknowledged.
    unfinished: Mutex<Vec<String>>,
}

impl Persons {
    fn give_up(&self, what: &str, verification: &str) {
        let line = format!("{what} of {verification}");
        self.unfinished.lock().expect("not poisoned").push(line);
    }
}

impl Client {
    /// A case for a reviewer, and its approval.
    pub async fn review_one(&mut self) {
        let script = self.dice.one_of(&CASES);
        let Some(id) = self.verification_of_its_own(script).await else { return };
        let began = Instant::now();
        let mut was_sent = false;
        let mut seen = String::new();
        while !self.ledger.gives_up(began) {
            let pause = self.dice.millis(50, 300);
            tokio::time::sleep(pause).await;
            let Some((body, tag)) = self.look_at(&id).await else { continue };
            // The answer to the review was lost.
            if was_sent && body["decision"]["by"] == "person" {
                self.ledger.persons.reviewed.lock().expect("not poisoned").push(id);
                return;
            }
            seen = format!("{}, {}", body["state"], body["decision"]["outcome"]);
            if body["decision"]["outcome"] != "review" {
                continue;
            }
            was_sent = true;
            match self.approve(&id, &tag).await {
                Some((201, _)) => {
                    self.ledger.persons.reviewed.lock().expect("not poisoned").push(id);
                    return;
                }
                // The review before, whose answer was lost.
                Some((409 | 412, text)) if text.contains("decision-changed") => {}
                other => self.judge("a review", other),
            }
        }
        self.ledger.persons.give_up("review", &format!("{id} ({seen})"));
    }

    /// A person who is erased at any moment after the callback.
    pub async fn erase_one(&mut self) {
        let script = self.dice.one_of(&PERSONS);
        let Some(id) = self.verification_of_its_own(script).await else { return };
        let mut pause = self.dice.millis(0, 2500);
        let began = Instant::now();
        while !self.ledger.gives_up(began) {
            tokio::time::sleep(pause).await;
            pause = self.dice.millis(20, 200);
            let Some(address) = self.world.services[self.dice.below(3)].address() else { continue };
            let url = format!("http://{address}/v1/verifications/{id}/material");
            let request = self.http.delete(url).bearer_auth(&self.world.api_key);
            let answer = request.header("verdict-purpose", "erasure under faults").send().await;
            if let Ok(answer) = answer {
                let status = answer.status().as_u16();
                if status == 202 {
                    self.ledger.persons.erased.lock().expect("not poisoned").push(id);
                    return;
                }
                let text = answer.text().await.unwrap_or_default();
                self.judge("an erasure", Some((status, text)));
            }
        }
        self.ledger.persons.give_up("erasure", &id);
    }

    /// A new verification about which nothing else is sent; without a reference, which is the only part
    /// of an event that an erasure takes away.
    async fn verification_of_its_own(&mut self, script: &str) -> Option<String> {
        let n = self.ledger.number();
        let body = if script.starts_with("fv-") {
            json!({ "product": "face-verify", "biz_type": "1000000006",
                "certify_id": format!("{script}_{n}") })
        } else {
            json!({ "biz_type": "test", "biz_id": format!("{script}_{n}") })
        };
        let (message, body) = (format!("ledger-{n}"), body.to_string());
        let began = Instant::now();
        while !self.ledger.gives_up(began) {
            match self.send(&message, &body).await {
                Some((202, text)) => {
                    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                    return answer["id"].as_str().map(str::to_owned);
                }
                other => self.judge("a message about a person", other),
            }
            let pause = self.dice.millis(10, 100);
            tokio::time::sleep(pause).await;
        }
        self.ledger.persons.give_up("callback", &message);
        None
    }

    /// The verification, and the tag under which it is reviewed.
    async fn look_at(&mut self, id: &str) -> Option<(Value, String)> {
        let address = self.world.services[self.dice.below(3)].address()?;
        let request = self.http.get(format!("http://{address}/v1/verifications/{id}"));
        let answer = request.bearer_auth(&self.world.api_key).send().await.ok()?;
        let tag = answer.headers().get(ETAG)?.to_str().ok()?.to_owned();
        let body = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        Some((body, tag))
    }

    async fn approve(&mut self, id: &str, tag: &str) -> Option<(u16, String)> {
        let address = self.world.services[self.dice.below(3)].address()?;
        let request = self
            .http
            .post(format!("http://{address}/v1/verifications/{id}/reviews"))
            .header("content-type", "application/json")
            .header(IF_MATCH, tag)
            .bearer_auth(&self.world.api_key)
            .body(json!({ "outcome": "approve", "reason": "same-person" }).to_string());
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }
}

/// Waits until every erasure is complete; what is then still open, the reckoning tells.
pub async fn erased(world: &World) {
    let began = Instant::now();
    let mut db = world.admin().await;
    while began.elapsed() < COMPLETE_WITHIN {
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from erasures where completed_at is null)
                 + (select count(*) from provider_deletions where deleted_at is null)",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Compares the acknowledged reviews and erasures with the database.
pub async fn reckon(reckoning: &mut Reckoning, ledger: &Ledger, db: &mut PgConnection) {
    let taken = |list: &Mutex<Vec<String>>| list.lock().expect("not poisoned").clone();
    let (reviewed, erased) = (taken(&ledger.persons.reviewed), taken(&ledger.persons.erased));
    reckoning.count("reviews given", reviewed.len());
    reckoning.count("persons erased", erased.len());
    reckoning.zero("reviews and erasures without an end", taken(&ledger.persons.unfinished));
    let approved = list(
        db,
        "select v.id::text from verifications v join decisions d on d.id = v.decision_id
             join reviews r on r.decision_id = d.id
         where d.decided_by = 'person' and d.outcome = 'approve' and r.outcome = 'approve'",
    )
    .await;
    let lost = reviewed.into_iter().filter(|id| !approved.contains(id)).collect();
    reckoning.zero("reviews acknowledged and not in force", lost);
    let twice = "select verification_id::text from reviews group by 1 having count(*) > 1";
    reckoning.zero("reviews stored twice", list(db, twice).await);
    let complete = list(
        db,
        "select v.id::text from verifications v join erasures e on e.verification_id = v.id
         where v.state = 'erased' and e.completed_at is not null and e.coarsened_at is not null",
    )
    .await;
    let open = erased.into_iter().filter(|id| !complete.contains(id)).collect();
    reckoning.zero("erasures acknowledged and not complete", open);
    let left = "select v.id || ' ' || t.what from verifications v join (
             select verification_id, 'key' as what from data_keys
             union all select verification_id, 'material' from material
             union all select verification_id, 'digest' from callbacks where digest is not null
             union all select verification_id, 'links' from tasks where links is not null
             union all select verification_id, 'copy at the provider' from provider_deletions
                 where deleted_at is null) t on t.verification_id = v.id
         where v.state = 'erased'";
    reckoning.zero("left of an erased person", list(db, left).await);
}
