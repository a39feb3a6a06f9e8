//! Values of arguments that several commands take.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::domain::callback::BizType;
use verdict::domain::purpose;

use crate::context::Usage;

pub(crate) fn scene(text: &str) -> Result<String, &'static str> {
    BizType::parse(text).map(|scene| scene.as_str().to_owned())
}

pub(crate) fn purpose(text: &str) -> Result<String, &'static str> {
    purpose::parse(text).map(ToOwned::to_owned)
}

pub(crate) fn moment(name: &str, text: &str) -> anyhow::Result<OffsetDateTime> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&whole, &Rfc3339)
        .map_err(|_| Usage(format!("{name} must be a day or a time: 2026-10-01")).into())
}
