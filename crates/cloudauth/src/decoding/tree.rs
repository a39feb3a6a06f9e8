//! The one tree that JSON and XML are read into.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Deepest nesting that is followed. Real answers have four levels.
pub(crate) const MAX_DEPTH: usize = 64;

/// A node. Numbers are kept as text, since the provider writes `97` and `"97"` alike. Text may be
/// a name or an ID number, so it is wiped when dropped and there is no `Debug`.
pub(crate) enum Node {
    Null,
    Flag(bool),
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// The member of that name, if this is a map that has one.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.get(name),
            _ => None,
        }
    }

    /// Every member of that name in any case.
    pub(crate) fn members_of_any_case<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Self> {
        let members = match self {
            Self::Map(members) => Some(members),
            _ => None,
        };
        let named = members.into_iter().flatten();
        named.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, node)| node)
    }

    /// The first of them, the exact name before others: gateways write `code` where the service
    /// writes `Code`.
    pub(crate) fn member_of_any_case(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.get(name).or_else(|| {
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, node)| node)
        })
    }

    /// Adds a member. One that repeats becomes a list: that is how XML writes lists, and in JSON
    /// it leaves no doubt that a field said two things.
    pub(crate) fn add(members: &mut BTreeMap<String, Self>, name: String, node: Self) {
        match members.remove(&name) {
            None => members.insert(name, node),
            Some(Self::List(mut nodes)) => {
                nodes.push(node);
                members.insert(name, Self::List(nodes))
            }
            Some(first) => members.insert(name, Self::List(vec![first, node])),
        };
    }
}
