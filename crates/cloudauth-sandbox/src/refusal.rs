//! The vendor's error codes that the simulated provider itself gives.

use std::time::Duration;

use crate::document::Node;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The vendor's code.
    pub code: String,
    /// HTTP status.
    pub http_status: u16,
    /// For people. The real service echoes parameters here, and so does this one.
    pub message: String,
    /// Header `x-acs-retry-after`, in milliseconds.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// With that code, status and message.
    pub fn new(code: impl Into<String>, http_status: u16, message: impl Into<String>) -> Self {
        Self { code: code.into(), http_status, message: message.into(), retry_after: None }
    }

    /// A parameter is not there.
    pub fn missing(name: &str) -> Self {
        Self::new(format!("Missing{name}"), 400, format!("{name} is mandatory for this action."))
    }

    /// The signature is wrong; the message tells what the server has signed, as the real one does.
    pub fn signature(string_to_sign: &str) -> Self {
        // The old Python SDK compares what follows the colon with its own string to sign.
        Self::new(
            "SignatureDoesNotMatch",
            400,
            format!(
                "Specified signature is not matched with our calculation. \
                 server string to sign is:{string_to_sign}"
            ),
        )
    }

    /// Too many calls; the next may come after that time.
    pub fn throttled(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new("Throttling.User", 400, "Request was denied due to user flow control.")
        }
    }

    /// The error body, members in the vendor's order.
    pub fn body(&self, request_id: &str, host: &str) -> Node {
        let mut members = vec![
            ("RequestId", Node::from(request_id)),
            ("HostId", Node::from(host)),
            ("Code", Node::from(self.code.as_str())),
            ("Message", Node::from(self.message.as_str())),
            (
                "Recommend",
                Node::Text(format!(
                    "https://example.invalid/status/search?Keyword={}&source=sandbox",
                    self.code
                )),
            ),
        ];
        if self.code == "Forbidden.RAM" {
            let detail = vec![
                ("AuthAction", Node::from("yundun-cloudauth:DescribeVerifyResult")),
                ("PolicyType", Node::from("AccountLevelIdentityBasedPolicy")),
            ];
            members.push(("AccessDeniedDetail", Node::Object(detail)));
        }
        Node::Object(members)
    }
}
