//! The book below `/docs/book/`: the pages that `scripts/book.sh` has built. Only a build with the
//! feature `book` contains it.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use super::problem::Problem;

/// Built pages, and the policy that lets exactly their scripts run.
#[derive(Clone, Copy)]
pub struct Book {
    pub policy: &'static str,
    pub files: &'static [File],
}

pub struct File {
    /// Below the book's address, with slashes.
    pub path: &'static str,
    pub media_type: &'static str,
    pub bytes: &'static [u8],
}

#[cfg(feature = "book")]
const BUILT: Option<Book> = Some(include!(concat!(env!("OUT_DIR"), "/book.rs")));
#[cfg(not(feature = "book"))]
const BUILT: Option<Book> = None;

/// The book's routes, if this build contains it.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    BUILT.map_or_else(Router::new, routes_of)
}

fn routes_of<S: Clone + Send + Sync + 'static>(book: Book) -> Router<S> {
    let page = move |path: &str| book.page(path);
    Router::new()
        .route("/docs/book", get(|| async { Redirect::permanent("/docs/book/") }))
        .route("/docs/book/", get(move || async move { page("index.html") }))
        .route(
            "/docs/book/{*path}",
            get(move |Path(path): Path<String>| async move { page(&path) }),
        )
}

impl Book {
    fn page(self, path: &str) -> Result<Response, Problem> {
        let file = self.files.iter().find(|file| file.path == path);
        let file = file.ok_or_else(Problem::not_found)?;
        let headers = [
            (CONTENT_TYPE, file.media_type),
            (CONTENT_SECURITY_POLICY, self.policy),
            // The next version of the service has another book at the same addresses.
            (CACHE_CONTROL, "max-age=300"),
        ];
        Ok((headers, file.bytes).into_response())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    const BOOK: Book = Book {
        policy: "default-src 'none'",
        files: &[
            File { path: "index.html", media_type: "text/html; charset=utf-8", bytes: b"<p>" },
            File { path: "css/general.css", media_type: "text/css", bytes: b"p {}" },
        ],
    };

    async fn get_page(path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        routes_of::<()>(BOOK).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn files_have_their_type_and_policy() {
        let header = |page: &Response, name| page.headers()[name].to_str().unwrap().to_owned();
        for (path, media_type) in [
            ("/docs/book/", "text/html; charset=utf-8"),
            ("/docs/book/index.html", "text/html; charset=utf-8"),
            ("/docs/book/css/general.css", "text/css"),
        ] {
            let page = get_page(path).await;
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            assert_eq!(header(&page, CONTENT_TYPE), media_type, "{path}");
            assert_eq!(header(&page, CONTENT_SECURITY_POLICY), BOOK.policy, "{path}");
        }
        assert_eq!(get_page("/docs/book").await.status(), StatusCode::PERMANENT_REDIRECT);
        for path in ["/docs/book/other.html", "/docs/book/css", "/docs/book/..%2findex.html"] {
            assert_eq!(get_page(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
