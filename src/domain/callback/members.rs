//! Members of a body, in which a name may come twice.

use crate::domain::lenient_json::{Json, Text};

/// The last member of that name, as most parsers read it. `null` counts as absent.
pub(super) fn last<'a>(members: &'a [(Text, Json)], name: &str) -> Option<&'a Json> {
    let mut named = members.iter().filter(|(text, _)| text.value.as_str() == name);
    named.next_back().map(|(_, value)| value).filter(|value| !matches!(value, Json::Null))
}
