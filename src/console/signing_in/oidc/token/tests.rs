//! Tokens that hold, and each way not to.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{Expected, Invalid, claims};

const NOW: i64 = 1_800_000_000;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap()
}

fn expected<'a>() -> Expected<'a> {
    Expected {
        issuer: "https://id.example",
        client_id: "verdict",
        nonce: "n-1",
        now: now(),
        proved_since: None,
    }
}

fn good() -> Value {
    json!({ "iss": "https://id.example", "sub": "anna", "aud": "verdict", "nonce": "n-1",
        "iat": NOW - 5, "exp": NOW + 300 })
}

fn with(changes: &Value) -> Value {
    let mut claims = good();
    let claims_of = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims_of.remove(name),
            value => claims_of.insert(name.clone(), value.clone()),
        };
    }
    claims
}

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn key(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256",
            "x": text(&point[1..33]), "y": text(&point[33..]) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn keys(keys: &[Value]) -> JwkSet {
    serde_json::from_value(json!({ "keys": keys })).unwrap()
}

#[test]
fn token_holds_only_as_it_is_expected() {
    let signer = Signer::new();
    let keys = keys(&[signer.key("one")]);
    let header = json!({ "alg": "ES256", "kid": "one" });
    let said = |changes: &Value| claims(&signer.sign(&header, &with(changes)), &keys, &expected());
    assert_eq!(said(&json!({})).unwrap().sub, "anna");
    assert!(said(&json!({ "aud": ["verdict"] })).is_ok());
    assert!(said(&json!({ "aud": ["verdict", "other"], "azp": "verdict" })).is_ok());
    for (changes, why) in [
        (json!({ "iss": "https://evil.example" }), Invalid::Signature),
        (json!({ "iss": null }), Invalid::Signature),
        (json!({ "aud": "other" }), Invalid::Signature),
        (json!({ "aud": ["verdict", "other"] }), Invalid::OtherClient),
        (json!({ "azp": "other" }), Invalid::OtherClient),
        (json!({ "nonce": "n-2" }), Invalid::Nonce),
        (json!({ "nonce": null }), Invalid::Nonce),
        (json!({ "exp": NOW - 61 }), Invalid::Time),
        (json!({ "iat": NOW + 61 }), Invalid::Time),
        (json!({ "iat": NOW - 601 }), Invalid::Time),
        (json!({ "sub": "" }), Invalid::Malformed),
        (json!({ "sub": null }), Invalid::Signature),
    ] {
        assert_eq!(said(&changes).err(), Some(why), "{changes}");
    }
}

#[test]
fn token_of_another_key_or_without_signature_is_refused() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let known = keys(&[signer.key("one")]);
    let said = |token: &str, keys: &JwkSet| claims(token, keys, &expected()).err();
    let header = json!({ "alg": "ES256", "kid": "one" });
    assert_eq!(said(&stranger.sign(&header, &good()), &known), Some(Invalid::Signature));
    let new = json!({ "alg": "ES256", "kid": "two" });
    assert_eq!(said(&signer.sign(&new, &good()), &known), Some(Invalid::UnknownKey));
    // Without an id every key is tried.
    let both = keys(&[stranger.key("other"), signer.key("one")]);
    assert_eq!(said(&signer.sign(&json!({ "alg": "ES256" }), &good()), &both), None);
    // A key for encryption signs nothing.
    let mut for_encryption = signer.key("one");
    for_encryption["use"] = json!("enc");
    assert_eq!(
        said(&signer.sign(&header, &good()), &keys(&[for_encryption])),
        Some(Invalid::UnknownKey)
    );
    let token = signer.sign(&header, &good());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    assert_eq!(said(&format!("{unsigned}."), &known), Some(Invalid::Signature));
    for algorithm in ["none", "HS256"] {
        let token = signer.sign(&json!({ "alg": algorithm, "kid": "one" }), &good());
        let why = said(&token, &known);
        assert!(matches!(why, Some(Invalid::Algorithm | Invalid::Malformed)), "{why:?}");
    }
    assert_eq!(said("nonsense", &known), Some(Invalid::Malformed));
}

#[test]
fn confirming_needs_a_proof_that_is_new() {
    let signer = Signer::new();
    let keys = keys(&[signer.key("one")]);
    let header = json!({ "alg": "ES256", "kid": "one" });
    let since = Expected { proved_since: Some(now() - Duration::seconds(30)), ..expected() };
    let said = |changes: &Value| claims(&signer.sign(&header, &with(changes)), &keys, &since).err();
    assert_eq!(said(&json!({ "auth_time": NOW - 10 })), None);
    assert_eq!(said(&json!({})), Some(Invalid::NotProved));
    assert_eq!(said(&json!({ "auth_time": NOW - 3_600 })), Some(Invalid::NotProved));
}
