//! `GET /problems/{code}`: the page that a problem's `type` refers to, and the same texts as
//! `docs/problems.md`.

use std::fmt::Write;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use utoipa::IntoParams;

use super::{Code, Problem};
use crate::http::openapi::refusals;

/// One code.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler parses itself")]
pub(in crate::http) struct CodePath {
    /// The code of a problem.
    #[param(pattern = "^[a-z]+(-[a-z]+)*$")]
    code: String,
}

refusals!(PageRefusals = [NotFound]);

/// Explains a problem: what happened, and what to do.
#[utoipa::path(
    get, path = "/problems/{code}", operation_id = "explain-problem", tag = "problems",
    params(CodePath),
    responses((status = 200, description = "The page", content((String = "text/html"))), PageRefusals),
)]
pub async fn handler(Path(code): Path<String>) -> Result<Response, Problem> {
    let code = Code::parse(&code).ok_or_else(Problem::not_found)?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], page(code)).into_response())
}

fn page(code: Code) -> String {
    format!(
        include_str!("page.html"),
        code = code.as_str(),
        status = code.status(),
        title = html(code.title()),
        happened = html(code.happened()),
        remedy = html(code.remedy()),
    )
}

/// Text with code between backticks, as HTML.
fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let part = |(place, part): (usize, &str)| match place % 2 {
        0 => part.to_owned(),
        _ => format!("<code>{part}</code>"),
    };
    escaped.split('`').enumerate().map(part).collect()
}

/// `docs/problems.md`.
pub fn documentation() -> String {
    let mut text = include_str!("introduction.md").to_owned();
    for code in Code::ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n**{}** {}.\n\n- What happened: {}\n- What to do: {}\n",
            code.as_str(),
            code.status().as_u16(),
            code.title().replace('<', "\\<"),
            code.happened(),
            code.remedy(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_escape_text_and_mark_code() {
        assert_eq!(html("a < b & `c > d`."), "a &lt; b &amp; <code>c &gt; d</code>.");
        for code in Code::ALL {
            let page = page(*code);
            assert!(!page.contains('`') && !page.contains("<script"), "{page}");
            assert_eq!(page.matches("<code>").count(), page.matches("</code>").count(), "{page}");
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
    }
}
