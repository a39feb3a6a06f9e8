//! A browser without JavaScript in which somebody is signed in to the console.

use reqwest::redirect::Policy;
use verdict::domain::ids::{Ids, SessionId, UserId};
use verdict::vault::token;

use super::TestApp;

/// A person at the console.
pub struct Browser {
    client: reqwest::Client,
    pub origin: String,
    cookie: String,
    form_token: String,
    pub user: UserId,
}

/// One answer.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
    pub bytes: Vec<u8>,
}

impl Page {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body").to_vec();
        Self { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }

    /// Where it leads.
    pub fn leads_to(&self) -> String {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers["location"].to_str().expect("text").to_owned()
    }

    pub fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

impl Browser {
    /// A new user of this name with these rights, signed in.
    pub async fn of(app: &TestApp, name: &str, language: &str, scopes: &[&str]) -> Self {
        let user: UserId = Ids::random().next(app.clock.now());
        let token = token::generate().expect("randomness");
        sqlx::query(
            "insert into users (id, name, language, time_zone, scopes, created_at)
             values ($1, $2, $3, 'Asia/Shanghai', $4, now())",
        )
        .bind(user.0)
        .bind(name)
        .bind(language)
        .bind(scopes)
        .execute(app.store.pool())
        .await
        .expect("a user");
        sqlx::query(
            "insert into user_sessions (digest, id, user_id, method, browser, created_at,
                 confirmed_at, seen_at, ends_at)
             values ($1, $2, $3, 'demo', 'test', verdict_now(), verdict_now(), verdict_now(),
                 verdict_now() + interval '8 hours')",
        )
        .bind(&token::digest(&token)[..])
        .bind(Ids::random().next::<SessionId>(app.clock.now()).0)
        .bind(user.0)
        .execute(app.store.pool())
        .await
        .expect("a session");
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(Policy::none());
        Self {
            client: client.build().expect("a client"),
            origin: format!("http://{}", app.console.expect("a console")),
            cookie: format!("__Host-verdict_session={}", *token),
            form_token: token::of_forms(&token),
            user,
        }
    }

    /// A page, or a picture in one.
    pub async fn get(&self, path: &str) -> Page {
        let dest = if path.contains("/images/") { "image" } else { "document" };
        self.get_for(path, dest).await
    }

    /// As a browser that fetches it for this destination.
    pub async fn get_for(&self, path: &str, dest: &str) -> Page {
        let request = self.client.get(format!("{}{path}", self.origin));
        let request = request.header("cookie", &self.cookie).header("sec-fetch-dest", dest);
        Page::read(request.send().await.expect("an answer")).await
    }

    /// As a form of a page posts it.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("form_token", self.form_token.as_str())];
        all.extend(fields);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        let request = self
            .client
            .post(format!("{}{path}", self.origin))
            .header("cookie", &self.cookie)
            .header("origin", &self.origin)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Page::read(request.send().await.expect("an answer")).await
    }

    /// Takes the next case; its address.
    pub async fn next_case(&self) -> String {
        let address = self.post("/cases/next", &[]).await.leads_to();
        assert!(address.starts_with("/assignments/"), "{address}");
        address
    }
}
