//! Starts of face-verify under faults. Each is billed, so the provider counts them: it must have
//! started no order number twice, and nothing that it started may be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloudauth_sandbox::face::Script;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;

use super::ledger::{CLIENTS, Client, Ledger, Prescribed};
use super::reckoning::Reckoning;
use super::world::World;

/// The scene of all starts: nothing else that a statement carries holds these bytes.
pub const SCENE: &str = "1000000017";
/// Only the statement that stores a start carries it.
pub const PURPOSE: &str = "start under faults";
/// Where pages lead back.
pub const DONE: &str = "https://app.example/done";

/// The invented person of all starts: [`crate::harness::person_in`] finds both.
const NAME: &str = "测试甲";
const NUMBER: &str = "000000198501010018";

/// How long a client tries to start one verification before it leaves that to the end of the run: the
/// lease of a process that was killed is much longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one start may take at the end, when nothing disturbs it any more.
const STUBBORN: Duration = Duration::from_mins(1);

use Prescribed::{Decided, Expired, Failed};

/// Scripts of the simulated provider, whether a page is asked for, and what the verification must come
/// to once its `CertifyId` is known.
const SCRIPTS: [(&str, bool, Prescribed); 20] = [
    ("pass97", false, Decided("approve")),
    ("pass97", true, Decided("approve")),
    ("sub204", false, Decided("reject")),
    ("sub206", true, Decided("review")),
    ("sub220", false, Decided("retry")),
    ("unfinished1then200", false, Decided("approve")),
    // So that there is always a call under way to be struck.
    ("slow300pass97", false, Decided("approve")),
    ("slow500pass97", true, Decided("approve")),
    ("slow800sub204", false, Decided("reject")),
    ("slow1200pass97", false, Decided("approve")),
    ("slow2500pass97", true, Decided("approve")),
    // The answer is lost, but the provider has a record.
    ("initcutpass97", false, Decided("approve")),
    ("initgarbagesub204", false, Decided("reject")),
    // It has none: only its callback tells.
    ("initcutunlistedsubmits", false, Decided("approve")),
    ("initthrottled1pass97", false, Decided("approve")),
    ("init500x1sub204", false, Decided("reject")),
    ("main500x2pass97", false, Decided("approve")),
    ("init417", false, Failed),
    // Nobody submits them.
    (ABANDONED, false, Expired),
    (ABANDONED, true, Expired),
];
/// Begins the order numbers that nobody submits.
pub const ABANDONED: &str = "waits";

/// One order number.
#[derive(Clone, Debug)]
pub struct Start {
    pub order_number: String,
    pub page: bool,
    pub prescribed: Prescribed,
    /// The answer, without the state of the verification.
    pub answer: Option<Answer>,
    /// The final answer was that nobody knows.
    pub unknown: bool,
}

/// What a start and all its repeats must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verification: String,
    pub certify_id: String,
    certify_url: Option<String>,
}

/// All starts that were ever asked for.
#[derive(Default)]
pub struct Starts {
    pub begun: Mutex<Vec<Start>>,
    pub answered_otherwise: Mutex<Vec<String>>,
    /// Another person's start under a known order number.
    pub others_started: Mutex<Vec<String>>,
}

impl Start {
    /// What is sent; a repeat says something new of the device.
    fn body(&self, name: &str, device: usize) -> String {
        let mut body = json!({
            "product": "face-verify", "biz_type": SCENE, "biz_id": self.order_number,
            "source": "app", "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD",
            "cert_name": name, "cert_no": NUMBER, "meta_info": { "deviceType": device.to_string() }
        });
        if self.page {
            body["certify_url_type"] = "H5".into();
            body["return_url"] = DONE.into();
        }
        body.to_string()
    }

    /// The provider finds it by its order number, and knows no page.
    pub fn can_be_found(&self) -> bool {
        !self.page && !self.order_number.contains("unlisted")
    }
}

impl Answer {
    fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            verification: json["verification"]["id"].as_str()?.to_owned(),
            certify_id: json["certify_id"].as_str()?.to_owned(),
            certify_url: json["certify_url"].as_str().map(str::to_owned),
        })
    }
}

impl Starts {
    fn answer_of(&self, order_number: &str) -> Option<Answer> {
        let begun = self.begun.lock().expect("not poisoned");
        begun.iter().find(|start| start.order_number == order_number)?.answer.clone()
    }

    /// Notes an answer; true if it is the first one.
    fn note(&self, order_number: &str, text: &str) -> bool {
        let mut begun = self.begun.lock().expect("not poisoned");
        let start = begun.iter_mut().find(|start| start.order_number == order_number);
        let start = start.expect("it was begun");
        let answer = Answer::read(text);
        let is_first = start.answer.is_none();
        let before = start.answer.get_or_insert_with(|| answer.clone().unwrap_or_default());
        if answer.as_ref() != Some(before) {
            let what = format!("{order_number}: {before:?} but also {answer:?}");
            self.answered_otherwise.lock().expect("not poisoned").push(what);
        }
        is_first
    }

    fn give_up(&self, order_number: &str) {
        let mut begun = self.begun.lock().expect("not poisoned");
        let start = begun.iter_mut().find(|start| start.order_number == order_number);
        start.expect("it was begun").unknown = true;
    }
}

impl Default for Answer {
    /// An answer that cannot be read.
    fn default() -> Self {
        Self { verification: String::new(), certify_id: String::new(), certify_url: None }
    }
}

impl Client {
    /// Starts a verification, and goes on as its user would.
    pub async fn start_another(&mut self) {
        let (script, page, prescribed) = self.dice.one_of(&SCRIPTS);
        let order_number = format!("{script}u{}", self.ledger.number());
        let start = Start { order_number, page, prescribed, answer: None, unknown: false };
        self.ledger.starts.begun.lock().expect("not poisoned").push(start.clone());
        if self.carry_to_an_answer(&start, PATIENCE).await {
            self.user_goes_on(&start).await;
        }
    }

    /// A known start again, or another person's under its number.
    pub async fn repeat_a_start(&mut self) {
        let answered: Vec<Start> = {
            let begun = self.ledger.starts.begun.lock().expect("not poisoned");
            begun.iter().filter(|start| start.answer.is_some()).cloned().collect()
        };
        if answered.is_empty() {
            return;
        }
        let start = answered[self.dice.below(answered.len())].clone();
        if self.dice.percent(60) {
            self.carry_to_an_answer(&start, Duration::ZERO).await;
            return;
        }
        match self.send_start(&start, "测试乙").await {
            Some((status @ (200 | 201), text)) => {
                let what = format!("{}: {status} {text}", start.order_number);
                self.ledger.starts.others_started.lock().expect("not poisoned").push(what);
            }
            Some((409, text)) if code(&text) == "order-number-used" => {}
            other => self.judge("another person's start", other),
        }
    }

    /// Sends it, anywhere and again, until there is an answer. True for the first one.
    async fn carry_to_an_answer(&mut self, start: &Start, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.send_start(start, NAME).await {
                Some((200 | 201, text)) => {
                    return self.ledger.starts.note(&start.order_number, &text);
                }
                Some((422, text)) if refused(start, &text) => return false,
                Some((409, text)) if code(&text) == "start-unknown" => {
                    if patience == STUBBORN {
                        self.ledger.starts.give_up(&start.order_number);
                    }
                    return false;
                }
                Some((409, text)) if code(&text) == "start-running" => {}
                other => self.judge("a start", other),
            }
            if began.elapsed() >= patience {
                return false;
            }
            let pause = self.dice.millis(50, 300);
            tokio::time::sleep(pause).await;
        }
    }

    async fn send_start(&mut self, start: &Start, name: &str) -> Option<(u16, String)> {
        let body = start.body(name, self.dice.below(1000));
        let address = self.world.services[self.dice.below(3)].address()?;
        let request = self
            .http
            .post(format!("http://{address}/v1/verifications"))
            .header("content-type", "application/json")
            .header("verdict-purpose", PURPOSE)
            .bearer_auth(&self.world.api_key)
            .body(body);
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// The user submits, and comes back from a page; most apps report it.
    async fn user_goes_on(&mut self, start: &Start) {
        let Some(answer) = self.ledger.starts.answer_of(&start.order_number) else { return };
        if start.order_number.starts_with(ABANDONED) {
            return;
        }
        if start.page {
            let finding = Script::parse(&start.order_number).unwrap_or_default().finding();
            let (world, certify_id) = (Arc::clone(&self.world), answer.certify_id.clone());
            tokio::spawn(async move { world.provider.submit(&certify_id, finding).await });
            self.come_back(&answer).await;
        }
        if self.dice.percent(60) {
            let body = json!({ "product": "face-verify", "biz_type": SCENE,
                "biz_id": start.order_number, "reference": self.ledger.number().to_string() });
            self.report(body.to_string(), &start.order_number, start.prescribed).await;
        }
    }

    /// The browser leaves the provider's page; without an answer the user is stuck, no more.
    async fn come_back(&mut self, answer: &Answer) {
        let Some(address) = self.world.services[self.dice.below(3)].address() else { return };
        let response = json!({ "code": 1000, "extInfo": { "certifyId": answer.certify_id } });
        let url = format!("http://{address}/v1/returns/app");
        let url = Url::parse_with_params(&url, [("response", response.to_string())]);
        let Ok(reply) = self.http.get(url.expect("a URL")).send().await else { return };
        let location = reply.headers().get("location").and_then(|value| value.to_str().ok());
        let known = format!("{DONE}?verification_id={}", answer.verification);
        if reply.status() != 303 || !location.is_some_and(|to| to == DONE || to == known) {
            let told = (reply.status().as_u16(), format!("{location:?}"));
            self.judge("a return", Some(told));
        }
    }
}

/// Asks for every start once more, when nothing disturbs the service any more and the leases of killed
/// processes have ended: each must get its answer, or learn that nobody knows.
pub async fn finish(ledger: &Arc<Ledger>, world: &Arc<World>) {
    let begun = ledger.starts.begun.lock().expect("not poisoned").clone();
    let mut clients = JoinSet::new();
    for part in begun.chunks(begun.len().div_ceil(CLIENTS).max(1)).map(<[Start]>::to_vec) {
        let dice = super::Dice::new(part.len() as u64);
        let mut client = Client::new(Arc::clone(ledger), Arc::clone(world), dice);
        clients.spawn(async move {
            for start in part {
                if client.carry_to_an_answer(&start, STUBBORN).await {
                    client.user_goes_on(&start).await;
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client");
    }
}

/// One verification that was started here.
#[derive(sqlx::FromRow)]
struct Row {
    biz_id: String,
    id: Uuid,
    certify_id: Option<String>,
    state: String,
    outcome: Option<String>,
}

/// Answers to `InitFaceVerify` that prove that nothing was started.
const STARTED_NOTHING: [&str; 3] = ["Throttling.User", "500", "InvalidAccessKeyId.NotFound"];

/// Compares what clients were told and what the database holds with what the provider has started.
pub async fn reckon(
    reckoning: &mut Reckoning,
    world: &World,
    ledger: &Ledger,
    db: &mut PgConnection,
) {
    let begun = ledger.starts.begun.lock().expect("not poisoned").clone();
    let rows: Vec<Row> = sqlx::query_as(
        "select v.biz_id, v.id, v.certify_id, v.state, d.outcome
         from starts s join verifications v on v.id = s.verification_id
             left join decisions d on d.id = v.decision_id",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let rows: HashMap<&str, &Row> = rows.iter().map(|row| (row.biz_id.as_str(), row)).collect();
    let unknown = begun.iter().filter(|start| start.unknown).count();
    let answered = begun.iter().filter(|start| start.answer.is_some()).count();
    reckoning.count("starts", begun.len());
    reckoning.count("  of which answered with a CertifyId", answered);
    reckoning.count("  of which nobody knows the CertifyId", unknown);
    provider_side(reckoning, world, &begun, &rows);
    let (mut lost, mut otherwise, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for start in &begun {
        let number = &start.order_number;
        let row = rows.get(number.as_str());
        let stored = row.map(|row| (row.id.to_string(), row.certify_id.clone()));
        let told = start.answer.as_ref();
        let told = told.map(|told| (told.verification.clone(), Some(told.certify_id.clone())));
        if told.is_some() && told != stored {
            lost.push(format!("{number}: {told:?}, stored {stored:?}"));
        }
        let Some(row) = row else { continue };
        let came_to = row.outcome.as_deref().unwrap_or(&row.state);
        let prescribed = match start.prescribed {
            Decided(outcome) => outcome,
            Expired => "expired",
            Failed => "failed",
        };
        // Without an answer nobody could go on; the provider's callback may still have told.
        let fits = came_to == prescribed || start.answer.is_none() && came_to == "expired";
        if ["pending", "unfinished"].contains(&came_to) {
            open.push(format!("{number}: {came_to}"));
        } else if !fits {
            otherwise.push(format!("{number}: {came_to} instead of {prescribed}"));
        }
    }
    reckoning.zero("starts answered and not as stored", lost);
    reckoning.zero("starts that never came to an end", open);
    reckoning.zero("starts settled otherwise than prescribed", otherwise);
    let taken = |list: &Mutex<Vec<String>>| list.lock().expect("not poisoned").clone();
    reckoning
        .zero("starts repeated and answered otherwise", taken(&ledger.starts.answered_otherwise));
    reckoning
        .zero("others started under a known order number", taken(&ledger.starts.others_started));
}

/// No order number is started twice, or called for again where it may have been started; whatever was
/// started has its verification, and is found again where the provider has a record.
fn provider_side(
    reckoning: &mut Reckoning,
    world: &World,
    begun: &[Start],
    rows: &HashMap<&str, &Row>,
) {
    let (mut twice, mut again) = (Vec::new(), Vec::new());
    let (mut unknown_here, mut not_found) = (Vec::new(), Vec::new());
    let mut calls: HashMap<String, Vec<String>> = HashMap::new();
    for call in world.provider.calls().into_iter().filter(|call| call.action == "InitFaceVerify") {
        calls.entry(call.biz_id).or_default().push(call.outcome);
    }
    for start in begun {
        let number = &start.order_number;
        let ids = world.provider.certify_ids(number);
        let outcomes = calls.get(number).map_or(&[][..], Vec::as_slice);
        if ids.len() > 1 {
            twice.push(format!("{number}: {ids:?}"));
        }
        if let Some((_, before)) = outcomes.split_last()
            && !before.iter().all(|outcome| STARTED_NOTHING.contains(&outcome.as_str()))
        {
            again.push(format!("{number}: {outcomes:?}"));
        }
        if !outcomes.is_empty() && !rows.contains_key(number.as_str()) {
            unknown_here.push(number.clone());
        }
        if start.unknown && start.can_be_found() && !ids.is_empty() {
            not_found.push(format!("{number}: {ids:?}"));
        }
    }
    reckoning.count("calls of InitFaceVerify", calls.values().map(Vec::len).sum());
    reckoning.zero("order numbers started twice at the provider", twice);
    reckoning.zero("called for again after an answer that proves nothing", again);
    reckoning.zero("called for without a stored start", unknown_here);
    reckoning.zero("starts on the provider's record that were not found", not_found);
}

fn code(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    json["code"].as_str().unwrap_or_default().to_owned()
}

fn refused(start: &Start, text: &str) -> bool {
    start.prescribed == Failed && code(text) == "provider-refused"
}
