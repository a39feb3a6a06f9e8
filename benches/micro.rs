//! Micro-benchmarks of what every callback and every answer costs in CPU: `cargo bench --bench micro`.
//!
//! Each group measures its baseline in the same run, where there is one. A part of the name runs a
//! part of them: `cargo bench --bench micro -- webhook`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, RandomizedNonceKey};
use cloudauth::signing::{canonical_query, v2, v3};
use cloudauth::wire;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::evidence::{Evidence, History};
use policy::{Policy, decide};
use sha2::Sha256;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;
use verdict::domain::callback::Callback;
use verdict::domain::ids::{Ids, VerificationId};
use verdict::provider::Reading;
use verdict::vault::callback_signature::{sign, verify};
use verdict::vault::{Key, KeyRing, SealedAt, Secret, SignedHeaders, Vault};

const NOW: OffsetDateTime = datetime!(2026-11-23 09:30:00 UTC);

/// What a mobile backend posts.
const CALLBACK: &[u8] = br#"{"biz_type":"RPBasicTest","biz_id":"4f1c2d0e-8a5b-4d7e-9f10-2b3c4d5e6f70","occurred_at":"2026-11-23T09:29:58Z","reference":"user-100042","client":{"audit":"AUDIT_PASS","code":"1","platform":"android","message":"finished"}}"#;

/// A full answer: three scores, all material.
const ANSWER: &str =
    include_str!("../crates/cloudauth/tests/fixtures/responses/ok_wire_2019-03-07.json");
const POLICY: &str = include_str!("../config/policy.toml");

fn webhook(c: &mut Criterion) {
    let key = |n: u8| [n; 32];
    let secret = |n: u8| Secret::parse(&base64_of(&key(n))).unwrap();
    let (id, timestamp) = ("msg_2b3c4d5e6f708192a3b4c5d6", NOW.unix_timestamp());
    let text = timestamp.to_string();
    let signed_text = [id.as_bytes(), b".", text.as_bytes(), b".", CALLBACK].concat();
    let tolerance = time::Duration::minutes(5);

    let mut group = c.benchmark_group("webhook");
    group.throughput(Throughput::Bytes(CALLBACK.len() as u64));
    group.bench_function("baseline: one HMAC-SHA256 of the same bytes", |b| {
        b.iter(|| {
            let mut mac = Hmac::<Sha256>::new_from_slice(black_box(&key(1))).unwrap();
            mac.update(black_box(&signed_text));
            mac.finalize().into_bytes()
        });
    });
    // Signed with the last secret of the list, as during a rotation; all are tried in any case.
    for secrets in [vec![secret(1)], vec![secret(2), secret(1)]] {
        let signature = sign(&secret(1), id, timestamp, CALLBACK);
        let headers = SignedHeaders { id, timestamp: &text, signature: &signature };
        group.bench_function(BenchmarkId::new("verify, secrets", secrets.len()), |b| {
            b.iter(|| {
                verify(black_box(&secrets), headers, black_box(CALLBACK), NOW, tolerance).unwrap();
            });
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let xml = as_xml(ANSWER);
    assert!(wire::read(200, ANSWER.as_bytes()).outcome.is_ok());
    assert!(wire::read(200, xml.as_bytes()).outcome.is_ok());

    let mut group = c.benchmark_group("decode");
    let value = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap();
    for (name, body) in [("callback", CALLBACK), ("answer", ANSWER.as_bytes())] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("baseline: serde_json value of the {name}"), |b| {
            b.iter(|| value(black_box(body)));
        });
    }
    group.throughput(Throughput::Bytes(CALLBACK.len() as u64));
    group.bench_function("callback", |b| {
        b.iter(|| {
            Callback::parse(black_box(CALLBACK), policy::product::Product::VerifyResult).unwrap()
        });
    });
    for (name, body) in [("answer in JSON", ANSWER), ("answer in XML", &xml)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| wire::read(200, black_box(body.as_bytes()))));
    }
    let read = wire::read(200, ANSWER.as_bytes()).outcome.unwrap();
    group.throughput(Throughput::Elements(1));
    group.bench_function("evidence of an answer", |b| {
        b.iter(|| black_box(&read).evidence("RPBasicTest", History::of_calls(1), NOW));
    });
    group.finish();
}

fn judge(c: &mut Criterion) {
    let policy = Policy::load(POLICY).unwrap();
    let good = wire::read(200, ANSWER.as_bytes()).outcome.unwrap();
    let approved = good.evidence("RPBasicTest", History::of_calls(1), NOW);
    let rejected = Evidence { verify_status: Some(7), ..approved.clone() };
    let absent = wire::read(200, br#"{"VerifyStatus":1}"#).outcome.unwrap();
    let absent = absent.evidence("RPBasicTest", History::of_calls(1), NOW);

    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for (name, evidence) in
        [("approve", &approved), ("reject", &rejected), ("absent evidence", &absent)]
    {
        let outcome = decide(&policy, evidence).outcome.as_str();
        let expected = if name == "absent evidence" { "review" } else { name };
        assert_eq!(outcome, expected, "the example is not what it is called");
        group.bench_function(name, |b| b.iter(|| decide(black_box(&policy), black_box(evidence))));
    }
    group.finish();
}

fn seal(c: &mut Criterion) {
    let ring = KeyRing::new(vec![Key::new("bench", [7; 32])]).unwrap();
    let vault = Vault::new(ring);
    let id: VerificationId = Ids::counted(1).next(NOW);
    let (key, wrapped) = vault.new_data_key(id).unwrap();
    let at = SealedAt::ResultBody(verdict::domain::ids::ResultId(Uuid::from_u128(1)));

    let mut group = c.benchmark_group("seal");
    for (name, length) in [("4 KiB", 4 * 1024), ("256 KiB", 256 * 1024)] {
        let body = vec![b'x'; length];
        group.throughput(Throughput::Bytes(body.len() as u64));
        let cipher = RandomizedNonceKey::new(&AES_256_GCM_SIV, &[7; 32]).unwrap();
        let mut buffer = body.clone();
        group.bench_function(BenchmarkId::new("baseline: bare AES-256-GCM-SIV", name), |b| {
            b.iter(|| {
                cipher.seal_in_place_separate_tag(Aad::from(b"place"), black_box(&mut buffer))
            });
        });
        group.bench_function(BenchmarkId::new("seal", name), |b| {
            b.iter(|| key.seal(at, black_box(&body)).unwrap());
        });
        let sealed = key.seal(at, &body).unwrap();
        group.bench_function(BenchmarkId::new("open", name), |b| {
            b.iter(|| key.open(at, black_box(&sealed)).unwrap());
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("new data key", |b| b.iter(|| vault.new_data_key(id).unwrap()));
    group.bench_function("open data key", |b| {
        b.iter(|| vault.open_data_key(id, black_box(&wrapped)).unwrap());
    });
    group.finish();
}

fn sign_request(c: &mut Criterion) {
    let (key_id, secret) = ("bench-access-key-id", "bench-access-key-secret");
    let question = [("BizType", "RPBasicTest"), ("BizId", "4f1c2d0e-8a5b-4d7e-9f10-2b3c4d5e6f70")];
    let rpc = [
        ("Action", "DescribeVerifyResult"),
        ("Version", "2019-03-07"),
        ("Format", "JSON"),
        ("AccessKeyId", key_id),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", "15215528852396015215528852396015"),
        ("Timestamp", "2026-11-23T09:30:00Z"),
    ];
    let v2_params = owned(&[&question[..], &rpc].concat());
    let form = canonical_query(&owned(&question));
    let mut group = c.benchmark_group("sign");
    group.throughput(Throughput::Elements(1));
    group.bench_function("v2", |b| {
        b.iter(|| {
            v2::signature(secret, &v2::string_to_sign(black_box("POST"), black_box(&v2_params)))
        });
    });
    group.bench_function("v3", |b| {
        b.iter(|| {
            let hash = v3::hash(black_box(form.as_bytes()));
            let headers = owned(&[
                ("x-acs-action", "DescribeVerifyResult"),
                ("x-acs-version", "2019-03-07"),
                ("x-acs-date", "2026-11-23T09:30:00Z"),
                ("x-acs-signature-nonce", "15215528852396015215528852396015"),
                ("x-acs-content-sha256", &hash),
                ("content-type", "application/x-www-form-urlencoded"),
                ("host", "cloudauth.aliyuncs.com"),
            ]);
            v3::authorization(key_id, secret, "POST", "/", &[], &headers, &hash)
        });
    });
    group.finish();
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The same answer in the provider's other form.
fn as_xml(json: &str) -> String {
    fn element(name: &str, value: &serde_json::Value) -> String {
        let inner = match value {
            serde_json::Value::Object(members) => {
                members.iter().map(|(name, value)| element(name, value)).collect()
            }
            serde_json::Value::Array(items) => {
                return items.iter().map(|item| element(name, item)).collect();
            }
            serde_json::Value::String(text) => text.replace('&', "&amp;"),
            other => other.to_string(),
        };
        format!("<{name}>{inner}</{name}>")
    }
    let value = serde_json::from_str(json).unwrap();
    element("DescribeVerifyResultResponse", &value)
}

criterion_group! {
    name = benches;
    // Short: the whole table in about two minutes; ratios, not the third digit, are of interest.
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = webhook, decode, judge, seal, sign_request
}
criterion_main!(benches);
