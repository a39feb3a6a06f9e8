//! The form on the API page of a demo: it signs a callback in the browser, and posts it.

use axum::Router;
use axum::routing::{MethodRouter, get};
use http::header::CONTENT_TYPE;

/// Source, secret and API key of the form. Anyone who can open the page can read them, so only a demo has
/// the form: no key of the configuration turns it on.
#[derive(Clone)]
pub struct CallbackForm {
    /// The source that callbacks are posted for.
    pub source: String,
    /// One of its secrets: `whsec_` and base64.
    pub secret: String,
    /// A key that reads decisions.
    pub api_key: String,
}

/// The script and the style sheet of the form.
pub(super) fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/docs/callback-form.js",
            asset("text/javascript", include_str!("callback_form/form.js")),
        )
        .route("/docs/callback-form.css", asset("text/css", include_str!("callback_form/form.css")))
}

fn asset<S: Clone + Send + Sync + 'static>(
    media_type: &'static str,
    text: &'static str,
) -> MethodRouter<S> {
    get(move || std::future::ready(([(CONTENT_TYPE, media_type)], text)))
}

/// The form, for the page.
pub(super) fn html(form: &CallbackForm) -> String {
    format!(
        include_str!("callback_form/form.html"),
        source = escaped(&form.source),
        secret = escaped(&form.secret),
        key = escaped(&form.api_key),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use tower::ServiceExt;
    use utoipa::openapi::OpenApi;

    use super::super::docs::routes;
    use super::*;

    async fn get_text(form: Option<&CallbackForm>, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes::<()>(OpenApi::default(), form).oneshot(request).await.unwrap();
        let status = response.status();
        let text = to_bytes(response.into_body(), 4 * 1024 * 1024).await.unwrap();
        (status, String::from_utf8_lossy(&text).into_owned())
    }

    #[tokio::test]
    async fn only_a_page_with_the_form_shows_a_secret() {
        let form = CallbackForm {
            source: "app".to_owned(),
            secret: "whsec_\"><script>".to_owned(),
            api_key: "vk_key".to_owned(),
        };
        let (_, page) = get_text(Some(&form), "/docs/").await;
        assert!(page.contains(r#"data-secret="whsec_&quot;>&lt;script>""#), "{page}");
        assert!(page.contains(r#"data-key="vk_key""#), "{page}");
        for asset in ["/docs/callback-form.js", "/docs/callback-form.css"] {
            assert_eq!(get_text(Some(&form), asset).await.0, StatusCode::OK);
            assert_eq!(get_text(None, asset).await.0, StatusCode::NOT_FOUND);
        }
        let (status, page) = get_text(None, "/docs/").await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("swagger-ui") && !page.contains("callback-form"), "{page}");
        for name in ["viewport", "<title>Verdict API</title>", r#"lang="en""#] {
            assert!(page.contains(name), "{name}: {page}");
        }
    }
}
