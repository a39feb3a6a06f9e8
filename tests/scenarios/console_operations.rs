//! The operators' pages of the console: verifications, persons, operations, audit.

use cloudauth_sandbox::scenario::{Behaviour, Scenario};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use uuid::Uuid;
use verdict::domain::ids::Ids;
use verdict::domain::scope::Scope;
use verdict::vault::token;

use crate::harness::{Options, Reply, TestApp, callback, eventually, make_key_of, now};

/// Somebody with a browser who is signed in.
struct Visitor {
    client: reqwest::Client,
    address: String,
    token: String,
}

impl Visitor {
    async fn of(app: &TestApp, scopes: &[Scope], scenes: Option<&[&str]>, language: &str) -> Self {
        let (user, token) =
            (Ids::random().next::<Uuid>(now()), token::generate().unwrap().to_string());
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let pool = app.database.pool().await;
        sqlx::query(
            "insert into users (id, name, language, time_zone, scopes, scenes, created_at)
             values ($1, $2, $3, 'Asia/Shanghai', $4, $5, now())",
        )
        .bind(user)
        .bind(format!("visitor-{user}"))
        .bind(language)
        .bind(scopes)
        .bind(scenes)
        .execute(&pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into user_sessions (digest, id, user_id, method, browser, created_at,
                 confirmed_at, seen_at, ends_at)
             values ($1, gen_random_uuid(), $2, 'password', 'test', verdict_now(), verdict_now(),
                 verdict_now(), verdict_now() + interval '8 hours')",
        )
        .bind(&token::digest(&token)[..])
        .bind(user)
        .execute(&pool)
        .await
        .unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .build();
        let address = format!("http://{}", app.console.expect("a console"));
        Self { client: client.unwrap(), address, token }
    }

    async fn operator(app: &TestApp) -> Self {
        Self::of(app, &Scope::ALL, None, "en").await
    }

    async fn get(&self, path: &str) -> Reply {
        let request = self.client.get(format!("{}{path}", self.address));
        Reply::read(request.header("cookie", self.cookie()).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form_token = token::of_forms(&self.token);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .append_pair("form_token", &form_token)
            .finish();
        let request = self
            .client
            .post(format!("{}{path}", self.address))
            .header("cookie", self.cookie())
            .header("origin", &self.address)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Reply::read(request.send().await.unwrap()).await
    }

    fn cookie(&self) -> String {
        format!("__Host-verdict_session={}", self.token)
    }
}

fn leads_to(reply: &Reply) -> &str {
    assert_eq!(reply.status, 303, "{}", reply.text);
    reply.headers[LOCATION].to_str().unwrap()
}

async fn app() -> TestApp {
    let more = "[console]\nlisten = \"127.0.0.1:0\"".to_owned();
    TestApp::start_with(Options { more, ..Options::default() }).await
}

#[tokio::test]
async fn each_page_of_operators_needs_its_right() {
    let app = app().await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let verification = format!("/verifications/{id}");
    let pages = [
        ("/verifications", Scope::DecisionsRead),
        (verification.as_str(), Scope::DecisionsRead),
        ("/persons", Scope::MaterialRead),
        ("/operations", Scope::OperationsRead),
        ("/operations/dead-letters", Scope::OperationsRead),
        ("/audit", Scope::AuditRead),
        ("/audit/export", Scope::AuditRead),
    ];
    for (page, right) in pages {
        let without: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != right).collect();
        let lacks = Visitor::of(&app, &without, None, "en").await;
        assert_eq!(lacks.get(page).await.status, 403, "{page}");
        let has = Visitor::of(&app, &[right], None, "zh").await;
        assert_eq!(has.get(page).await.status, 200, "{page}");
        let elsewhere = Visitor { token: token::generate().unwrap().to_string(), ..has };
        assert!(leads_to(&elsewhere.get(page).await).starts_with("/sign-in"), "{page}");
    }
    let why = [("purpose", "request 7"), ("sure", "yes"), ("number", "11010519491231002X")];
    let changes = [
        (format!("{verification}/refetch"), Scope::VerificationsWrite),
        (format!("{verification}/hold"), Scope::ErasuresWrite),
        (format!("{verification}/lift-hold"), Scope::ErasuresWrite),
        (format!("{verification}/erase"), Scope::ErasuresWrite),
        (format!("{verification}/reveal"), Scope::MaterialRead),
        ("/persons".to_owned(), Scope::MaterialRead),
        ("/persons/export".to_owned(), Scope::MaterialRead),
        ("/operations/dead-letters".to_owned(), Scope::VerificationsWrite),
        ("/audit/verify".to_owned(), Scope::AuditRead),
        (format!("/webhook-endpoints/{id}"), Scope::WebhooksWrite),
    ];
    for (change, right) in &changes {
        let without: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| scope != right).collect();
        let lacks = Visitor::of(&app, &without, None, "en").await;
        assert_eq!(lacks.post(change, &why).await.status, 403, "{change}");
    }
    // Nothing of another scene exists for somebody who is limited to scenes.
    let limited = Visitor::of(&app, &Scope::ALL, Some(&["elsewhere"]), "en").await;
    assert_eq!(limited.get(&verification).await.status, 404);
    for (change, _) in changes.iter().take(5) {
        assert_eq!(limited.post(change, &why).await.status, 404, "{change}");
    }
    assert!(!limited.get("/verifications").await.text.contains(&id));
    assert!(limited.get("/verifications?q=pass-97").await.text.contains("Nothing has this id"));
    let state = app.get(&format!("/v1/verifications/{id}")).await.json["state"].clone();
    assert_eq!(state, "decided");
}

#[tokio::test]
async fn verification_is_found_held_and_erased() {
    let app = app().await;
    let visitor = Visitor::operator(&app).await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let page = format!("/verifications/{id}");
    assert_eq!(leads_to(&visitor.get("/verifications?q=pass-97").await), page);
    assert_eq!(leads_to(&visitor.get(&format!("/verifications?q={id}")).await), page);
    let shown = visitor.get(&page).await;
    for text in ["Why it waits", "Closed: only a refetch", "Approved", "Callback accepted from app"]
    {
        assert!(shown.text.contains(text), "{text}: {}", shown.text);
    }
    let without_results = Visitor::of(&app, &[Scope::DecisionsRead], None, "en").await;
    let less = without_results.get(&page).await.text;
    assert!(less.contains("Approved") && !less.contains("Callback accepted from app"), "{less}");
    // Nothing of the person before it is asked for.
    let material = app
        .client
        .get(format!("http://{}/v1/verifications/{id}/material", app.http))
        .bearer_auth(&app.api_key)
        .header("verdict-purpose", "test");
    let material = Reply::read(material.send().await.unwrap()).await.json;
    let (name, number) = (material["name"].as_str().unwrap(), material["number"].as_str().unwrap());
    assert!(!shown.text.contains(name) && !shown.text.contains(number));
    for purpose in ["", "appeal 4711"] {
        let refused = visitor.post(&format!("{page}/reveal"), &[("purpose", purpose)]).await;
        assert_eq!(refused.status, 422, "{purpose} is not on the list");
        assert!(!refused.text.contains(name) && !refused.text.contains(number));
    }
    let request = [("purpose", "customer-request")];
    let revealed = visitor.post(&format!("{page}/reveal"), &request).await;
    assert!(revealed.text.contains(name) && revealed.text.contains(number), "{}", revealed.text);
    assert_eq!(revealed.headers["cache-control"], "no-store");

    let why = [("purpose", "court 7")];
    assert_eq!(visitor.post(&format!("{page}/hold"), &[("purpose", " ")]).await.status, 400);
    let held = visitor.post(&format!("{page}/hold"), &why).await;
    assert_eq!(leads_to(&held), format!("{page}?done=held"));
    assert!(visitor.get(&page).await.text.contains("On hold since"));
    assert!(visitor.get("/operations").await.text.contains("court 7"));
    let sure = [("purpose", "request 4711"), ("sure", "yes")];
    let refused = visitor.post(&format!("{page}/erase"), &sure).await;
    assert_eq!(leads_to(&refused), format!("{page}?done=on-hold"));
    let lifted = visitor.post(&format!("{page}/lift-hold"), &why).await;
    assert_eq!(leads_to(&lifted), format!("{page}?done=lifted"));

    let unsure = visitor.post(&format!("{page}/erase"), &[("purpose", "request 4711")]).await;
    assert_eq!(unsure.status, 422);
    // Signed in a while ago: the person has to prove again who it is.
    let pool = app.database.pool().await;
    let late = "update user_sessions set confirmed_at = confirmed_at - interval '1 hour'";
    sqlx::query(late).execute(&pool).await.unwrap();
    let unconfirmed = visitor.post(&format!("{page}/erase"), &sure).await;
    assert!(leads_to(&unconfirmed).starts_with("/confirm"), "{unconfirmed:?}");
    sqlx::query("update user_sessions set confirmed_at = verdict_now()")
        .execute(&pool)
        .await
        .unwrap();
    let erased = visitor.post(&format!("{page}/erase"), &sure).await;
    assert_eq!(leads_to(&erased), format!("{page}?done=erased"));
    let shown = visitor.get(&format!("{page}?done=erased")).await.text;
    assert!(shown.contains("Receipt of the erasure") && shown.contains("1 key, "), "{shown}");
    let actors: Vec<String> = sqlx::query_scalar(
        "select actor from audit where action in ('hold.place', 'hold.lift', 'verification.erase')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(actors.len(), 3);
    assert!(actors.iter().all(|actor| actor.contains(" person:visitor-")), "{actors:?}");
}

#[tokio::test]
async fn person_is_found_by_number_and_exported() {
    let app = app().await;
    let visitor = Visitor::operator(&app).await;
    for biz_id in ["pass-97-person-5-a", "pass-97-person-5-b", "pass-97-person-6"] {
        app.verified(biz_id).await;
    }
    let found = app.get("/v1/verifications?biz_type=test&biz_id=pass-97-person-5-a").await;
    let id = found.json["items"][0]["id"].as_str().unwrap().to_owned();
    let url = format!("http://{}/v1/verifications/{id}/material", app.http);
    let material = app.client.get(url).bearer_auth(&app.api_key).header("verdict-purpose", "test");
    let material = Reply::read(material.send().await.unwrap()).await.json;
    let number = material["number"].as_str().unwrap();

    let fields = [("number", number), ("purpose", "request 4711")];
    let shown = visitor.post("/persons", &fields).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains("2 verifications of this person"), "{}", shown.text);
    assert!(!shown.text.contains(number) && !shown.text.contains("person-6"));
    for (fields, says) in [
        ([("number", number), ("purpose", "")], "Give a purpose"),
        ([("number", "1101****"), ("purpose", "r")], "Type one whole identity number"),
        ([("number", "11010519491231002X"), ("purpose", "r")], "Nothing is kept of this person"),
    ] {
        let refused = visitor.post("/persons", &fields).await.text;
        assert!(refused.contains(says) && !refused.contains(number), "{says}: {refused}");
    }
    let exported =
        visitor.post("/persons/export", &[("id", &id), ("purpose", "request 4711")]).await;
    assert_eq!(exported.headers["content-disposition"], "attachment; filename=\"person.json\"");
    let held = &exported.json["verifications"][0];
    assert_eq!(held["results"][0]["person"]["number"], *number);
    assert_eq!(held["results"][0]["body"], serde_json::Value::Null);
    let pool = app.database.pool().await;
    let recorded: Vec<String> = sqlx::query_scalar(
        "select action from audit where purpose = 'request 4711' order by position",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(recorded, ["person.look-up", "person.export"]);
}

#[tokio::test]
async fn operations_are_shown_and_dead_letters_asked_about_again() {
    let app = app().await;
    let visitor = Visitor::operator(&app).await;
    for biz_id in ["dead-1", "dead-2"] {
        let refused = Behaviour::error("InvalidParam.InvalidBiz");
        app.provider.set_scenario(biz_id, Scenario::always(refused));
        assert_eq!(app.post(callback(biz_id, app.clock.now())).await.status, 202);
    }
    let pool = app.database.pool().await;
    let failed = async || -> i64 {
        let count = "select count(*) from verifications where state = 'failed'";
        sqlx::query_scalar(count).fetch_one(&pool).await.unwrap()
    };
    eventually("both are given up", || async { (failed().await == 2).then_some(()) }).await;
    let chinese = Visitor::of(&app, &Scope::ALL, None, "zh").await;
    for (visitor, title) in [(&visitor, "Operations"), (&chinese, "运行状况")] {
        let shown = visitor.get("/operations").await.text;
        for section in [
            "backlog",
            "provider",
            "dead-letters",
            "deliveries",
            "images",
            "keys",
            "processes",
            "checks",
        ] {
            assert!(shown.contains(&format!("id=\"{section}\"")), "{section}");
        }
        assert!(shown.contains(title) && !shown.contains("Could not be read"), "{shown}");
        assert!(shown.contains("VerdictDueWorkWaits"), "alerts lead here");
    }
    eventually("this process is listed", || async {
        visitor.get("/operations").await.text.contains(">here</span>").then_some(())
    })
    .await;

    let listed = visitor.get("/operations/dead-letters").await.text;
    assert!(listed.contains("dead-1") && listed.contains("dead-2"));
    let all = [("all", "yes"), ("state", "failed")];
    let asked = visitor.post("/operations/dead-letters", &all).await;
    assert!(asked.text.contains("2 verifications become due"), "{}", asked.text);
    assert_eq!(failed().await, 2, "nothing happens before the second page");
    let nothing = visitor.post("/operations/dead-letters", &[("sure", "yes")]).await;
    assert!(nothing.text.contains("Nothing was chosen"));
    let sure = [("all", "yes"), ("state", "failed"), ("sure", "yes"), ("purpose", "fixed")];
    let done = visitor.post("/operations/dead-letters", &sure).await;
    assert_eq!(leads_to(&done), "/operations/dead-letters?refetched=2");
    eventually("both are given up again", || async { (failed().await == 2).then_some(()) }).await;
    let recorded: i64 = sqlx::query_scalar(
        "select count(*) from audit where action = 'verification.refetch' and purpose = 'fixed'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(recorded, 2);
}

#[tokio::test]
async fn dead_letters_are_filtered_by_code_and_refetched_one_by_one() {
    let app = app().await;
    let visitor = Visitor::operator(&app).await;
    let faults = [
        ("dead-1", "InvalidParam.InvalidBiz"),
        ("dead-2", "InvalidParam.InvalidBiz"),
        ("dead-3", "InvalidParam.ParamMissing"),
    ];
    for (biz_id, code) in faults {
        app.provider.set_scenario(biz_id, Scenario::always(Behaviour::error(code)));
        assert_eq!(app.post(callback(biz_id, app.clock.now())).await.status, 202);
    }
    let pool = app.database.pool().await;
    let ids = async || -> Vec<(String, String)> {
        let ids = "select biz_id, id::text from verifications where state = 'failed' order by 1";
        sqlx::query_as(ids).fetch_all(&pool).await.unwrap()
    };
    eventually("all are given up", || async { (ids().await.len() == 3).then_some(()) }).await;
    let letters = ids().await;
    let path = "/operations/dead-letters";
    let by_code = visitor.get(&format!("{path}?code=InvalidParam.ParamMissing")).await.text;
    assert!(by_code.contains(">dead-3<") && !by_code.contains(">dead-1<"), "{by_code}");
    assert!(by_code.contains("?code=InvalidParam.InvalidBiz"), "the other code can be chosen");

    // Each way asks once more, and says how many it will be.
    let (one, two) = (letters[0].1.as_str(), letters[1].1.as_str());
    let refetched = async || -> i64 {
        let count = "select count(*) from audit where action = 'verification.refetch'";
        sqlx::query_scalar(count).fetch_one(&pool).await.unwrap()
    };
    let all_of_code = [("all", "yes"), ("code", "InvalidParam.ParamMissing")];
    for (fields, count) in
        [(&[("one", one)][..], 1), (&[("id", one), ("id", two)][..], 2), (&all_of_code[..], 1)]
    {
        let before = refetched().await;
        let asked = visitor.post(path, fields).await;
        assert!(asked.text.contains(&format!("{count} verification")), "{}", asked.text);
        assert_eq!(refetched().await, before, "nothing happens before the second page");
        let sure: Vec<_> = fields.iter().copied().chain([("sure", "yes")]).collect();
        let done = visitor.post(path, &sure).await;
        assert!(leads_to(&done).contains(&format!("refetched={count}")), "{}", leads_to(&done));
        assert_eq!(refetched().await, before + count);
        eventually("all are given up again", || async { (ids().await.len() == 3).then_some(()) })
            .await;
    }
}

#[tokio::test]
async fn pictures_of_a_verification_are_shown_for_a_listed_purpose_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let more = "[console]\nlisten = \"127.0.0.1:0\"".to_owned();
    let app = TestApp::start_with(Options { more, images, ..Options::default() }).await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let pool = app.database.pool().await;
    eventually("its pictures are stored", || async {
        let pending = "select count(*) filter (where state <> 'archived'), count(*) from images";
        let (pending, all): (i64, i64) = sqlx::query_as(pending).fetch_one(&pool).await.unwrap();
        (pending == 0 && all > 0).then_some(())
    })
    .await;
    let visitor = Visitor::operator(&app).await;
    let page = format!("/verifications/{id}");
    let source = format!("{page}/images/face");
    let purposes = async || -> Vec<String> {
        let read = "select purpose from audit where action = 'image.read' order by position";
        sqlx::query_scalar(read).fetch_all(&pool).await.unwrap()
    };
    assert!(!visitor.get(&page).await.text.contains("<img"), "no picture before a purpose");
    let reveal = format!("{page}/reveal");
    let shown =
        visitor.post(&reveal, &[("purpose", "fraud-investigation"), ("show", "images")]).await;
    // A page makes at most six requests: two pictures, and the rest on the next one.
    let has_pictures = |shown: &Reply, kinds: &[&str]| {
        for kind in kinds {
            let source = format!("src=\"{page}/images/{kind}?purpose=fraud-investigation\"");
            assert!(shown.text.contains(&source), "{source}: {}", shown.text);
        }
        assert_eq!(shown.text.matches("<img").count(), kinds.len());
    };
    has_pictures(&shown, &["face", "face-global"]);
    assert!(shown.text.contains("name=\"from\" value=\"2\""), "{}", shown.text);
    let further = [("purpose", "fraud-investigation"), ("show", "images"), ("from", "2")];
    let rest = visitor.post(&reveal, &further).await;
    has_pictures(&rest, &["card-front", "card-back"]);
    assert!(!rest.text.contains("name=\"from\"") && rest.text.contains("data-hide-after"));
    assert!(shown.text.contains("class=\"mark\"") && shown.text.contains("2026-11-23 17:30:00"));
    assert!(shown.text.contains("data-hide-after=\"60000\""), "{}", shown.text);
    assert!(purposes().await.is_empty(), "the page itself reads no picture");
    for (query, status) in [("", 400), ("?purpose=curiosity", 400)] {
        assert_eq!(visitor.get(&format!("{source}{query}")).await.status, status, "{query}");
    }
    let listed = format!("{source}?purpose=fraud-investigation");
    let picture = visitor.get(&listed).await;
    assert_eq!(
        (picture.status, &picture.headers["cache-control"]),
        (200, &"no-store".parse().unwrap())
    );
    assert!(picture.headers.get("etag").is_none());
    assert_eq!(purposes().await, ["fraud-investigation"]);
    // A link of another site puts nothing on record in the person's name.
    let foreign = visitor.client.get(format!("{}{listed}", visitor.address));
    let foreign = foreign.header("cookie", visitor.cookie()).header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    // A file that may be more than a picture is never put into a page.
    sqlx::query("update images set unusual = array['active-content'] where kind = 'face'")
        .execute(&pool)
        .await
        .unwrap();
    let shown = visitor.post(&reveal, &[("purpose", "customer-request"), ("show", "images")]).await;
    let download = format!("<a href=\"{page}/images/face?purpose=customer-request\" download>");
    assert!(shown.text.contains(&download), "{}", shown.text);
    assert!(!shown.text.contains(&format!("src=\"{source}?")));
    // Each needs its right.
    let right = Scope::ImagesRead;
    let without: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != right).collect();
    let lacks = Visitor::of(&app, &without, None, "en").await;
    let fields = [("purpose", "customer-request"), ("show", "images")];
    assert_eq!(lacks.post(&reveal, &fields).await.status, 403);
    assert_eq!(lacks.get(&listed).await.status, 403);
    assert!(!lacks.get(&page).await.text.contains("value=\"images\""));
    assert_eq!(purposes().await.len(), 1);
}

#[tokio::test]
async fn dead_letters_of_other_scenes_stay_as_they_are() {
    let app = app().await;
    let refused = Behaviour::error("InvalidParam.InvalidBiz");
    app.provider.set_scenario("dead-1", Scenario::always(refused));
    let id = app.verified("dead-1").await["id"].as_str().unwrap().to_owned();
    let limited = Visitor::of(&app, &Scope::ALL, Some(&["elsewhere"]), "en").await;
    let listed = limited.get("/operations/dead-letters").await.text;
    assert!(!listed.contains("dead-1") && !listed.contains(&id), "{listed}");
    let sure = [("sure", "yes"), ("state", "failed")];
    for chosen in [("all", "yes"), ("id", id.as_str()), ("one", id.as_str())] {
        let fields = [&sure[..], &[chosen]].concat();
        let answer = limited.post("/operations/dead-letters", &fields).await;
        assert!(answer.text.contains("Nothing was chosen"), "{chosen:?}: {answer:?}");
    }
    let verification = app.get(&format!("/v1/verifications/{id}")).await.json;
    assert_eq!(verification["state"], "failed");
}

#[tokio::test]
async fn refetch_of_a_persons_decision_needs_purpose_right_and_second_person() {
    let more = "[console]\nlisten = \"127.0.0.1:0\"\n[reviews]\nfour_eyes = \"all\"".to_owned();
    let app = TestApp::start_with(Options { more, ..Options::default() }).await;
    let id = app.verified("pass-88").await["id"].as_str().unwrap().to_owned();
    for person in ["bo", "cy"] {
        let key = make_key_of(&app.store, person, &[Scope::ReviewsWrite]).await;
        let url = format!("http://{}/v1/verifications/{id}/reviews", app.http);
        let body = r#"{ "outcome": "reject", "reason": "seen" }"#;
        let request = app.client.post(url).bearer_auth(key).body(body);
        let reply = request.header("content-type", "application/json").send().await.unwrap();
        assert!(reply.status().is_success());
    }
    let (refetch, why) = (format!("/verifications/{id}/refetch"), [("purpose", "appeal 7")]);
    let asked = app.provider.queries("pass-88");
    let refetched = || app.provider.queries("pass-88") > asked;
    let rights = [Scope::DecisionsRead, Scope::VerificationsWrite];
    let without = Visitor::of(&app, &rights, None, "en").await;
    assert_eq!(without.post(&refetch, &why).await.status, 403);
    let (first, second) = (Visitor::operator(&app).await, Visitor::operator(&app).await);
    assert_eq!(first.post(&refetch, &[("purpose", "")]).await.status, 400);
    for _ in 0..2 {
        let proposed = first.post(&refetch, &why).await;
        assert_eq!(leads_to(&proposed), format!("/verifications/{id}?done=proposed"));
    }
    let state = app.get(&format!("/v1/verifications/{id}")).await.json["state"].clone();
    assert!(state == "decided" && !refetched(), "one person alone has reopened it");
    let done = second.post(&refetch, &why).await;
    assert_eq!(leads_to(&done), format!("/verifications/{id}?done=refetched"));
    eventually("the provider is asked again", || async { refetched().then_some(()) }).await;
}

#[tokio::test]
async fn audit_is_listed_verified_and_exported() {
    let app = app().await;
    let visitor = Visitor::operator(&app).await;
    let id = app.verified("pass-97").await["id"].as_str().unwrap().to_owned();
    let page = format!("/verifications/{id}");
    visitor.post(&format!("{page}/hold"), &[("purpose", "court <7>")]).await;
    let listed = visitor.get("/audit?action=hold.").await.text;
    assert!(listed.contains("hold.place") && listed.contains("court &#60;7&#62;"), "{listed}");
    assert!(!listed.contains("policy.seed"));
    let day = now().date();
    for (query, finds) in [
        (format!("?subject={id}"), true),
        ("?actor=visitor-".to_owned(), true),
        ("?actor=nobody".to_owned(), false),
        (format!("?since={}", day - time::Duration::days(2)), true),
        (format!("?until={}", day - time::Duration::days(2)), false),
        ("?subject=nonsense".to_owned(), false),
        ("?before=1".to_owned(), false),
    ] {
        let listed = visitor.get(&format!("/audit{query}")).await;
        assert_eq!(listed.status, 200, "{query}");
        assert_eq!(listed.text.contains("hold.place"), finds, "{query}");
    }
    let whole = visitor.post("/audit/verify", &[]).await.text;
    assert!(whole.contains("The chain is whole."), "{whole}");
    let wrong = visitor.post("/audit/verify", &[("expect", "1:00")]).await.text;
    assert!(wrong.contains("That is no row"), "{wrong}");
    let other = format!("1:{}", "0".repeat(64));
    let broken = visitor.post("/audit/verify", &[("expect", &other)]).await.text;
    assert!(broken.contains("The chain is broken: the chain was written anew"), "{broken}");

    let exported = visitor.get("/audit/export").await;
    assert_eq!(exported.headers["content-disposition"], "attachment; filename=\"audit.jsonl\"");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &exported.text).unwrap();
    let verify = ["audit", "verify", "--file", file.path().to_str().unwrap()];
    let (code, _, error) = crate::harness::run_verdict(&verify, &[]).await;
    assert_eq!(code, 0, "{error}");
}
