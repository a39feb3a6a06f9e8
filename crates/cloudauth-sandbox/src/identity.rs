//! Invented people, the same for the same `biz_id`; nobody real can be among them.

use time::macros::offset;
use time::{Date, Duration, OffsetDateTime};

use crate::document::Node;
use crate::scenario::{CardEnd, Scenario};

/// Second and third characters of the names: the heavenly stems, "A, B, C…" of Chinese forms.
const STEMS: [char; 10] = ['甲', '乙', '丙', '丁', '戊', '己', '庚', '辛', '壬', '癸'];

/// Where the images are, or `None` where there are none.
pub struct Links {
    /// The face.
    pub face: String,
    /// The full camera frame.
    pub global: String,
    /// The card's portrait side.
    pub front: String,
    /// The card's emblem side.
    pub back: String,
    /// The film.
    pub video: String,
}

/// An invented person.
pub struct Identity {
    /// The name.
    pub name: String,
    /// The number.
    pub number: String,
    /// Where they live.
    pub street_number: u64,
}

impl Identity {
    /// The same for the same seed.
    pub fn of(seed: &str) -> Self {
        let n = fnv1a(seed);
        let stem = |n: u64| STEMS[usize::try_from(n % 10).unwrap_or(0)];
        Self {
            name: format!("测试{}{}", stem(n), stem(n / 10)),
            // No region has the code 000000, so no such number can have been given out.
            number: format!("00000019000101{:04}", n / 100 % 10_000),
            street_number: n / 1_000_000 % 999 + 1,
        }
    }
}

/// FNV-1a: spreads names over numbers, the same on every machine.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The `Material` of a result.
pub fn material(
    scenario: &Scenario,
    biz_id: &str,
    links: Option<&Links>,
    now: OffsetDateTime,
) -> Node {
    let person = &scenario.person;
    let identity = Identity::of(person.identity.as_deref().unwrap_or(biz_id));
    let mut members = Vec::with_capacity(8);
    if let Some(links) = links {
        members.push(("FaceImageUrl", Node::from(links.face.as_str())));
        // The vendor's own example ends in a blank; readers must bear it.
        members.push(("FaceGlobalUrl", Node::from(format!("{} ", links.global))));
    }
    members.push(("FaceMask", Node::Flag(person.mask)));
    members.push(("FaceQuality", Node::from(person.quality.as_deref().unwrap_or("NORMAL"))));
    members.push(("IdCardName", Node::from(identity.name.as_str())));
    members.push(("IdCardNumber", Node::from(identity.number.as_str())));
    members.push(("VideoUrls", Node::List(Vec::new())));
    if !person.no_card {
        members.push(("IdCardInfo", card(scenario, &identity, links, now)));
    }
    Node::Object(members)
}

fn card(
    scenario: &Scenario,
    identity: &Identity,
    links: Option<&Links>,
    now: OffsetDateTime,
) -> Node {
    let (person, dashes) = (&scenario.person, scenario.shape.strings);
    let name =
        if person.name_differs { format!("{}异", identity.name) } else { identity.name.clone() };
    let number = if person.number_differs {
        format!("{}X", &identity.number[..17])
    } else {
        identity.number.clone()
    };
    let end = card_end(person.card_end, now);
    let mut members = vec![
        ("Name", Node::from(name)),
        ("Number", Node::from(number)),
        ("Nationality", Node::from("汉")),
        ("Address", Node::from(format!("某省某市某路{}号", identity.street_number))),
        ("Authority", Node::from("某市公安局")),
        ("StartDate", Node::from(dashed("20201101", dashes))),
        ("EndDate", Node::from(dashed(&end, dashes))),
    ];
    // The 2019 form told the sex; the later one the birthday instead.
    members.push(if dashes {
        ("Sex", Node::from("女"))
    } else {
        ("Birth", Node::from(person.birth.as_deref().unwrap_or("19000101")))
    });
    if let Some(links) = links {
        members.push(("FrontImageUrl", Node::from(links.front.as_str())));
        members.push(("BackImageUrl", Node::from(links.back.as_str())));
    }
    Node::Object(members)
}

/// This time in China: UTC+8 all over the country, all the year.
pub fn in_china(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(offset!(+8))
}

/// The end of a card, as is printed on it.
pub fn card_end(end: CardEnd, now: OffsetDateTime) -> String {
    match end {
        CardEnd::Far => "20401101".to_owned(),
        CardEnd::Days(days) => {
            day(in_china(now).date().saturating_add(Duration::days(i64::from(days))))
        }
        CardEnd::LongTerm => "长期".to_owned(),
    }
}

/// `20401101`.
fn day(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day())
}

/// `20401101` as `2040-11-01` if asked; what is no such date stays.
fn dashed(date: &str, dashes: bool) -> String {
    if dashes && date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) {
        format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..])
    } else {
        date.to_owned()
    }
}
