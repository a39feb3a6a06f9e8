//! Bad input of face-verify: starts, returns from the page, and callbacks in the provider's name. Each
//! kind has its own stable answer. Nothing is stored, called or woken, and the log has only the code.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use verdict::app::Role;
use verdict::http::api_key_auth::Scope;

use crate::attacks::waiting::{is_due, sleeps};
use crate::harness::{
    Callback, Options, Process, Reply, Setting, TestApp, eventually, make_key, now,
};

/// In every value that could be told on.
const MARK: &str = "MARK";

fn start() -> Value {
    json!({
        "product": "face-verify", "biz_type": "1000000006", "biz_id": "MARKpass97", "source": "web",
        "product_code": "ID_PRO", "cert_type": "IDENTITY_CARD", "cert_name": "MARK",
        "cert_no": "11010519491231002X", "meta_info": { "deviceType": "MARK" }
    })
}

fn with(member: &str, value: impl Into<Value>) -> String {
    let mut body = start();
    body[member] = value.into();
    body.to_string()
}

fn compared_with(picture: impl Into<Value>) -> String {
    let mut body = start();
    body["product_code"] = "PV_FV".into();
    body["user_id"] = MARK.into();
    body["face_contrast_picture"] = picture.into();
    body.to_string()
}

/// Leads the page back there.
fn page_to(address: &str) -> String {
    let mut body = start();
    body["certify_url_type"] = "H5".into();
    body["return_url"] = address.into();
    body.to_string()
}

const DONE: &str = "https://app.example/done";

/// `web` may return to the app.
fn options() -> Options {
    let secret = "whsec_dGhlIHNlY3JldCBvZiB0aGUgd2ViIHBhZ2UncyBiYWNrZW5k";
    let more = format!("[sources.web]\nsecrets = [\"{secret}\"]\nreturn_urls = [\"{DONE}\"]\n");
    let http = "public_url = \"https://verdict.example\"\nbody_read_seconds = 1";
    Options { role: Role::Api, more, http, fixed_clock: false, ..Options::default() }
}

async fn post(
    setting: &Setting,
    http: SocketAddr,
    key: &str,
    body: impl Into<reqwest::Body>,
) -> Reply {
    let request = setting.client.post(format!("http://{http}/v1/verifications"));
    let request = request.header("content-type", "application/json").bearer_auth(key);
    Reply::read(request.body(body).send().await.unwrap()).await
}

/// Sends as much as is taken; what comes back by then.
async fn answer_to(http: SocketAddr, head: &str, body: &[u8]) -> String {
    let (mut from, mut to) = TcpStream::connect(http).await.unwrap().into_split();
    to.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !text.ends_with(b"}") && from.read_buf(&mut text).await.is_ok_and(|read| read > 0) {}
    };
    // It may have had enough, and closed.
    let sending = async {
        let _ = to.write_all(body).await;
    };
    tokio::join!(reading, sending);
    String::from_utf8(text).unwrap()
}

/// Bodies that are no JSON object.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let text = start().to_string();
    let bytes = |text: &str| text.as_bytes().to_vec();
    let deep = |levels: usize| {
        let member = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        bytes(&text.replace("{\"deviceType\":\"MARK\"}", &member))
    };
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("nothing", Vec::new()),
        ("half", bytes(&text[..text.len() / 2])),
        ("a list", bytes(&format!("[{text}]"))),
        ("a text", bytes("\"MARK\"")),
        ("null", bytes("null")),
        ("two", bytes(&format!("{text}{text}"))),
        ("a byte order mark", bytes(&format!("\u{feff}{text}"))),
        ("UTF-16", utf16),
        ("GBK", [&b"{\"cert_name\":\"MARK\xb2\xe2"[..], &b"\"}"[..]].concat()),
        ("a surrogate alone", bytes(&text.replace("\"MARK\"", "\"MARK\\ud83d\""))),
        ("a line break in a text", bytes(&text.replace("\"MARK\"", "\"MARK\n\""))),
        ("a comma too many", bytes(&text.replace('}', ",}"))),
        ("single quotes", bytes(&text.replace('"', "'"))),
        ("not a number", bytes(&text.replace("\"MARK\"", "NaN"))),
        ("deeper than 128", deep(130)),
        ("as deep as can be", deep(15_000)),
    ]
}

/// Bodies with one wrong member, and where it is.
type Cases = Vec<(String, &'static str)>;

/// Order numbers and scenes: also digits of other scripts, signs, spaces, and other types.
fn wrong_keys() -> Cases {
    let twice = |name: &str, value: &str| {
        let text = start().to_string();
        format!("{},\"{name}\":{value}}}", text.strip_suffix('}').unwrap())
    };
    let mut cases = Vec::new();
    for biz_id in ["", "MARK-1", "MARK 1", "MARK\n", " MARK", "１２３", "MARK\u{0}", "MÄRK"] {
        cases.push((with("biz_id", biz_id), "/biz_id"));
    }
    cases.push((with("biz_id", "M".repeat(33)), "/biz_id"));
    cases.push((with("biz_id", 7), "/biz_id"));
    cases.push((with("biz_id", json!(["MARK"])), "/biz_id"));
    for biz_type in ["", "MARK", "-1", "+1", "1.0", "1e9", "０１", "1000000006 "] {
        cases.push((with("biz_type", biz_type), "/biz_type"));
    }
    cases.push((with("biz_type", "1".repeat(19)), "/biz_type"));
    cases.push((with("biz_type", 1_000_000_006), "/biz_type"));
    // Of two members with one name the last one counts.
    cases.push((twice("biz_id", "\"MARK-1\""), "/biz_id"));
    cases.push((twice("cert_name", "[\"MARK\"]"), "/cert_name"));
    cases
}

/// What the device, the person and we are said to be.
fn wrong_parameters() -> Cases {
    let mut cases = Vec::new();
    // What the SDK says of the device is a JSON object, as text or as it is.
    for meta_info in
        ["", "{MARK", "MARK", "[\"MARK\"]", "\"MARK\"", "null", "{}{}", "{\"a\":\"\n\"}"]
    {
        cases.push((with("meta_info", meta_info), "/meta_info"));
    }
    let broken = "{\"MARK\":".repeat(3_000);
    let large = json!({ "MARK": "M".repeat(16_384) });
    for meta_info in [json!(broken), json!(7), json!(true), json!(["MARK"]), json!(null), large] {
        cases.push((with("meta_info", meta_info), "/meta_info"));
    }
    // Names and numbers, in clear or under SM2.
    for (member, value) in [
        ("cert_name", json!("")),
        ("cert_name", json!("M".repeat(513))),
        ("cert_name", json!("MARK\u{0}")),
        ("cert_name", json!({ "MARK": 1 })),
        ("cert_no", json!(null)),
        ("cert_no", json!(110_105)),
        ("cert_type", json!("MARK")),
        ("encrypt_type", json!("sm2")),
        ("encrypt_type", json!("SM4")),
        ("encrypt_type", json!(true)),
        ("product_code", json!("id_pro")),
        ("product_code", json!("ID-PRO")),
        ("product_code", json!(null)),
        ("model", json!("ID_PRO")),
        ("certify_url_type", json!("h5")),
        ("birthday", json!("1990-02-30")),
        ("validity_date", json!("30000101")),
        ("voluntary_customized_content", json!(["MARK"])),
        ("source", json!("nobody")),
        ("source", json!("MARK/..")),
        ("product", json!("Face-Verify")),
    ] {
        let pointer = [
            "/cert_name",
            "/cert_no",
            "/cert_type",
            "/encrypt_type",
            "/product_code",
            "/model",
            "/certify_url_type",
            "/birthday",
            "/validity_date",
            "/voluntary_customized_content",
            "/source",
            "/product",
        ];
        let pointer = pointer.into_iter().find(|at| at[1..] == *member).unwrap();
        cases.push((with(member, value), pointer));
    }
    // The provider's own parameters are ours.
    for member in
        ["callback_token", "callback_url", "CallbackUrl", "CertName", "outer_order_no", ""]
    {
        cases.push((with(member, MARK), ""));
    }
    cases
}

/// Pictures in other forms.
fn wrong_pictures() -> Cases {
    let mut cases = Vec::new();
    for picture in [
        "",
        "=",
        "data:image/jpeg;base64,AAAA",
        "AAAA\nAAAA",
        "AAAA AAAA",
        "AA-_",
        "AA==AA",
        "MARK!",
    ] {
        cases.push((compared_with(picture), "/face_contrast_picture"));
    }
    cases.push((compared_with("A".repeat(1_548_577)), "/face_contrast_picture"));
    cases.push((compared_with(json!(["AAAA"])), "/face_contrast_picture"));
    cases.push((compared_with(json!(null)), "/face_contrast_picture"));
    cases
}

/// Redirect targets outside the list.
fn wrong_targets() -> Cases {
    let mut cases = Vec::new();
    for address in [
        "",
        "MARK",
        "https://MARK.example/done",
        "https://app.example/done#MARK",
        "https://app.example/done/",
        "https://app.example:444/done",
        "https://app.example.MARK.example/done",
        "https://app.example@MARK.example/done",
        "https://app.example%2fdone",
        "//app.example/done",
        "https:/\\MARK.example/done",
        "http://app.example/done",
        "javascript:alert(MARK)",
        "https://verdict.example/v1/returns/app",
        "https://verdict.example/v1/returns/web/../app",
        "https://verdict.example/v1/returns/web?to=https%3A%2F%2FMARK.example",
        "https://verdict.example/v1/returns/web?to=https%3A%2F%2Fapp.example%2Fdone&MARK",
        "https://MARK@verdict.example/v1/returns/web",
    ] {
        cases.push((page_to(address), "/return_url"));
    }
    cases
}

/// Everything that could have been stored or woken.
async fn rows(pool: &PgPool) -> Vec<String> {
    let all = "select v::text from verifications v where certify_id is distinct from 'last1' union all select s::text from starts s
               union all select k.verification_id::text from data_keys k
               union all select c::text from callbacks c union all select a::text from audit a
               order by 1";
    sqlx::query_scalar(all).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn bad_starts_have_stable_answers_and_leave_no_trace() {
    let setting = Setting::new(options()).await;
    let pool = setting.database.pool().await;
    let process = setting.serve().await;
    let (http, key) = (process.http, setting.api_key.as_str());
    let reader = make_key(&setting.database.store(), &[Scope::ResultsRead]).await;
    let before = rows(&pool).await;
    let mut told = Vec::new();
    for (what, body) in malformed() {
        let reply = post(&setting, http, key, body).await;
        assert_eq!(reply.json["code"], "malformed-json", "{what}: {reply:?}");
        reply.assert_problem(400, "malformed-json");
        told.push(reply.text);
    }
    for (body, pointer) in
        [wrong_keys(), wrong_parameters(), wrong_pictures(), wrong_targets()].concat()
    {
        let shown: String = body.chars().take(600).collect();
        let reply = post(&setting, http, key, body).await;
        assert_eq!(
            (reply.status, &reply.json["code"]),
            (422, &json!("invalid-field")),
            "{shown}: {reply:?}"
        );
        let errors = reply.json["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{shown}: {reply:?}");
        told.push(reply.text);
    }
    // Parsed, either would take a hundred times the memory of its text.
    let text = start().to_string();
    for tree in [r#"{"":{"":0}},"#.repeat(150_000), "{\"a\":".repeat(150_000)] {
        let body = text.replace("{\"deviceType\":\"MARK\"}", &format!("[{tree}"));
        let reply = post(&setting, http, key, body).await;
        reply.assert_problem(413, "body-too-large");
        told.push(reply.text);
    }
    // A picture of 10 MB is refused by its length, or cut where that is not said; the key comes first.
    let huge = compared_with("A".repeat(10_000_000));
    let length = format!("content-length: {}\r\n\r\n", huge.len());
    let chunk = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", huge.len());
    for (key, before, answer) in [
        (key, &length, "body-too-large"),
        (key, &chunk, "body-too-large"),
        ("vk_MARK", &length, "api-key-invalid"),
        ("vk_MARK", &chunk, "api-key-invalid"),
    ] {
        let head = format!(
            "POST /v1/verifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\n{before}"
        );
        let text = answer_to(http, &head, huge.as_bytes()).await;
        assert!(text.contains(&format!("\"code\":\"{answer}\"")), "{before}: {text}");
        told.push(text);
    }
    let reply = post(&setting, http, &reader, start().to_string()).await;
    reply.assert_problem(403, "scope-missing");
    told.push(reply.text);
    for (name, value) in
        [("content-type", "text/plain"), ("content-encoding", "gzip"), ("content-type", "MARK")]
    {
        let request = setting.client.post(format!("http://{http}/v1/verifications"));
        let request = request.bearer_auth(key).body(start().to_string());
        let request = match name {
            "content-type" => request.header(name, value),
            _ => request.header("content-type", "application/json").header(name, value),
        };
        let reply = Reply::read(request.send().await.unwrap()).await;
        reply.assert_problem(415, "unsupported-media-type");
        told.push(reply.text);
    }
    assert_eq!(rows(&pool).await, before, "something was stored");
    assert!(setting.provider.calls().is_empty(), "something was asked for");
    leaves_no_trace(
        &setting,
        process,
        &told,
        &["malformed-json", "invalid-field", "body-too-large"],
    )
    .await;
}

/// Nothing of a request in answers, metrics and the log of a process that now ends.
async fn leaves_no_trace(setting: &Setting, process: Process, told: &[String], codes: &[&str]) {
    for text in told {
        assert!(!text.contains(MARK), "{text}");
    }
    let metrics = setting.get(process.operations, "/metrics").await.text;
    assert!(
        metrics.contains("verdict_http_requests_total") && !metrics.contains(MARK),
        "{metrics}"
    );
    process.signal("TERM").await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    assert!(!log.contains(MARK), "{log}");
    for code in codes {
        assert!(log.contains(&format!("\"code\":\"{code}\"")), "{code} is not in the log");
    }
}

/// Two that wait for their results, as an app's callbacks made them. As a start leaves it, the first
/// has the digest of a token.
async fn waiting(setting: &Setting, process: &Process, pool: &PgPool) {
    for certify_id in ["sha7", "last1"] {
        let body =
            json!({ "product": "face-verify", "biz_type": "1000000006", "certify_id": certify_id });
        let callback = Callback::signed(&body.to_string(), now());
        assert_eq!(process.post(&setting.client, callback).await, Some(202));
        sleeps(pool, certify_id).await;
    }
    let started = "insert into starts (verification_id, parameters, callback_token, call_token,
            asked_at, expires_at)
        select id, '\\x00', sha256('right'), gen_random_uuid(), now(), now() + interval '30 minutes'
        from verifications where certify_id = 'sha7'";
    sqlx::query(started).execute(pool).await.unwrap();
}

#[tokio::test]
async fn bad_returns_and_callbacks_have_stable_answers_and_leave_no_trace() {
    let setting = Setting::new(options()).await;
    let pool = setting.database.pool().await;
    let process = setting.serve().await;
    waiting(&setting, &process, &pool).await;
    let before = rows(&pool).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let ask = async |method: &str, target: String| {
        let method: reqwest::Method = method.parse().unwrap();
        let request = client.request(method, format!("http://{}{target}", process.http));
        Reply::read(request.send().await.unwrap()).await
    };
    let encode =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let twice = r#"{"extInfo":{"certifyId":"MARK"},"extInfo":{"certifyId":"MARK2"}}"#;
    let mut told = Vec::new();
    for response in [
        "",
        "MARK",
        "{\"MARK\"",
        "[]",
        "null",
        "\u{feff}{}",
        r#"{"extInfo":"MARK"}"#,
        r#"{"extInfo":{"certifyId":7}}"#,
        r#"{"extInfo":{"certifyId":"MARK"}}"#,
        r#"{"extInfo":{"certifyId":"MARK\u0000"}}"#,
        r#"{"extInfo":{"certifyId":"\ud83d"}}"#,
        twice,
        &deep,
        &format!(r#"{{"extInfo":{{"certifyId":"{}"}}}}"#, "M".repeat(5_000)),
    ] {
        for to in ["", "https://MARK.example/", "https://app.example/done?MARK", "//MARK.example"] {
            let query = format!("response={}&to={}&MARK=MARK", encode(response), encode(to));
            let reply = ask("GET", format!("/v1/returns/web?{query}")).await;
            assert_eq!(reply.status, 303, "{response} {to}: {reply:?}");
            assert_eq!(reply.headers["location"], DONE, "{response} {to}");
            told.push(reply.text);
        }
    }
    // Without a list there is nowhere to go, and no source is told apart.
    for source in ["app", "MARK", "web%00", "%FF"] {
        let reply = ask("GET", format!("/v1/returns/{source}?to={}", encode(DONE))).await;
        reply.assert_problem(404, "not-found");
        told.push(reply.text);
    }
    for query in [
        "",
        "certifyId=sha7",
        "certifyId=sha7&passed=200",
        "certifyId=sha7&callbackToken=",
        "certifyId=sha7&callbackToken=MARK",
        "certifyId=sha7&callbackToken=righ",
        "certifyId=sha7&callbackToken=right0",
        "certifyId=sha7&callbackToken=RIGHT",
        "certifyId=sha7&callbackToken=right&callbackToken=MARK",
        "certifyId=sha7&certifyId=MARK&callbackToken=right",
        "certifyId=MARK&callbackToken=right",
        "certifyId=&callbackToken=right",
        "certifyId=sha7%00&callbackToken=right",
        "certifyId=%FF%FE&callbackToken=MARK",
        "callbackToken=right",
        "MARK",
        "%",
        "&&==&",
    ] {
        for account in ["default", "MARK", "Default"] {
            let reply = ask("GET", format!("/v1/provider-callbacks/{account}?{query}")).await;
            assert_eq!((reply.status, reply.text.as_str()), (200, "success"), "{query}");
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        for path in ["/v1/returns/web", "/v1/provider-callbacks/default"] {
            let reply = ask(method, format!("{path}?MARK")).await;
            reply.assert_problem(405, "method-not-allowed");
            told.push(reply.text);
        }
    }
    // Callbacks are taken in turn, behind their answers: the last one is done when all are.
    ask("GET", "/v1/provider-callbacks/default?certifyId=last1".to_owned()).await;
    eventually("the last one is done", || async { is_due(&pool, "last1").await.then_some(()) })
        .await;
    assert_eq!(rows(&pool).await, before, "something was stored or woken");
    leaves_no_trace(&setting, process, &told, &["not-found", "method-not-allowed"]).await;
}

#[tokio::test]
async fn replayed_start_and_callback_change_nothing() {
    let app = TestApp::start_with(Options { fixed_clock: true, ..options() }).await;
    let pool = app.database.pool().await;
    let first = app.start_verification(&start()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let callback =
        json!({ "product": "face-verify", "biz_type": "1000000006", "biz_id": "MARKpass97" });
    let secret = "whsec_dGhlIHNlY3JldCBvZiB0aGUgd2ViIHBhZ2UncyBiYWNrZW5k";
    let seconds = app.clock.now().unix_timestamp();
    let signed = || {
        let signed = Callback::signed_as("msg_1", &callback.to_string(), seconds, secret);
        Callback { source: "web".to_owned(), ..signed }
    };
    let accepted = app.post(signed()).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let before = rows(&pool).await;
    for _ in 0..3 {
        let again = app.post(signed()).await;
        assert_eq!((again.status, &again.text), (202, &accepted.text));
        let again = app.start_verification(&start()).await;
        assert_eq!((again.status, &again.json["certify_id"]), (200, &first.json["certify_id"]));
    }
    assert_eq!(rows(&pool).await, before, "a repeat has changed something");
}
