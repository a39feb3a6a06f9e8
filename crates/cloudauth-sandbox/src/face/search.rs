//! `DescribeVerifySearchPageList`: which verifications did an order number start? The answer of a
//! start may have been lost, and a start must not be repeated blindly.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::desk::Asked;
use super::sessions::Session;
use crate::Sandbox;
use crate::desk::Outcome;
use crate::document::Node;
use crate::identity::in_china;
use crate::question::Question;
use crate::refusal::Refusal;

/// As the vendor writes it, in China's time.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const PAGE_SIZE: usize = 20;
const MAX_PAGE_SIZE: usize = 100;

impl Sandbox {
    /// Lists started verifications, oldest first.
    pub(super) fn search(&self, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
        let question = asked.question;
        let key = question.param("OuterOrderNo").unwrap_or_default();
        let steps = asked.script.search.as_slice();
        let scripted = self.memory().faces.advance("all", super::SEARCH, key, steps).cloned();
        if let Some(answer) = scripted {
            return Ok(self.scripted(asked, &answer));
        }
        if !self.0.settings.searchable {
            return Err(Refusal::new("Forbidden.RAM", 403, "User not authorized to operate."));
        }
        let size = whole(question, "PageSize", PAGE_SIZE)?.clamp(1, MAX_PAGE_SIZE);
        let page = whole(question, "CurrentPage", 1)?.max(1);
        let found: Vec<Node> = {
            let memory = self.memory();
            let sessions = memory.faces.started();
            sessions.filter(|session| fits(question, session)).map(item).collect()
        };
        let total = found.len();
        let items = found.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
        let node = Node::Object(vec![
            ("RequestId", Node::from(self.request_id())),
            ("CurrentPage", number(page)),
            ("PageSize", number(size)),
            ("TotalCount", number(total)),
            ("TotalPage", number(total.div_ceil(size))),
            ("Items", Node::List(items)),
        ]);
        Ok(asked.outcome("ok".to_owned(), 200, &node))
    }
}

fn number(number: usize) -> Node {
    Node::Whole(i64::try_from(number).unwrap_or(i64::MAX))
}

fn whole(question: &Question, name: &str, usual: usize) -> Result<usize, Refusal> {
    let Some(text) = question.param(name) else { return Ok(usual) };
    text.parse().map_err(|_| {
        Refusal::new(format!("Invalid{name}"), 400, format!("{name} is not a whole number."))
    })
}

fn fits(question: &Question, session: &Session) -> bool {
    let is = |name, value: &str| question.param(name).is_none_or(|wanted| wanted == value);
    let millis = |name| question.param(name).and_then(|text| text.parse::<i128>().ok());
    let started = session.started.unix_timestamp_nanos() / 1_000_000;
    !session.script.person.unlisted
        && is("OuterOrderNo", &session.order_number)
        && is("CertifyId", &session.certify_id)
        && is("SceneId", &session.scene)
        && is("ProductCode", session.subject.product.code())
        && millis("StartDate").is_none_or(|from| started >= from)
        && millis("EndDate").is_none_or(|to| started <= to)
}

fn item(session: &Session) -> Node {
    let mut members = vec![
        ("CertifyId", Node::from(session.certify_id.as_str())),
        ("OuterOrderNo", Node::from(session.order_number.as_str())),
        ("SceneId", session.scene.parse().map_or(Node::Null, Node::Whole)),
        ("ProductCode", Node::from(session.subject.product.code())),
    ];
    if let Some(finding) = session.finding() {
        members.push(("Passed", Node::from(if finding.passed { "T" } else { "F" })));
        members.push(("SubCode", Node::from(finding.sub_code.to_string())));
    }
    let time = in_china(session.started).format(TIME).unwrap_or_default();
    members.push(("GmtVerify", Node::from(time)));
    Node::Object(members)
}
