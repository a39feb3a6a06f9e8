//! Answers of an identity provider that belong to another sign-in, another client, another person or
//! another time: none of them signs anybody in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::harness::{Options, TestApp, eventually};
use crate::signing_in::{Browser, Page, add, invitation};

/// A provider with one code at a time.
struct Provider {
    issuer: String,
    keys: [EcdsaKeyPair; 2],
    next: Mutex<Next>,
}

/// The token that it gives next, once.
#[derive(Default)]
struct Next {
    code: String,
    challenge: String,
    claims: Value,
    /// Of the two keys, of which only the first is published.
    key: usize,
}

impl Provider {
    async fn serve() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let issuer = format!("http://{address}");
        let provider =
            Arc::new(Self { issuer, keys: [key(), key()], next: Mutex::new(Next::default()) });
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(|State(of): State<Arc<Self>>| async move { of.describe() }),
            )
            .route("/keys", get(|State(of): State<Arc<Self>>| async move { of.published() }))
            .route(
                "/token",
                post(|State(of): State<Arc<Self>>, body: String| async move { of.token(&body) }),
            )
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, address)
    }

    fn describe(&self) -> Json<Value> {
        let issuer = &self.issuer;
        Json(json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys") }))
    }

    fn published(&self) -> Json<Value> {
        let point = self.keys[0].public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig",
            "alg": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]) }] }))
    }

    fn token(&self, body: &str) -> Response {
        let mut next = self.next.lock().unwrap();
        let typed = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(body.as_bytes());
            pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap()
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(typed("code_verifier")));
        if typed("code") != next.code || challenge != next.challenge {
            return (http::StatusCode::BAD_REQUEST, "invalid_grant").into_response();
        }
        next.code.clear();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "ES256", "kid": "one" });
        let signed = format!("{}.{}", part(&header), part(&next.claims));
        let random = SystemRandom::new();
        let signature = self.keys[next.key].sign(&random, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Json(json!({ "id_token": token, "token_type": "Bearer" })).into_response()
    }
}

/// A sign-in that a browser has begun.
struct Begun {
    cookie: String,
    state: String,
}

impl Begun {
    fn answer(&self) -> String {
        format!("code=one&state={}", self.state)
    }
}

struct Attack {
    app: TestApp,
    provider: Arc<Provider>,
}

impl Attack {
    async fn new() -> Self {
        let (provider, _) = Provider::serve().await;
        let more = format!(
            "[console]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://console.example\"
             [console.oidc]\nissuer = \"{}\"\nclient_id = \"verdict\"\nclient_secret = \"a secret\"",
            provider.issuer
        );
        Self { app: TestApp::start_with(Options { more, ..Options::default() }).await, provider }
    }

    /// All tries of a process share a rate: later ones wait for it.
    async fn get(&self, path: &str, cookies: &str) -> Page {
        eventually("the rate of tries allows another one", || async {
            let mut browser = Browser::at(&self.app);
            browser.cookie = Some(cookies.to_owned()).filter(|cookies| !cookies.is_empty());
            Some(browser.get(path).await).filter(|page| page.status != 429)
        })
        .await
    }

    /// To the provider, which has this person sign in there with these claims.
    async fn begins(&self, query: &str, cookies: &str, changes: &Value, key: usize) -> Begun {
        let page = self.get(&format!("/sign-in/oidc?{query}"), cookies).await;
        assert_eq!(page.status, 303, "{}", page.text);
        let address = url::Url::parse(&page.location).unwrap();
        assert!(page.location.starts_with(&self.provider.issuer), "{address}");
        let asked = |name: &str| {
            let mut pairs = address.query_pairs();
            pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned()).unwrap()
        };
        assert_eq!(asked("code_challenge_method"), "S256");
        let now = self.app.clock.now().unix_timestamp();
        let mut claims = json!({ "iss": self.provider.issuer, "sub": "anna", "aud": "verdict",
            "nonce": asked("nonce"), "iat": now, "exp": now + 300 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let challenge = asked("code_challenge");
        *self.provider.next.lock().unwrap() = Next { code: "one".into(), challenge, claims, key };
        let set = page.headers["set-cookie"].to_str().unwrap();
        for attribute in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
            assert!(set.contains(attribute), "{set}");
        }
        Begun { cookie: set.split(';').next().unwrap().to_owned(), state: asked("state") }
    }

    async fn returns(&self, cookies: &str, answer: &str) -> Page {
        self.get(&format!("/sign-in/oidc/return?{answer}"), cookies).await
    }

    async fn sessions(&self) -> i64 {
        let count = "select count(*) from user_sessions where ended_at is null";
        sqlx::query_scalar(count).fetch_one(self.app.store.pool()).await.unwrap()
    }

    /// Nobody was signed in by this answer, and it says why with this code.
    async fn assert_refused(&self, what: &str, page: &Page, code: &str, before: i64) {
        assert_eq!(page.code(), code, "{what}: {} {}", page.status, page.location);
        assert!((400..500).contains(&page.status), "{what}: {}", page.status);
        assert_eq!(self.sessions().await, before, "{what}: a session has begun");
    }
}

/// The cookie of the session that an answer begins.
fn session(page: &Page) -> String {
    assert_eq!(page.status, 303, "{}", page.text);
    let all = page.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap());
    let mut sessions = all.filter(|set| set.starts_with("__Host-verdict_session="));
    sessions.next().expect("a session").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn answer_that_belongs_elsewhere_signs_nobody_in() {
    let attack = Attack::new().await;
    let (none, app) = (json!({}), &attack.app);
    // Nobody is bound to the identity yet.
    let begun = attack.begins("", "", &none, 0).await;
    let page = attack.returns(&begun.cookie, &begun.answer()).await;
    attack.assert_refused("an identity that nobody invited", &page, "not-invited", 0).await;
    let user = add(&app.store, "anna", &[]).await;
    let link = invitation(&app.store, user).await;
    let query = format!("invitation={}", link.trim_start_matches("/invitations/"));
    let begun = attack.begins(&query, "", &none, 0).await;
    session(&attack.returns(&begun.cookie, &begun.answer()).await);
    assert_eq!(attack.get(&format!("/sign-in/oidc?{query}"), "").await.code(), "invitation-over");
    let begun = attack.begins("next=/sessions", "", &none, 0).await;
    let signed_in = attack.returns(&begun.cookie, &begun.answer()).await;
    assert_eq!(signed_in.location, "/sessions");
    let cookie = session(&signed_in);
    assert_eq!(attack.get("/sessions", &cookie).await.status, 200);

    let before = attack.sessions().await;
    let page = attack.returns(&begun.cookie, &begun.answer()).await;
    attack.assert_refused("a replayed return", &page, "identity-refused", before).await;
    let (now, hour) = (app.clock.now().unix_timestamp(), 3_600);
    for (what, changes, key) in [
        ("another nonce", json!({ "nonce": "x" }), 0),
        ("another issuer", json!({ "iss": "http://127.0.0.1:1" }), 0),
        ("another client", json!({ "aud": "other" }), 0),
        ("several clients", json!({ "aud": ["verdict", "other"], "azp": "other" }), 0),
        ("an expired token", json!({ "exp": now - hour, "iat": now - 2 * hour }), 0),
        ("a token of the future", json!({ "iat": now + hour, "exp": now + 2 * hour }), 0),
        ("an old token", json!({ "iat": now - hour }), 0),
        ("a token of an unpublished key", none.clone(), 1),
    ] {
        let begun = attack.begins("", "", &changes, key).await;
        let page = attack.returns(&begun.cookie, &begun.answer()).await;
        attack.assert_refused(what, &page, "identity-refused", before).await;
    }
    let others_issuer = "&iss=http%3A%2F%2F127.0.0.1%3A1";
    for what in [
        "no cookie",
        "another browser's cookie",
        "another sign-in's state",
        "no state",
        "no code",
        "a code that was not given",
        "another issuer",
        "a code for another browser",
    ] {
        let other = attack.begins("", "", &none, 0).await;
        // The provider's code is for this one.
        let begun = attack.begins("", "", &none, 0).await;
        let (mine, state) = (begun.cookie.as_str(), &begun.state);
        let (cookie, answer) = match what {
            "no cookie" => ("", begun.answer()),
            "another browser's cookie" => (other.cookie.as_str(), begun.answer()),
            "another sign-in's state" => (mine, other.answer()),
            "no state" => (mine, "code=one".to_owned()),
            "no code" => (mine, format!("state={state}")),
            "a code that was not given" => (mine, format!("code=two&state={state}")),
            "another issuer" => (mine, begun.answer() + others_issuer),
            _ => (other.cookie.as_str(), other.answer()),
        };
        let page = attack.returns(cookie, &answer).await;
        attack.assert_refused(what, &page, "identity-refused", before).await;
    }
    let begun = attack.begins("", "", &none, 0).await;
    app.clock.advance(Duration::from_mins(11));
    let now = app.clock.now().unix_timestamp();
    attack.provider.next.lock().unwrap().claims["iat"] = json!(now);
    attack.provider.next.lock().unwrap().claims["exp"] = json!(now + 300);
    let page = attack.returns(&begun.cookie, &begun.answer()).await;
    attack.assert_refused("a return after eleven minutes", &page, "identity-refused", before).await;
    sqlx::raw_sql("update users set disabled_at = now()").execute(app.store.pool()).await.unwrap();
    let begun = attack.begins("", "", &none, 0).await;
    let page = attack.returns(&begun.cookie, &begun.answer()).await;
    attack.assert_refused("a disabled user", &page, "not-invited", before).await;
}

#[tokio::test]
async fn only_a_new_proof_by_the_same_person_confirms() {
    let attack = Attack::new().await;
    let app = &attack.app;
    let mut cookies = Vec::new();
    for name in ["anna", "bo"] {
        let user = add(&app.store, name, &[]).await;
        let link = invitation(&app.store, user).await;
        let query = format!("invitation={}", link.trim_start_matches("/invitations/"));
        let begun = attack.begins(&query, "", &json!({ "sub": name }), 0).await;
        cookies.push(session(&attack.returns(&begun.cookie, &begun.answer()).await));
    }
    let late = "update user_sessions set confirmed_at = confirmed_at - interval '1 hour'";
    sqlx::raw_sql(late).execute(app.store.pool()).await.unwrap();
    let confirmed = async || -> i64 {
        let recent = "select count(*) from user_sessions
            where confirmed_at > verdict_now() - interval '10 minutes'";
        sqlx::query_scalar(recent).fetch_one(app.store.pool()).await.unwrap()
    };
    let (anna, now) = (cookies[0].as_str(), app.clock.now().unix_timestamp());
    for (what, changes, code) in [
        ("no time of the proof", json!({}), "identity-refused"),
        ("an old proof", json!({ "auth_time": now - 3_600 }), "identity-refused"),
        ("the proof of another person", json!({ "auth_time": now, "sub": "bo" }), "not-invited"),
        ("a stranger's proof", json!({ "auth_time": now, "sub": "cy" }), "not-invited"),
    ] {
        let begun = attack.begins("confirm=1", anna, &changes, 0).await;
        let both = format!("{anna}; {}", begun.cookie);
        let page = attack.returns(&both, &begun.answer()).await;
        attack.assert_refused(what, &page, code, 2).await;
        assert_eq!(confirmed().await, 0, "{what}");
    }
    let proof = json!({ "auth_time": now });
    let begun = attack.begins("confirm=1", anna, &proof, 0).await;
    let page = attack.returns(&begun.cookie, &begun.answer()).await;
    attack.assert_refused("a proof without a session", &page, "signed-out", 2).await;
    let begun = attack.begins("confirm=1&next=/sessions", anna, &proof, 0).await;
    let page = attack.returns(&format!("{anna}; {}", begun.cookie), &begun.answer()).await;
    assert_eq!((page.status, page.location.as_str()), (303, "/sessions"), "{}", page.text);
    assert_eq!(confirmed().await, 1);
}
