//! The pages of policies: what decides where, adding, comparing, trying and activating.

use sqlx::PgPool;
use verdict::domain::scope::Scope;

use crate::harness::browser::Browser;
use crate::harness::{Options, TestApp, make_key_of};
use crate::policies::{DEFAULT, added, decided, milder, one, send};

const CONSOLE: &str = "[console]\nlisten = \"127.0.0.1:0\"";
const FOUR_EYES: &str = "[policies]\nfour_eyes = \"on\"\n[console]\nlisten = \"127.0.0.1:0\"";
const RIGHTS: &[&str] = &["policies:write", "decisions:read"];

async fn app(more: &str) -> TestApp {
    TestApp::start_with(Options { more: more.to_owned(), ..Options::default() }).await
}

async fn limit(app: &TestApp, browser: &Browser, scenes: &[&str]) {
    sqlx::query("update users set scenes = $2 where id = $1")
        .bind(browser.user.0)
        .bind(scenes)
        .execute(app.store.pool())
        .await
        .unwrap();
}

/// The hidden field of the page of a change.
fn seen(text: &str) -> String {
    let (_, rest) = text.split_once("name=\"seen\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

/// Reads the page of a change and sends its form; where that leads.
async fn change(browser: &Browser, query: &str, purpose: &str) -> String {
    let page = browser.get(&format!("/policies/change?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {}", page.text);
    let seen = seen(&page.text);
    let mut fields: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    fields.extend([("purpose", purpose), ("seen", &seen)]);
    browser.post("/policies/change", &fields).await.leads_to()
}

async fn actions(pool: &PgPool) -> Vec<(String, String, Option<String>)> {
    sqlx::query_as(
        "select action, actor, purpose from audit
         where (action like 'policy.%' or action like 'proposal.%') and actor like 'user:%'
         order by position",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn policy_is_activated_and_rolled_back_on_its_pages() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    assert_eq!(anna.get("/").await.leads_to(), "/policies");
    let digest = added(&app, &milder()).await;
    let page = anna.get(&format!("/policies/{digest}")).await;
    assert!(page.has("milder") && page.has("not in use") && page.has("It was never in use."));
    assert!(page.has("<li>[[rule]]") && page.has("&lt;") == milder().contains('<'));

    let activate = format!("do=activate&policy={digest}");
    let says = anna.get(&format!("/policies/change?{activate}")).await;
    assert!(says.has("In every scene without its own policy, milder (sha256:"), "{}", says.text);
    assert!(says.has("Until now default (sha256:") && says.has("Decisions already made stay"));
    assert!(!says.has("Another person"));
    assert_eq!(one(app.store.pool(), "select count(*) from policy_activations").await, 1);
    // A purpose is needed, and nothing else happens without one.
    let fields = [("do", "activate"), ("policy", &digest), ("seen", "1")];
    assert_eq!(anna.post("/policies/change", &fields).await.status, 400);

    assert_eq!(change(&anna, &activate, "CR <12>").await, "/policies?done=changed");
    decided(&app, "a", "75", "approve").await;
    let list = anna.get("/policies?done=changed").await;
    assert!(list.has("Every process follows within a second"));
    assert!(list.has("CR &#60;12&#62;") && list.has(" → <a href"), "{}", list.text);
    assert!(list.has("decides: Scenes without their own policy"));
    // The same again changes nothing, and there is no button for it.
    let again = anna.get(&format!("/policies/change?{activate}")).await;
    assert!(again.has("That is so already") && !again.has("name=\"purpose\""));

    // One scene gets its own policy, and loses it.
    let general = anna.get("/policies").await.text;
    let default = general.split("/policies/sha256:").find(|part| part.contains(">default<"));
    let default = format!("sha256:{}", &default.unwrap()[..64]);
    let own = format!("do=activate&policy={default}&scene=strict");
    let says = anna.get(&format!("/policies/change?{own}")).await;
    assert!(says.has("In the scene strict, default"), "{}", says.text);
    assert!(says.has("has decided there, the policy for scenes without their own"));
    assert_eq!(change(&anna, &own, "CR 13").await, "/policies?done=changed");
    decided(&app, "strict", "75", "review").await;
    let says = anna.get("/policies/change?do=deactivate&scene=strict").await;
    assert!(says.has("The scene strict loses its own policy: milder"));
    let says = anna.get("/policies/change?do=roll-back&scene=strict").await;
    assert!(says.has("The scene strict loses its own policy: milder"));
    assert_eq!(
        change(&anna, "do=deactivate&scene=strict", "CR 14").await,
        "/policies?done=changed"
    );
    decided(&app, "strict", "75", "approve").await;
    let strict = anna.get("/policies?scene=strict").await;
    assert!(strict.has("CR 13") && strict.has("CR 14") && !strict.has("CR &#60;12"));

    let says = anna.get("/policies/change?do=roll-back").await;
    assert!(says.has("In every scene without its own policy, default") && says.has("milder"));
    assert_eq!(change(&anna, "do=roll-back", "undo").await, "/policies?done=changed");
    decided(&app, "a", "75", "review").await;
    assert!(anna.get("/policies").await.has("Rolled back"));
    let used = anna.get(&format!("/policies/{digest}")).await;
    assert!(used.has("CR &#60;12&#62;") && !used.has("never in use"));
    let nothing = anna.get("/policies/change?do=promote").await;
    assert!(nothing.has("There is nothing that this could change"));
    let promote = [("do", "promote"), ("purpose", "x"), ("seen", &seen(&nothing.text))];
    assert_eq!(anna.post("/policies/change", &promote).await.status, 409);
    let done = actions(app.store.pool()).await;
    let names: Vec<&str> = done.iter().map(|(action, ..)| action.as_str()).collect();
    assert_eq!(names, ["policy.active", "policy.active", "policy.deactivate", "policy.rollback"]);
    let anna_is = format!("user:{} person:anna", anna.user);
    assert!(done.iter().all(|(_, actor, purpose)| *actor == anna_is && purpose.is_some()));
}

#[tokio::test]
async fn shadow_is_started_promoted_and_stopped_on_its_pages() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "zh", RIGHTS).await;
    let digest = added(&app, &milder()).await;
    let shadow = format!("do=shadow&policy={digest}");
    let says = anna.get(&format!("/policies/change?{shadow}&scene=a")).await;
    assert!(says.has("在场景 a 中，milder (sha256:"), "{}", says.text);
    assert_eq!(change(&anna, &shadow, "CR 1").await, "/policies?done=changed");
    assert!(anna.get("/policies").await.has("影子：没有专用策略的场景"));
    assert_eq!(change(&anna, "do=end-shadow", "CR 2").await, "/policies?done=changed");
    assert!(!anna.get("/policies").await.has("影子：没有专用策略的场景"));
    assert_eq!(change(&anna, &shadow, "CR 3").await, "/policies?done=changed");
    let says = anna.get("/policies/change?do=promote").await;
    assert!(says.has("milder") && says.has("停止影子运行"), "{}", says.text);
    assert_eq!(change(&anna, "do=promote", "CR 4").await, "/policies?done=changed");
    decided(&app, "a", "75", "approve").await;
}

#[tokio::test]
async fn change_is_made_only_as_it_was_read() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    let digest = added(&app, &milder()).await;
    let query = format!("/policies/change?do=activate&policy={digest}");
    let read = seen(&anna.get(&query).await.text);
    let elsewhere = format!("/v1/policies/{digest}/activate");
    assert_eq!(send(&app, "POST", &elsewhere, r#"{ "biz_type": "b" }"#).await.status, 204);
    let fields =
        [("do", "activate"), ("policy", digest.as_str()), ("purpose", "CR 5"), ("seen", &read)];
    let late = anna.post("/policies/change", &fields).await;
    assert_eq!(late.status, 409);
    assert!(late.has("The policies were changed meanwhile"), "{}", late.text);
    // The purpose is kept, and the page describes the change anew.
    assert!(late.has("value=\"CR 5\"") && late.has("keep their own policy: b"));
    assert_ne!(seen(&late.text), read);
    assert!(actions(app.store.pool()).await.is_empty());

    // Signed in long ago: the person proves again who it is, before the page and before the deed.
    sqlx::query("update user_sessions set confirmed_at = confirmed_at - interval '1 hour'")
        .execute(app.store.pool())
        .await
        .unwrap();
    assert!(anna.get(&query).await.leads_to().starts_with("/confirm?next=%2Fpolicies%2Fchange"));
    let newer = seen(&late.text);
    let fresh = [&fields[..3], &[("seen", newer.as_str())]].concat();
    let unproved = anna.post("/policies/change", &fresh).await;
    assert!(unproved.leads_to().starts_with("/confirm"));
    assert!(actions(app.store.pool()).await.is_empty());
}

#[tokio::test]
async fn pages_show_and_change_only_the_scenes_of_the_person() {
    let app = app(CONSOLE).await;
    let bea = Browser::of(&app, "bea", "en", RIGHTS).await;
    let (mine, other) =
        (added(&app, &milder()).await, added(&app, &format!("{DEFAULT}# 2\n")).await);
    for (digest, scene) in [(&mine, "mine"), (&other, "secret")] {
        let path = format!("/v1/policies/{digest}/activate");
        let body = format!(r#"{{ "biz_type": "{scene}" }}"#);
        assert_eq!(send(&app, "POST", &path, body).await.status, 204);
    }
    limit(&app, &bea, &["mine"]).await;
    let list = bea.get("/policies").await;
    assert!(list.has("decides: mine") && !list.has("secret") && !list.has(&other));
    // The policy of all scenes is shown and cannot be changed.
    assert!(list.has("Scenes without their own policy") && !list.has("do=roll-back\""));
    assert!(list.has("do=roll-back&#38;scene=mine"), "{}", list.text);
    assert!(!bea.get("/policies?scene=secret").await.has(&other));
    assert_eq!(bea.get(&format!("/policies/{other}")).await.status, 404);
    for query in
        ["do=roll-back", "do=roll-back&scene=secret", &format!("do=activate&policy={mine}")]
    {
        assert_eq!(bea.get(&format!("/policies/change?{query}")).await.status, 403, "{query}");
        let mut fields: Vec<(&str, &str)> =
            query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
        fields.extend([("purpose", "x"), ("seen", "3")]);
        assert_eq!(bea.post("/policies/change", &fields).await.status, 403, "{query}");
    }
    let unknown = format!("/policies/change?do=activate&policy={other}&scene=mine");
    assert_eq!(bea.get(&unknown).await.status, 404);
    for query in
        ["do=nonsense", "do=activate&policy=sha256:00&scene=mine", "do=activate&scene=mine"]
    {
        assert_eq!(bea.get(&format!("/policies/change?{query}")).await.status, 404, "{query}");
    }
    assert_eq!(bea.get("/policies/change?do=roll-back&scene=bell%07").await.status, 422);
    assert_eq!(change(&bea, "do=roll-back&scene=mine", "x").await, "/policies?done=changed");
}

#[tokio::test]
async fn activation_may_need_a_second_person_who_sees_what_was_proposed() {
    let app = app(FOUR_EYES).await;
    let (anna, bert) = (
        Browser::of(&app, "anna", "en", RIGHTS).await,
        Browser::of(&app, "bert", "en", RIGHTS).await,
    );
    let digest = added(&app, &milder()).await;
    let activate = format!("do=activate&policy={digest}");
    let page = format!("/policies/change?{activate}");
    assert!(anna.get(&page).await.has("Another person must agree within 24 hours"));
    assert_eq!(change(&anna, &activate, "CR 7").await, "/policies?done=proposed");
    decided(&app, "a", "75", "review").await;
    // Nobody agrees with themselves: there is no button, and the form changes nothing.
    let own = anna.get(&page).await;
    assert!(own.has("You proposed this at") && !own.has("name=\"purpose\""), "{}", own.text);
    let seen_by_anna = seen(&own.text);
    let fields = [
        ("do", "activate"),
        ("policy", digest.as_str()),
        ("purpose", "again"),
        ("seen", seen_by_anna.as_str()),
    ];
    assert_eq!(anna.post("/policies/change", &fields).await.leads_to(), "/policies?done=proposed");
    assert!(
        anna.get("/policies").await.has("Withdraw")
            && !anna.get("/policies").await.has("agree</a>")
    );
    // Nor by an API key of the same person.
    let key = make_key_of(&app.store, "anna", &[Scope::PoliciesWrite]).await;
    let by_key = app.client.post(format!("http://{}/v1/policies/{digest}/activate", app.http));
    assert_eq!(by_key.bearer_auth(&key).send().await.unwrap().status().as_u16(), 202);
    let list = bert.get("/policies").await;
    assert!(list.has("Activate milder (sha256:") && list.has("anna proposed this at"));
    assert!(list.has("CR 7") && list.has("Turn down") && list.has("Look at it and agree"));
    let says = bert.get(&page).await;
    assert!(says.has("Agree and carry out") && says.has("CR 7") && says.has("at once"));
    assert_eq!(change(&bert, &activate, "seen").await, "/policies?done=changed");
    decided(&app, "a", "75", "approve").await;
    assert!(!bert.get("/policies").await.has("Waiting for a second person"));

    // One that was turned down or withdrawn counts no more.
    for (closer, back) in [(&bert, "do=activate&scene=x"), (&anna, "do=activate&scene=y")] {
        let query = format!("{back}&policy={digest}");
        assert_eq!(change(&anna, &query, "CR 8").await, "/policies?done=proposed");
        let list = closer.get("/policies").await.text;
        let (_, rest) = list.split_once("/policies/proposals/").unwrap();
        let path = format!("/policies/proposals/{}/withdraw", &rest[..36]);
        assert_eq!(closer.post(&path, &[("purpose", " ")]).await.status, 400);
        let closed = closer.post(&path, &[("purpose", "no")]).await;
        assert_eq!(closed.leads_to(), "/policies?done=withdrawn");
        assert_eq!(closer.post(&path, &[("purpose", "no")]).await.status, 409);
        assert_eq!(change(&bert, &query, "CR 8").await, "/policies?done=proposed");
    }
    // A rollback is in a hurry: one person is enough.
    assert_eq!(change(&anna, "do=roll-back", "undo").await, "/policies?done=changed");
    decided(&app, "a", "75", "review").await;
    let done = actions(app.store.pool()).await;
    let names: Vec<&str> = done.iter().map(|(action, ..)| action.as_str()).collect();
    let closed = ["proposal.create", "proposal.withdraw", "proposal.create"];
    let all = [&["proposal.create", "policy.active"][..], &closed, &closed, &["policy.rollback"]];
    assert_eq!(names, all.concat());
    assert!(done[1].1.ends_with("person:bert") && done[0].1.ends_with("person:anna"));
}

#[tokio::test]
async fn proposals_of_other_scenes_are_neither_shown_nor_closed() {
    let app = app(FOUR_EYES).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    let bea = Browser::of(&app, "bea", "en", RIGHTS).await;
    limit(&app, &bea, &["mine"]).await;
    let digest = added(&app, &milder()).await;
    let proposed = async |scene: &str| {
        let of_scene = format!("do=activate&scene={scene}&policy={digest}");
        assert_eq!(change(&anna, &of_scene, "CR 10").await, "/policies?done=proposed");
        let text = anna.get("/policies").await.text;
        let path = text.split("/policies/proposals/").nth(1).expect("a proposal");
        format!("/policies/proposals/{}/withdraw", &path[..36])
    };
    // (the scene, whether bea sees the proposal, what closing it answers)
    for (scene, is_seen, closed) in [("secret", false, 404), ("", true, 403), ("mine", true, 303)] {
        let path = proposed(scene).await;
        let list = bea.get("/policies").await;
        assert_eq!(list.has("anna proposed this at"), is_seen, "{scene}: {}", list.text);
        assert_eq!(list.has(&path), scene == "mine", "only what she may close: {scene}");
        assert_eq!(list.has("Look at it and agree"), scene == "mine", "{scene}");
        assert_eq!(bea.post(&path, &[("purpose", "no")]).await.status, closed, "{scene}");
        if closed != 303 {
            let withdrawn = anna.post(&path, &[("purpose", "tried")]).await;
            assert_eq!(withdrawn.leads_to(), "/policies?done=withdrawn", "{scene}");
        }
    }
}

#[tokio::test]
async fn text_is_checked_and_stored_as_on_the_command_line() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    let page = anna.get("/policies/new").await;
    let copy = page.text.split("/policies/new?from=").nth(1).expect("the policy in use");
    let copy = anna.get(&format!("/policies/new?from={}", &copy[..71])).await;
    assert!(copy.has("name = &#34;default&#34;"), "{}", copy.text);

    // With the errors at their line, and what was typed kept; nothing is stored.
    let broken = milder().replacen("outcome = \"approve\"", "outcome = \"aprove\" # <b>", 1);
    let number = 1 + broken.lines().position(|line| line.contains("aprove")).unwrap();
    let lines = broken.replace('\n', "\r\n");
    for (what, status) in [("check", 200), ("store", 422)] {
        let fields = [("text", lines.as_str()), ("do", what), ("purpose", "CR 9")];
        let page = anna.post("/policies/new", &fields).await;
        assert_eq!(page.status, status, "{what}");
        assert!(page.has("The text has errors: nothing was stored"), "{}", page.text);
        assert!(page.has(&format!("<a href=\"#line-{number}\">Line {number}</a>")));
        assert!(page.has(&format!("id=\"line-{number}\">outcome = <mark>\"aprove\"</mark>")));
        assert!(page.has("did you mean `approve`?") && page.has("value=\"CR 9\""));
        assert!(page.has("outcome = &#34;aprove&#34; # &#60;b&#62;") && !page.has("<b>"));
    }
    let checked = anna.post("/policies/new", &[("text", &milder()), ("do", "check")]).await;
    assert!(checked.has("The text is valid. Its digest will be sha256:"), "{}", checked.text);
    let pool = app.store.pool();
    assert_eq!(one(pool, "select count(*) from policies").await, 1, "checking stores nothing");

    // The same text has the same digest, whatever ends its lines in a browser.
    let lines = milder().replace('\n', "\r\n");
    let fields = [("text", lines.as_str()), ("do", "store"), ("purpose", "CR 9")];
    let stored = anna.post("/policies/new", &fields).await.leads_to();
    let digest = policy::Policy::load(&milder()).unwrap().digest().to_owned();
    assert_eq!(stored, format!("/policies/{digest}?done=stored"));
    assert!(anna.get(&stored).await.has("It decides nothing yet"));
    let again = anna.post("/policies/new", &fields).await.leads_to();
    assert_eq!(again, format!("/policies/{digest}?done=before"));
    let anna_is = format!("user:{} person:anna", anna.user);
    let wanted = ("policy.add".to_owned(), anna_is, Some("CR 9".to_owned()));
    assert_eq!(actions(pool).await, [wanted]);

    // As much as the API takes, however a browser encodes it: three bytes for one.
    let long = |bytes: usize| format!("{}# {}", milder(), "\"".repeat(bytes - milder().len() - 2));
    let whole = anna.post("/policies/new", &[("text", &long(64 * 1024)), ("do", "store")]).await;
    assert_eq!(whole.status, 303, "{}", whole.text);
    let more = anna.post("/policies/new", &[("text", &long(64 * 1024 + 1))]).await;
    assert_eq!(more.status, 413);
}

#[tokio::test]
async fn differences_are_shown_in_rules_and_lines() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    let digest = added(&app, &milder()).await;
    // Compared with the one that decides, unless another one is named.
    let page = anna.get(&format!("/policies/{digest}/diff")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(
        page.has("Changed rule") && page.has("<code class=\"gone\">lowest_score &#60; 90</code>")
    );
    assert!(page.has("<code class=\"came\">lowest_score &#60; 60</code>"), "{}", page.text);
    assert!(
        page.has("name = \"default\"") && page.has("name = \"milder\"") && page.has("equal lines")
    );
    let text = format!("{DEFAULT}# words\n");
    let words = added(&app, &text).await;
    let page = anna.get(&format!("/policies/{words}/diff")).await;
    assert!(page.has("Every rule decides as before") && page.has("# words"));
    let same = anna.get(&format!("/policies/{words}/diff?with={words}")).await;
    assert!(same.has("The two texts are equal"));
    for unknown in ["sha256:00", "x", "sha256:%00"] {
        let path = format!("/policies/{words}/diff?with={unknown}");
        assert_eq!(anna.get(&path).await.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn dry_run_decides_one_verification_and_writes_nothing() {
    let app = app(CONSOLE).await;
    let anna = Browser::of(&app, "anna", "en", RIGHTS).await;
    let digest = added(&app, &milder()).await;
    let id = app.verified("pass-75").await["id"].as_str().unwrap().to_owned();
    let path = format!("/policies/{digest}/dry-run");
    assert!(anna.get(&path).await.has("Nothing is written"));
    let all = "select (select count(*) from decisions) + (select count(*) from shadow_decisions)
                   + (select count(*) from results) + (select count(*) from audit)";
    let before = one(app.store.pool(), all).await;
    for q in [id.as_str(), "pass-75"] {
        let page = anna.post(&path, &[("q", q)]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.has("The outcome changes: In review → Approved"), "{}", page.text);
        // The observed value stands beside its bound.
        assert!(page.has("lowest_score 75 &#60; 90") && page.has("score-too-low"));
        assert!(page.has("lowest_score 75 &#62;= 60") || page.has("provider-passed"));
        assert!(page.has(&format!("/verifications/{id}")));
    }
    assert_eq!(one(app.store.pool(), all).await, before);
    assert!(anna.post(&path, &[("q", "nothing")]).await.has("Nothing has this id"));
    // A reviewer may be asked about this case, and judges the faces first.
    let rights = ["policies:write", "decisions:read", "reviews:write"];
    let reviewer = Browser::of(&app, "rea", "en", &rights).await;
    let page = reviewer.post(&path, &[("q", &id)]).await;
    assert!(page.has("The outcome changes") && page.has("you may be asked about this case"));
    assert!(!page.has("lowest_score"), "{}", page.text);
    // Another scene's verification does not exist for the person.
    limit(&app, &anna, &["elsewhere"]).await;
    assert!(anna.post(&path, &[("q", &id)]).await.has("Nothing has this id"));
    let blind = Browser::of(&app, "bea", "en", &["policies:write"]).await;
    assert_eq!(blind.post(&path, &[("q", &id)]).await.status, 403);
}
