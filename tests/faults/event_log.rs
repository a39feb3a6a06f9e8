//! The event log under faults: a reader follows the feed during the whole run, whichever process
//! answers. At the end the log is compared with the decisions, and the feed with the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgConnection;

use super::log_queries;
use super::reckoning::{Reckoning, list};
use super::world::World;

/// Follows the feed until it is stopped.
#[derive(Default)]
pub struct Reader {
    stop: AtomicBool,
}

/// One event as the reader received it.
pub struct FeedEvent {
    sequence: i64,
    body: String,
}

impl Reader {
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Follows the feed until it is stopped and has reached the end.
    pub async fn follow(self: Arc<Self>, world: Arc<World>) -> Vec<FeedEvent> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client");
        let (mut read, mut after, mut turn) = (Vec::new(), 0, 0);
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            let addresses: Vec<_> = world.services.iter().filter_map(|s| s.address()).collect();
            turn += 1;
            let page = match addresses.get(turn % addresses.len().max(1)) {
                Some(address) => page(&client, *address, &world.api_key, after).await,
                None => None,
            };
            let Some((items, next, head)) = page else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            read.extend(items);
            after = next;
            if stopping && after == head {
                return read;
            }
        }
    }
}

async fn page(
    client: &reqwest::Client,
    address: std::net::SocketAddr,
    key: &str,
    after: i64,
) -> Option<(Vec<FeedEvent>, i64, i64)> {
    /// The feed, with each item as it is.
    #[derive(serde::Deserialize)]
    struct Page {
        items: Vec<Box<serde_json::value::RawValue>>,
        next_after: i64,
        head: i64,
    }
    let url = format!("http://{address}/v1/events?after={after}&limit=500&wait=1");
    let answer = client.get(url).bearer_auth(key).send().await.ok()?;
    let answer = answer.error_for_status().ok()?.text().await.ok()?;
    let page: Page = serde_json::from_str(&answer).expect("a page of the feed");
    let event = |item: Box<serde_json::value::RawValue>| FeedEvent {
        sequence: serde_json::from_str::<serde_json::Value>(item.get()).expect("JSON")["sequence"]
            .as_i64()
            .expect("a number"),
        body: item.get().to_owned(),
    };
    Some((page.items.into_iter().map(event).collect(), page.next_after, page.head))
}

/// Waits until everything that was committed is numbered.
pub async fn numbered(world: &World) {
    let mut db = world.admin().await;
    for _ in 0..600 {
        let open: i64 = sqlx::query_scalar(
            "select (select count(*) from decisions) + (select count(*) from event_notes)
                 - (select number from event_log)",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Compares the log with what happened, and what the reader received with the log.
pub async fn reckon(
    reckoning: &mut Reckoning,
    world: &World,
    db: &mut PgConnection,
    read: &[FeedEvent],
) {
    let count: i64 =
        sqlx::query_scalar("select count(*) from events").fetch_one(&mut *db).await.unwrap();
    reckoning.count("events", usize::try_from(count).unwrap());
    for (promise, query) in [
        ("decisions and other changes without exactly one event", log_queries::WITHOUT_ONE_EVENT),
        (
            "verifications failed or expired without an event",
            "select v.biz_id from verifications v where v.state in ('failed', 'expired')
             and not exists (select from events e where e.verification_id = v.id
                 and e.kind = 'verification.' || v.state)",
        ),
        ("numbers of the log that are missing or double", &log_queries::NUMBERS.replace("$1", "0")),
        ("events of a verification out of its order", log_queries::OUT_OF_ORDER),
    ] {
        reckoning.zero(promise, list(db, query).await);
    }
    let gaps = read.iter().zip(1..).filter(|(event, place)| event.sequence != *place);
    let gaps = gaps.map(|(event, place)| format!("{} in place {place}", event.sequence)).collect();
    reckoning.zero("gaps, repeats and inversions in the feed as it was read", gaps);
    reckoning.count("events that the reader received", read.len());
    let missing = usize::try_from(count).unwrap().abs_diff(read.len());
    reckoning.zero("events that the reader did not receive", vec![String::new(); missing]);
    let again = read_again(world).await;
    let missing = usize::try_from(count).unwrap().abs_diff(again.len());
    reckoning.zero("events that were not read again", vec![String::new(); missing]);
    let same = |event: &FeedEvent| {
        let at = usize::try_from(event.sequence - 1).ok();
        at.and_then(|at| read.get(at)).is_some_and(|before| before.body == event.body)
    };
    let otherwise = again.into_iter().filter(|event| !same(event)).map(|event| event.body);
    reckoning.zero("events whose bytes were others when they were read again", otherwise.collect());
}

/// The whole feed once more, at the end. Nothing disturbs the service any more, so that a request
/// which fails a few times in a row ends it: what is missing then is counted.
async fn read_again(world: &World) -> Vec<FeedEvent> {
    const TRIES: usize = 20;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client");
    let (mut again, mut after, mut failed) = (Vec::new(), 0, 0);
    while failed < TRIES {
        let address = world.services.iter().find_map(|service| service.address());
        let page = match address {
            Some(address) => page(&client, address, &world.api_key, after).await,
            None => None,
        };
        let Some((items, next, head)) = page else {
            failed += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        failed = 0;
        again.extend(items);
        after = next;
        if after == head {
            break;
        }
    }
    again
}
