//! The `type` of every refusal leads to a page that says what happened and what to do.

use verdict::http::problem::Code;

use crate::harness::{Reply, TestApp};

#[tokio::test]
async fn every_problem_code_has_a_page_on_both_listeners() {
    let app = TestApp::start().await;
    for listener in [app.http, app.operations] {
        let get = async |path: &str| {
            let url = format!("http://{listener}{path}");
            Reply::read(app.client.get(url).send().await.unwrap()).await
        };
        for code in Code::ALL {
            let page = get(&format!("/problems/{}", code.as_str())).await;
            assert_eq!(
                (page.status, page.content_type.as_str()),
                (200, "text/html; charset=utf-8")
            );
            for text in ["What happened", "What to do", code.as_str()] {
                assert!(page.text.contains(text), "{text}: {page:?}");
            }
            let policy = page.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'"), "{policy}");
        }
        let refusal = get("/problems/none-of-them").await;
        refusal.assert_problem(404, "not-found");
        let page = get(refusal.json["type"].as_str().unwrap()).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("<h1>Not found</h1>"), "{page:?}");
        get("/problems/").await.assert_problem(404, "not-found");
        get("/problems/%ff").await.assert_problem(404, "not-found");
    }
}
