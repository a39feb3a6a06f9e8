//! A reviewer's day in the console, in a browser without JavaScript: the queue, the two faces, the
//! verdict, and what others see meanwhile.

use std::time::Duration;

use serde_json::json;

use verdict::domain::case::{Kind, Mix};
use verdict::domain::ids::{AssignmentId, Ids};
use verdict::http::api_key_auth::Scope;
use verdict::store::claim_cases::{Next, Reviewing};

use crate::harness::browser::{Browser, Page};
use crate::harness::{
    Options, Reply, TestApp, assert_no_person, eventually, make_key_of, run_verdict, vault_secret,
};

/// What a reviewer needs.
const REVIEWER: [&str; 3] = ["reviews:write", "images:read", "material:read"];

/// A service with a console, and the folder of its images.
async fn desk(more: &str) -> (tempfile::TempDir, TestApp) {
    let folder = tempfile::tempdir().unwrap();
    let images = format!("store = \"file://{}\"", folder.path().display());
    let more = format!(
        "[console]\nlisten = \"127.0.0.1:0\"\n[reviews]\ngolden_share = 0\nagain_share = 0\n{more}\n"
    );
    let app = TestApp::start_with(Options { more, images, ..Options::default() }).await;
    (folder, app)
}

/// A verification that a person has to decide, with its pictures; its id.
async fn waiting(app: &TestApp, biz_id: &str) -> String {
    let verification = app.verified(biz_id).await;
    assert_eq!(verification["decision"]["outcome"], "review", "{verification}");
    let id = verification["id"].as_str().unwrap().to_owned();
    eventually("its pictures are stored", || async {
        let reply = app.get(&format!("/v1/verifications/{id}/images")).await;
        let items = reply.json["items"].as_array().unwrap().clone();
        items
            .iter()
            .all(|item| item["state"] == "archived")
            .then_some(())
            .filter(|()| !items.is_empty())
    })
    .await;
    id
}

/// Nothing inline, nothing of another host, few requests.
fn assert_frugal(page: &Page) {
    let text = &page.text;
    assert!(text.len() < 30_000, "{} bytes", text.len());
    for foreign in
        [" style=", " onclick", "<style", "javascript:", "http://", "https://", "<script>"]
    {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    let requests = text.matches("<script src").count()
        + text.matches("<link rel=\"stylesheet\"").count()
        + text.matches("<link rel=\"icon\"").count()
        + text.matches("<img").count();
    assert!(requests < 6, "{requests} requests beside the page's own");
    assert_eq!(page.headers["cache-control"], "no-store");
}

async fn purposes_of(app: &TestApp, action: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select coalesce(purpose, '') from audit where action = $1 order by position",
    )
    .bind(action)
    .fetch_all(app.store.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn first_step_shows_two_faces_and_nothing_else() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let id = waiting(&app, "pass-88").await;
    let queue = anna.get("/cases").await;
    assert!(queue.has("1 waiting") && queue.has("test"), "{}", queue.text);
    assert_frugal(&queue);
    let address = anna.next_case().await;
    let first = anna.get(&address).await;
    assert_eq!(first.status, 200);
    assert_frugal(&first);
    let decision = app.decisions(&id).await.remove(0);
    let known = [
        id.as_str(),
        decision["id"].as_str().unwrap(),
        decision["reasons"][0].as_str().unwrap(),
        "pass-88",
        "score",
        ">test<",
        "2026-11-23T09:30",
    ];
    let source = first.text.replace(&address, "");
    for word in known {
        assert!(!source.contains(word), "{word} in {}", first.text);
    }
    assert_no_person("the first step", &first.text, &[]);
    assert!(first.has("anna · 2026-11-23 17:30:00"), "viewer and time over the pictures");

    // Each picture is on record, with the purpose of the server.
    for side in ["live", "reference"] {
        let picture = anna.get(&format!("{address}/images/{side}")).await;
        assert_eq!(picture.status, 200, "{}", picture.text);
        assert_eq!(picture.headers["cache-control"], "no-store");
        assert!(picture.headers.get("etag").is_none(), "would tell one kind of case from another");
        let media_type = picture.headers["content-type"].to_str().unwrap();
        assert!(media_type.starts_with("image/") && !picture.bytes.is_empty(), "{media_type}");
    }
    let purposes = purposes_of(&app, "image.read").await;
    let expected = format!("review of case {}", address.trim_start_matches("/assignments/"));
    assert_eq!(purposes, [expected.clone(), expected]);
    // Of the card only the place of the portrait is shown; the whole card is not to be had yet.
    assert!(first.has("<figure class=\"face portrait\">"), "{}", first.text);
    for card in ["card-front", "card-back", "card-front?purpose=decide-case"] {
        assert_eq!(anna.get(&format!("{address}/images/{card}")).await.status, 404, "{card}");
    }

    // Its address leads to the card only within a page: not in a tab, and not as a download.
    for dest in ["document", "empty", ""] {
        let alone = anna.get_for(&format!("{address}/images/reference"), dest).await;
        assert_eq!((alone.status, alone.has("There is no such page")), (404, true), "{dest}");
    }
    assert_eq!(anna.get_for(&format!("{address}/images/live"), "document").await.status, 200);
    assert_eq!(purposes_of(&app, "image.read").await.len(), 3, "only what was served");

    // Somebody else has no part in it.
    let bo = Browser::of(&app, "bo", "en", &REVIEWER).await;
    for path in [address.clone(), format!("{address}/images/live")] {
        assert_eq!(bo.get(&path).await.status, 404);
    }
    let queue = bo.get("/cases").await;
    assert!(queue.has("anna") && queue.has(">since "), "{}", queue.text);
    let queue = bo.get("/cases?held=free").await;
    assert!(queue.has("No case fits these filters."), "{}", queue.text);
    let empty = bo.post("/cases/next", &[]).await.leads_to();
    assert_eq!(empty, "/cases?said=none");
    assert!(bo.get(&empty).await.has("There is no case for you now"));
}

#[tokio::test]
async fn verdict_needs_a_listed_reason_and_keeps_what_was_typed() {
    let (_folder, app) = desk("undo_seconds = 0").await;
    let wang = Browser::of(&app, "王芳", "zh", &REVIEWER).await;
    let id = waiting(&app, "pass-88").await;
    let address = wang.next_case().await;
    let verdict = format!("{address}/verdict");
    let early = wang.post(&verdict, &[("outcome", "approve"), ("reason", "faces-match")]).await;
    assert_eq!(early.leads_to(), address, "the faces come first");
    assert!(wang.get(&address).await.has("两张照片是同一人吗"));
    assert_eq!(wang.post(&format!("{address}/judge"), &[("judgement", "6")]).await.status, 422);
    let judged = wang.post(&format!("{address}/judge"), &[("judgement", "2")]).await;
    assert_eq!(judged.leads_to(), address);
    let second = wang.get(&address).await;
    assert!(second.has("您的判断：可能是同一人") && second.has("lowest_score"), "{}", second.text);
    assert!(second.has("人脸一致") && second.has("lowest_score 88 "), "{}", second.text);
    assert_frugal(&second);
    assert_no_person("the second step", &second.text, &[]);
    let note = "第一行\r\n</textarea><script>alert(1)</script>";
    for (outcome, reason) in [("approve", ""), ("approve", "different-person"), ("", "faces-match")]
    {
        let fields = [("outcome", outcome), ("reason", reason), ("note", note)];
        let refused = wang.post(&verdict, &fields).await;
        assert_eq!(refused.status, 422, "{outcome} {reason}");
        assert!(refused.has("第一行\n&#60;/textarea&#62;"), "{}", refused.text);
        assert!(!refused.has("<script>alert"));
    }
    let long = "字".repeat(2_001);
    let fields = [("outcome", "approve"), ("reason", "faces-match"), ("note", long.as_str())];
    assert_eq!(wang.post(&verdict, &fields).await.status, 422);
    let fields = [("outcome", "approve"), ("reason", "faces-match"), ("note", note)];
    assert_eq!(wang.post(&verdict, &fields).await.leads_to(), address);
    let decided = eventually("it is decided", || async {
        let verification = app.get(&format!("/v1/verifications/{id}")).await.json;
        (verification["decision"]["by"] == "person").then_some(verification)
    })
    .await;
    assert_eq!(decided["decision"]["outcome"], "approve");
    assert_eq!(decided["decision"]["reasons"], json!(["faces-match"]));
    let ended = wang.get(&address).await;
    assert!(ended.has("您的结论已生效"), "{}", ended.text);
    // Nothing of it is kept in reach.
    assert_eq!(wang.get(&format!("{address}/images/live")).await.status, 404);
    assert_eq!(wang.post(&verdict, &fields).await.leads_to(), address);
    let reviews: i64 = sqlx::query_scalar("select count(*) from reviews")
        .fetch_one(app.store.pool())
        .await
        .unwrap();
    assert_eq!(reviews, 1, "a form that is sent twice decides once");
}

#[tokio::test]
async fn verdict_can_be_undone_from_every_page() {
    let (_folder, app) = desk("undo_seconds = 60").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    waiting(&app, "pass-88").await;
    app.clock.advance(Duration::from_secs(1));
    waiting(&app, "pass-89").await;
    let first = anna.next_case().await;
    anna.post(&format!("{first}/judge"), &[("judgement", "5")]).await;
    let fields = [("outcome", "reject"), ("reason", "different-person"), ("then", "next")];
    let second = anna.post(&format!("{first}/verdict"), &fields).await.leads_to();
    assert_ne!(second, first, "the next case comes at once");
    for page in [second.as_str(), "/cases", "/sessions", "/verifications", "/no-such-page"] {
        let page = anna.get(page).await;
        assert!(page.has("Your verdict: Reject.") && page.has(&format!("{first}/undo")));
    }
    assert_eq!(anna.post(&format!("{first}/undo"), &[]).await.leads_to(), first);
    let page = anna.get(&first).await;
    assert!(page.has("You judged: Certainly different") && !page.has("/undo"), "{}", page.text);
    assert!(anna.get(&second).await.has("You gave it back."));
    let late = anna.post(&format!("{first}/undo"), &[]).await.leads_to();
    assert!(anna.get(&late).await.has("Too late to undo"));
}

#[tokio::test]
async fn personal_data_is_shown_for_a_purpose_on_record_and_hides_itself() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    waiting(&app, "pass-88").await;
    let address = anna.next_case().await;
    let reveal = format!("{address}/reveal");
    // Not before the faces are judged.
    assert_eq!(anna.post(&reveal, &[("purpose", "decide-case")]).await.leads_to(), address);
    anna.post(&format!("{address}/judge"), &[("judgement", "3")]).await;
    for purpose in ["", "curiosity"] {
        let refused = anna.post(&reveal, &[("purpose", purpose), ("note", "typed")]).await;
        assert_eq!(refused.status, 422);
        assert!(refused.has(">typed</textarea>"), "{}", refused.text);
        assert_no_person("a refused reveal", &refused.text, &[]);
    }
    assert!(purposes_of(&app, "material.read").await.is_empty());
    let fields = [("purpose", "decide-case"), ("note", "typed"), ("outcome", "reject")];
    let shown = anna.post(&reveal, &fields).await;
    assert_eq!((shown.status, shown.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
    assert!(shown.has("测试") && shown.has(">typed</textarea>"), "{}", shown.text);
    assert!(shown.has("data-hide-after=\"60000\""));
    assert!(shown.has(&format!("<meta http-equiv=\"refresh\" content=\"60; url={address}\">")));
    assert_frugal(&shown);
    assert_eq!(purposes_of(&app, "material.read").await, ["decide-case"]);
    // With them the whole card, in place of its portrait.
    let card = format!("{address}/images/card-front");
    assert!(shown.has(&format!("src=\"{card}?purpose=decide-case\"")) && !shown.has("portrait\""));
    for wrong in [card.clone(), format!("{card}?purpose=curiosity")] {
        assert_eq!(anna.get(&wrong).await.status, 400, "{wrong}");
    }
    assert!(purposes_of(&app, "image.read").await.is_empty());
    assert_eq!(anna.get(&format!("{card}?purpose=decide-case")).await.status, 200);
    assert_eq!(purposes_of(&app, "image.read").await, ["decide-case"]);
    assert_no_person("the page after it", &anna.get(&address).await.text, &[]);
    // The right is needed.
    let cy = Browser::of(&app, "cy", "en", &["reviews:write", "images:read"]).await;
    waiting(&app, "pass-87").await;
    let address = cy.next_case().await;
    cy.post(&format!("{address}/judge"), &[("judgement", "1")]).await;
    assert!(!cy.get(&address).await.has("name=\"purpose\""));
    assert_eq!(cy.post(&format!("{address}/reveal"), &fields).await.status, 403);
    assert_eq!(purposes_of(&app, "material.read").await.len(), 1);
}

/// The picture becomes one of a phone, which browsers do not show.
async fn taken_by_a_phone(app: &TestApp, kind: &str) {
    sqlx::query("update images set content_type = 'image/heic' where kind = $1")
        .bind(kind)
        .execute(app.store.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn card_that_no_browser_shows_is_a_download_only_once_it_is_revealed() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    waiting(&app, "pass-88").await;
    taken_by_a_phone(&app, "card-front").await;
    let address = anna.next_case().await;
    let (card, reference) =
        (format!("{address}/images/card-front"), format!("{address}/images/reference"));
    for step in ["the first step", "the second one"] {
        let page = anna.get(&address).await;
        assert!(page.has("cannot show the card in part"), "{step}: {}", page.text);
        assert!(!page.has(&reference) && !page.has(&card) && !page.has("download>"), "{step}");
        assert_eq!(anna.get(&reference).await.status, 404, "{step}");
        anna.post(&format!("{address}/judge"), &[("judgement", "3")]).await;
    }
    let purpose = [("purpose", "decide-case")];
    let revealed = anna.post(&format!("{address}/reveal"), &purpose).await;
    let download = format!("<a href=\"{card}?purpose=decide-case\" download>");
    assert!(revealed.has(&download), "{}", revealed.text);
    assert!(purposes_of(&app, "image.read").await.is_empty(), "nothing was served before");
    let file = anna.get_for(&format!("{card}?purpose=decide-case"), "empty").await;
    assert_eq!((file.status, file.headers["content-type"].to_str().unwrap()), (200, "image/heic"));
    // A live face in such a format is a download at once: nothing is printed on it.
    taken_by_a_phone(&app, "face").await;
    anna.post(&format!("{address}/release"), &[]).await;
    let address = anna.next_case().await;
    assert!(anna.get(&address).await.has(&format!("<a href=\"{address}/images/live\" download>")));
}

#[tokio::test]
async fn verdict_on_a_case_that_was_decided_meanwhile_offers_no_undo() {
    let (_folder, app) = desk("undo_seconds = 60").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let id = waiting(&app, "pass-88").await;
    let address = anna.next_case().await;
    anna.post(&format!("{address}/judge"), &[("judgement", "5")]).await;
    let fields = [("outcome", "approve"), ("reason", "faces-match")];
    assert_eq!(anna.post(&format!("{address}/verdict"), &fields).await.leads_to(), address);
    assert!(anna.get("/cases").await.has("Your verdict: Approve."));
    assert!(anna.get(&address).await.has("It takes effect at"));
    let key = make_key_of(&app.store, "bo", &[Scope::ReviewsWrite]).await;
    let url = format!("http://{}/v1/verifications/{id}/reviews", app.http);
    let body = json!({ "outcome": "reject", "reason": "by-api" }).to_string();
    let request = app.client.post(url).bearer_auth(key).header("content-type", "application/json");
    assert_eq!(Reply::read(request.body(body).send().await.unwrap()).await.status, 201);
    for page in ["/cases", "/sessions", address.as_str()] {
        let page = anna.get(page).await;
        assert!(!page.has("Your verdict: Approve") && !page.has("/undo\""), "{}", page.text);
    }
    let page = anna.get(&address).await;
    assert!(page.has("Your verdict was not taken") && !page.has("takes effect"), "{}", page.text);
    assert!(page.has("Current decision: Rejected, by bo"), "{}", page.text);
}

#[tokio::test]
async fn scores_are_shown_with_two_decimals_and_never_on_the_wrong_side() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    for (biz_id, shown, exact) in
        [("pass-88.361", "88.36", "88.361"), ("pass-89.996", "89.996", "")]
    {
        let id = waiting(&app, biz_id).await;
        let address = anna.next_case().await;
        anna.post(&format!("{address}/judge"), &[("judgement", "2")]).await;
        let page = anna.get(&address).await;
        let observed = format!("lowest_score {shown} &#60; 90");
        let title = format!(" title=\"lowest_score {exact} &#60; 90\"");
        let title = if exact.is_empty() { "" } else { title.as_str() };
        assert!(page.has(&format!("<code{title}>{observed}</code>")), "{}", page.text);
        // In the table of scores and among the evidence.
        let value = if exact.is_empty() { String::new() } else { format!(" title=\"{exact}\"") };
        assert!(page.has(&format!("<td class=\"number\"{value}>{shown}</td>")), "{}", page.text);
        assert!(page.has(&format!("<dd{value}>{shown}</dd>")), "{}", page.text);
        // The API keeps all of it.
        let decision = app.decisions(&id).await.remove(0).to_string();
        assert!(decision.contains(if exact.is_empty() { shown } else { exact }), "{decision}");
        anna.post(&format!("{address}/skip"), &[]).await;
    }
}

#[tokio::test]
async fn second_eyes_see_nothing_of_the_first() {
    let (_folder, app) = desk("undo_seconds = 0\nfour_eyes = \"all\"").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let bo = Browser::of(&app, "bo", "en", &REVIEWER).await;
    let id = waiting(&app, "pass-88").await;
    let first = anna.next_case().await;
    anna.post(&format!("{first}/judge"), &[("judgement", "5")]).await;
    assert!(anna.get(&first).await.has("needs a second person"));
    let fields = [("outcome", "reject"), ("reason", "different-person"), ("note", "looks forged")];
    anna.post(&format!("{first}/verdict"), &fields).await;
    eventually("the first review is written", || async {
        anna.get(&first).await.has("A second person has to agree").then_some(())
    })
    .await;
    // The first person does not get it again.
    assert_eq!(anna.post("/cases/next", &[]).await.leads_to(), "/cases?said=none");
    assert!(bo.get("/cases?held=second").await.has("class=\"tag accent\""));
    let second = bo.next_case().await;
    bo.post(&format!("{second}/judge"), &[("judgement", "4")]).await;
    let page = bo.get(&second).await;
    for told in ["anna", "looks forged", "Certainly different", "verification.review", "user:"] {
        assert!(!page.has(told), "{told} in {}", page.text);
    }
    bo.post(&format!("{second}/verdict"), &fields).await;
    eventually("it is decided", || async {
        let verification = app.get(&format!("/v1/verifications/{id}")).await.json;
        (verification["decision"]["outcome"] == "reject").then_some(())
    })
    .await;
}

#[tokio::test]
async fn lost_claim_says_what_happened_and_takes_nothing() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let id = waiting(&app, "pass-88").await;
    let address = anna.next_case().await;
    anna.post(&format!("{address}/judge"), &[("judgement", "2")]).await;
    assert_eq!(anna.post(&format!("{address}/renew"), &[]).await.leads_to(), address);
    let key = make_key_of(&app.store, "bo", &[Scope::ReviewsWrite]).await;
    let url = format!("http://{}/v1/verifications/{id}/reviews", app.http);
    let body = json!({ "outcome": "reject", "reason": "by-api" }).to_string();
    let request = app.client.post(url).bearer_auth(key).header("content-type", "application/json");
    assert_eq!(Reply::read(request.body(body).send().await.unwrap()).await.status, 201);
    let renewed = anna.post(&format!("{address}/renew"), &[]).await;
    assert_eq!(renewed.status, 412);
    assert!(renewed.has("Current decision: Rejected, by bo"), "{}", renewed.text);
    let fields = [("outcome", "approve"), ("reason", "faces-match")];
    anna.post(&format!("{address}/verdict"), &fields).await;
    let page = anna.get(&address).await;
    assert!(page.has("Current decision: Rejected, by bo"), "{}", page.text);
    let verification = app.get(&format!("/v1/verifications/{id}")).await.json;
    assert_eq!(verification["decision"]["outcome"], "reject");
    // What was not in anybody's hands answers like what is not there.
    let unknown: AssignmentId = Ids::random().next(app.clock.now());
    assert_eq!(anna.post(&format!("/assignments/{unknown}/renew"), &[]).await.status, 404);
}

#[tokio::test]
async fn skipped_released_and_escalated_cases_go_to_others() {
    let (_folder, app) = desk("").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let bo = Browser::of(&app, "bo", "en", &REVIEWER).await;
    waiting(&app, "pass-88").await;
    let address = anna.next_case().await;
    let done = anna.post(&format!("{address}/release"), &[]).await.leads_to();
    assert!(anna.get(&done).await.has("Given back to the queue."));
    let address = anna.next_case().await;
    let done = anna.post(&format!("{address}/skip"), &[]).await.leads_to();
    assert!(anna.get(&done).await.has("half an hour"));
    let none = anna.post("/cases/next", &[]).await.leads_to();
    assert!(anna.get(&none).await.has("you skipped 1 a short while ago"));
    let address = bo.next_case().await;
    let escalate = format!("{address}/escalate");
    assert_eq!(bo.post(&escalate, &[("reason", "faces-match")]).await.status, 422);
    let done = bo.post(&escalate, &[("reason", "needs-expert")]).await.leads_to();
    assert!(bo.get(&done).await.has("Another reviewer gets it."));
    let cy = Browser::of(&app, "cy", "zh", &REVIEWER).await;
    let queue = cy.get("/cases?held=escalated").await;
    assert!(queue.has("已升级：无法判断，请他人复核"), "{}", queue.text);
    cy.next_case().await;
    // A late click changes nothing.
    assert_eq!(
        bo.post(&escalate, &[("reason", "needs-expert")]).await.leads_to(),
        "/cases?said=lost"
    );
}

#[tokio::test]
async fn desk_needs_the_right_to_review() {
    let (_folder, app) = desk("").await;
    waiting(&app, "pass-88").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let address = anna.next_case().await;
    let other = Browser::of(&app, "di", "en", &["decisions:read", "images:read"]).await;
    for path in ["/cases", &address, &format!("{address}/images/live")] {
        assert_eq!(other.get(path).await.status, 403, "{path}");
    }
    for action in ["judge", "verdict", "undo", "renew", "skip", "release", "escalate", "reveal"] {
        let fields = [("judgement", "1"), ("reason", "needs-expert"), ("outcome", "approve")];
        let refused = other.post(&format!("{address}/{action}"), &fields).await;
        assert_eq!(refused.status, 403, "{action}");
    }
    assert_eq!(other.post("/cases/next", &[]).await.status, 403);
    // Without the right to see pictures there are none.
    let blind = Browser::of(&app, "ed", "en", &["reviews:write"]).await;
    waiting(&app, "pass-87").await;
    let address = blind.next_case().await;
    assert!(blind.get(&address).await.has("You may not see pictures"));
    assert_eq!(blind.get(&format!("{address}/images/live")).await.status, 403);
    assert!(purposes_of(&app, "image.read").await.is_empty());
}

/// Adds a golden pair of one person.
async fn golden_pair(app: &TestApp) {
    let face = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/cloudauth-sandbox/src/pictures/face-global.png"
    );
    let key = format!("test:{}", vault_secret("test"));
    let environment =
        [("VERDICT__DATABASE__URL", app.database.url.as_str()), ("VERDICT__VAULT__KEYS", &key)];
    let arguments = ["golden", "add", "--live", face, "--reference", face, "--same"];
    let (code, _, error) = run_verdict(&arguments, &environment).await;
    assert_eq!(code, 0, "{error}");
}

#[tokio::test]
async fn golden_pair_looks_like_a_case_until_it_is_judged() {
    let (_folder, app) = desk("").await;
    golden_pair(&app).await;
    waiting(&app, "pass-88").await;
    let anna = Browser::of(&app, "anna", "en", &REVIEWER).await;
    let of_case = anna.next_case().await;
    let of = async |address: &str| {
        let page = anna.get(address).await;
        let picture = anna.get(&format!("{address}/images/live")).await;
        let mut names: Vec<String> =
            picture.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        (page.text.replace(address, "HERE"), picture.status, names)
    };
    let case = of(&of_case).await;
    anna.post(&format!("{of_case}/release"), &[]).await;
    let mix = Mix { kind: Kind::Golden, place: 0.0 };
    let who = Reviewing { user: anna.user, person: "anna", scenes: None };
    let (id, now) = (Ids::random().next(app.clock.now()), app.clock.now());
    let lease = Duration::from_mins(10);
    let claimed = app.store.assignments().next(&who, mix, lease, id, now).await.unwrap();
    assert_eq!(claimed, Next::Claimed(id));
    let address = format!("/assignments/{id}");
    assert_eq!(of(&address).await, case);
    // The look at its picture is on record as well, with the purpose of the server.
    assert_eq!(purposes_of(&app, "golden.read").await, [format!("review of case {id}")]);
    // The queue does not tell either: one's own case looks free.
    assert!(!anna.get("/cases").await.has("anna <span"), "the viewer's own");
    assert_eq!(anna.post(&format!("{address}/judge"), &[("judgement", "4")]).await.status, 303);
    let told = anna.get(&address).await;
    assert!(told.has("Wrong: The same person."), "{}", told.text);
    assert!(told.has("You judged: Probably different."));
    assert_frugal(&told);
    let chief = Browser::of(&app, "chief", "en", &["audit:read"]).await;
    let figures = chief.get("/reviewers?days=7").await;
    assert!(figures.has("anna") && figures.has("100.0 %") && figures.has("1 of 1"));
    assert_frugal(&figures);
    assert_eq!(anna.get("/reviewers").await.status, 403);
}
