//! Reads the answer of `DescribeVerifySearchPageList`, which searches the provider's records.

use super::codes;
use super::envelope::Envelope;
use super::nested::{members, object, token};
use super::result::Reading;
use crate::decoding::fields::{self, Value, agreed};
use crate::decoding::tree::Node;
use crate::wire::AnswerError;

/// A verification in the provider's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `CertifyId`.
    pub certify_id: String,
    /// `OuterOrderNo`, as the start gave it.
    pub outer_order_no: String,
}

/// Reads an answer of `DescribeVerifySearchPageList`. Records that lack one of the two keys are
/// left out. Unlike the other answers it has no `Code` when the call worked.
pub fn read_found(http_status: u16, body: &[u8]) -> Reading<Vec<Found>> {
    let Some(envelope) = Envelope::parse(http_status, body) else {
        return Reading { request_id: None, outcome: Err(codes::error(None, http_status)) };
    };
    Reading { request_id: envelope.request_id(), outcome: outcome(&envelope) }
}

fn outcome(envelope: &Envelope) -> Result<Vec<Found>, AnswerError> {
    let code = envelope.code()?;
    let worked = code.as_deref().is_none_or(|code| code == codes::WORKED);
    let records = if worked && !envelope.says_failed() { records(envelope) } else { None };
    records.ok_or_else(|| codes::error(code.as_deref(), envelope.http_status))
}

/// The records, or `None` if the answer has no list.
fn records(envelope: &Envelope) -> Option<Vec<Found>> {
    let holders = envelope.holders()?;
    let holders: Vec<&Node> = holders.iter().map(|holder| &**holder).collect();
    let mut lists = members(&holders, "Items").filter(|node| !fields::is_absent(node));
    match (lists.next(), lists.next()) {
        (Some(Node::List(items)), None) => Some(items.iter().filter_map(record).collect()),
        (None, None) if is_empty(&holders) => Some(Vec::new()),
        _ => None,
    }
}

fn is_empty(holders: &[&Node]) -> bool {
    matches!(agreed(members(holders, "TotalCount"), fields::whole), Value::Is(0))
}

fn record(item: &Node) -> Option<Found> {
    let item = object(item)?;
    let one = |name| agreed(members(&[&item], name), token).readable();
    Some(Found { certify_id: one("CertifyId")?, outer_order_no: one("OuterOrderNo")? })
}
