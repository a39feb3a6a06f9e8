//! From what was decided to bytes on the wire, broken ones included.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Frame;

use crate::document::Node;

/// The response to a call.
#[derive(Debug)]
pub enum Reply {
    /// A JSON or XML document.
    Document {
        /// HTTP status.
        http_status: u16,
        /// Its content.
        node: Node,
        /// Its root element, if XML was asked for; else it is JSON.
        xml_root: Option<String>,
        /// Header `x-acs-retry-after`.
        retry_after: Option<Duration>,
    },
    /// A page for people.
    Html {
        /// HTTP status.
        http_status: u16,
    },
    /// JSON that no strict parser reads.
    Damaged(Vec<u8>),
    /// Half a JSON object.
    Garbage,
    /// Nothing, with HTTP 200.
    Empty,
    /// No answer at all.
    Cut,
    /// Half an answer, then no connection.
    Torn,
}

/// Marks a response that must not be sent: the connection is to be closed instead.
#[derive(Clone, Copy, Debug)]
pub struct HangUp;

/// The page of a gateway whose upstream is unavailable.
const EDGE_PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Tengine</center>\r\n</body>\r\n</html>\r\n";

/// The beginning of an answer that never ends.
const HALF: &[u8] = br#"{"RequestId":"00000000-0000-4000-8000-000000000001","VerifySta"#;

impl Reply {
    /// The HTTP response.
    pub fn into_response(self) -> Response {
        match self {
            Self::Document { http_status, node, xml_root, retry_after } => {
                let (content_type, text) = match xml_root {
                    Some(root) => ("text/xml;charset=utf-8", node.to_xml(&root)),
                    None => ("application/json;charset=utf-8", node.to_json()),
                };
                let mut response = response(http_status, content_type, text);
                if let Some(after) = retry_after {
                    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
                    response.headers_mut().insert("x-acs-retry-after", HeaderValue::from(millis));
                }
                response
            }
            Self::Html { http_status } => response(http_status, "text/html", EDGE_PAGE),
            Self::Damaged(json) => response(200, "application/json;charset=utf-8", json),
            Self::Garbage => response(200, "application/json;charset=utf-8", HALF),
            Self::Empty => response(200, "application/json;charset=utf-8", Body::empty()),
            Self::Cut => {
                let mut response = broken(None);
                response.extensions_mut().insert(HangUp);
                response
            }
            Self::Torn => broken(Some(Bytes::from_static(HALF))),
        }
    }
}

/// A response with that status, type and body.
pub fn response(http_status: u16, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Promises a kilobyte and breaks off after what there is.
fn broken(first: Option<Bytes>) -> Response {
    let body = Body::new(Broken { first, flushed: false });
    let mut response = response(200, "application/json;charset=utf-8", body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    response
}

/// A body that fails.
struct Broken {
    first: Option<Bytes>,
    flushed: bool,
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if !self.flushed {
            // Only when we wait does the server send what it has: once round, then fail.
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted))))
    }
}
