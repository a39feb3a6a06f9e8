//! The page, the return and the callback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{certify_id, sample, start};
use crate::face::callback::acceptable;
use crate::face::{CallbackTry, Finding};
use crate::question::pairs;
use crate::room::{Answer, Params, Room, set};

/// A customer's callback endpoint: what it got, and what it answers, the last one from then on.
#[derive(Clone)]
struct Customer {
    got: Arc<Mutex<Vec<(Method, String)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
    address: String,
}

impl Customer {
    async fn answering(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let customer = Self {
            got: Arc::default(),
            answers: Arc::new(Mutex::new(statuses.iter().rev().copied().collect())),
            address,
        };
        let router = Router::new().fallback(take).with_state(customer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        customer
    }

    fn url(&self) -> String {
        format!("http://{}/v1/face?account=main", self.address)
    }

    fn queries(&self) -> Vec<String> {
        let got = self.got.lock().expect("nobody panicked");
        got.iter().map(|(_, query)| query.clone()).collect()
    }
}

async fn take(State(customer): State<Customer>, method: Method, uri: Uri) -> StatusCode {
    let query = uri.query().unwrap_or_default().to_owned();
    customer.got.lock().expect("nobody panicked").push((method, query));
    let mut answers = customer.answers.lock().expect("nobody panicked");
    let status = if answers.len() > 1 { answers.pop() } else { answers.last().copied() };
    StatusCode::from_u16(status.unwrap_or(200)).expect("a status")
}

fn with_callback(room: &Room, order_number: &str, url: &str) -> Params {
    let mut params = start(room, order_number);
    set(&mut params, "CallbackUrl", url);
    set(&mut params, "CallbackToken", "tok*~ +/=");
    params
}

fn with_page(room: &Room, order_number: &str) -> Params {
    let mut params = start(room, order_number);
    set(&mut params, "CertifyUrlType", "H5");
    set(&mut params, "ReturnUrl", "https://app.example.invalid/back?to=7");
    params
}

/// Opens the page of a start; the target of its form.
async fn open(room: &Room, params: Params) -> (String, String) {
    let started = room.send_v2("FORM", params).await.result();
    let url = started["CertifyUrl"].as_str().expect("a page").to_owned();
    let target = url.strip_prefix(&format!("http://{}", room.address)).expect("our own host");
    let short = room.send("GET", target, "", b"").await;
    assert_eq!(short.status, 302);
    let id = started["CertifyId"].as_str().expect("an id").to_owned();
    let long =
        room.sandbox.memory().faces.long_link(target.trim_start_matches("/s/")).map(str::to_owned);
    (id, long.expect("a long link"))
}

async fn click(room: &Room, target: &str, form: &str) -> Answer {
    let header = "Content-Type: application/x-www-form-urlencoded\r\n";
    room.send("POST", target, header, form.as_bytes()).await
}

/// What `ReturnUrl` gets. The head is in lower case here, so only sub codes lose their spelling.
fn told(answer: &Answer) -> (Vec<(String, String)>, Value) {
    let line = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
    let (base, query) = line.expect("a redirect").split_once('?').expect("a query");
    assert_eq!(base, "https://app.example.invalid/back");
    let mut query = pairs(query.as_bytes());
    let (name, response) = query.pop().expect("a response");
    assert_eq!(name, "response");
    (query, serde_json::from_str(&response).expect("JSON"))
}

#[tokio::test]
async fn the_page_passes_fails_or_is_left() {
    let room = Room::open().await;
    for (form, verdict, sample) in [
        ("result=pass", "T200", sample!("h5_return_passed")),
        ("result=fail&code=205", "F205", sample!("h5_return_failed")),
        ("result=fail", "F204", sample!("h5_return_failed")),
        ("result=leave", "424", sample!("h5_return_interrupted")),
    ] {
        let (id, target) = open(&room, with_page(&room, "order")).await;
        let page = room.send("GET", &target, "", b"").await;
        assert!(
            page.status == 200 && page.text().contains(r#"<button id="pass""#),
            "{}",
            page.text()
        );
        assert_eq!(room.describe(&id).await.verdict(), "424", "not submitted yet");
        let back = click(&room, &target, form).await;
        assert_eq!(back.status, 303);
        let (kept, told) = told(&back);
        assert_eq!(kept, [("to".to_owned(), "7".to_owned())]);
        let expected = &sample["response_decoded"];
        assert_eq!((&told["code"], &told["reason"]), (&expected["code"], &expected["reason"]));
        assert_eq!(told["extinfo"]["certifyid"], id);
        assert_eq!(room.describe(&id).await.verdict(), verdict);
        let again = room.send("GET", &target, "", b"").await.status;
        assert_eq!(again, if form == "result=leave" { 200 } else { 410 }, "one submission");
    }
}

#[tokio::test]
async fn a_changed_or_expired_link_opens_nothing() {
    let room = Room::open().await;
    let (id, target) = open(&room, with_page(&room, "order")).await;
    let changed = target.replace(&id, "sha0000000000000000000000000000a");
    assert_eq!(room.send("GET", &changed, "", b"").await.status, 403);
    assert_eq!(click(&room, &target, "result=approve").await.status, 400);
    assert_eq!(room.send("GET", "/s/unknown", "", b"").await.status, 404);
    room.advance(Duration::from_mins(30));
    assert_eq!(room.send("GET", &target, "", b"").await.status, 200);
    room.advance(Duration::from_secs(1));
    assert_eq!(click(&room, &target, "result=pass").await.status, 410);
    assert_eq!(room.describe(&id).await.verdict(), "424");
}

#[tokio::test]
async fn an_embedded_page_tells_the_page_around_it() {
    let room = Room::open().await;
    let (id, target) = open(&room, with_page(&room, "order")).await;
    let embedded = target.replace("/h5?", "/h5iframe?");
    let done = click(&room, &embedded, "result=pass").await;
    assert!(done.text().contains(r#"value="{&quot;code&quot;:1000,"#), "{}", done.text());
    let script = room.send("GET", "/h5.js", "", b"").await;
    assert!(script.text().contains("parent.postMessage("), "{}", script.text());
    assert_eq!(room.describe(&id).await.verdict(), "T200");
}

#[tokio::test]
async fn the_callback_url_is_probed_at_every_start() {
    let room = Room::open().await;
    for (url, verdict) in [("http://127.0.0.1:1/", "401"), ("https://127.0.0.1:1/", "401")] {
        let answer = room.send_v2("FORM", with_callback(&room, "order", url)).await;
        assert_eq!(answer.verdict(), verdict, "{url}");
    }
    let customer = Customer::answering(&[404, 200]).await;
    let refused = room.send_v2("FORM", with_callback(&room, "order", &customer.url())).await;
    assert_eq!(refused.verdict(), "401", "only 200 will do");
    assert!(room.sandbox.certify_ids("order").is_empty());
    let elsewhere = "http://verdict.example.invalid/".parse().expect("a URL");
    assert!(!acceptable(&elsewhere, false) && acceptable(&elsewhere, true));
    certify_id(&room, with_callback(&room, "order", &customer.url())).await;
    certify_id(&room, with_callback(&room, "headprobe", &customer.url())).await;
    let methods: Vec<Method> =
        customer.got.lock().expect("nobody panicked").iter().map(|(m, _)| m.clone()).collect();
    assert_eq!(methods, [Method::GET, Method::GET, Method::HEAD]);
    assert_eq!(customer.queries(), ["account=main"; 3], "a probe has no parameters of its own");
}

#[tokio::test]
async fn the_callback_comes_once_submitted_twice_unless_it_gets_200() {
    let mut settings = crate::Settings::new("testid", "testsecret".to_owned().into());
    settings.callback_pause = Duration::from_millis(1);
    let room = Room::with(settings).await;
    let customer = Customer::answering(&[200, 204, 503, 200]).await;
    let id = certify_id(&room, with_callback(&room, "order", &customer.url())).await;
    room.sandbox.submit(&id, Finding::of(204)).await.expect("its first submission");
    let expected =
        format!("account=main&callbackToken=tok%2A~%20%2B%2F%3D&certifyId={id}&passed=204");
    assert_eq!(customer.queries()[1..], [expected.clone(), expected]);
    let tried = |status| CallbackTry { certify_id: id.clone(), status: Some(status) };
    assert_eq!(room.sandbox.callbacks(), [tried(204), tried(503)], "then silence");

    for (order_number, parameters) in [
        ("callbacksub", "certifyId=ID&subCode=200"),
        ("callbacktf", "certifyId=ID&passed=T"),
        ("callbacklower", "certifyid=ID&passed=T&subcode=200"),
    ] {
        let before = customer.queries().len();
        let mut params = with_callback(&room, order_number, &customer.url());
        set(&mut params, "CallbackToken", "");
        let id = certify_id(&room, params).await;
        room.sandbox.submit(&id, Finding::PASS).await.expect("its first submission");
        let expected = format!("account=main&{}", parameters.replace("ID", &id));
        assert_eq!(customer.queries()[before + 1..], [expected], "one try, as it got 200");
    }
    let silent = certify_id(&room, with_callback(&room, "callbacknone", &customer.url())).await;
    let before = room.sandbox.callbacks().len();
    room.sandbox.submit(&silent, Finding::PASS).await.expect("its first submission");
    assert_eq!(room.sandbox.callbacks().len(), before);
}

#[tokio::test]
async fn a_scripted_person_submits_on_their_own() {
    let room = Room::open().await;
    let customer = Customer::answering(&[200]).await;
    let id = certify_id(&room, with_callback(&room, "submits1sub206waits", &customer.url())).await;
    while room.sandbox.callbacks().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(customer.queries()[1].ends_with(&format!("certifyId={id}&passed=206")));
    assert_eq!(room.describe(&id).await.verdict(), "F206");
}
