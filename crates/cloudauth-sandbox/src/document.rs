//! An ordered tree that is written as JSON or as XML, in the vendor's field order.

use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nothing.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction, or without one by chance.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// Members in order.
    Object(Vec<(&'static str, Node)>),
    /// Items in order.
    List(Vec<Node>),
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Whole(number) => serializer.serialize_i64(*number),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
        }
    }
}

impl Node {
    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// The XML text under that root element; lists repeat their element, as the vendor's do.
    pub fn to_xml(&self, root: &str) -> String {
        let mut out = String::from("<?xml version='1.0' encoding='UTF-8'?>");
        self.element(root, &mut out);
        out
    }

    fn element(&self, name: &str, out: &mut String) {
        if let Self::List(items) = self {
            for item in items {
                item.element(name, out);
            }
            return;
        }
        let _ = write!(out, "<{name}>");
        match self {
            Self::Text(text) => out.push_str(&quick_xml::escape::escape(text.as_str())),
            Self::Whole(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Flag(flag) => {
                let _ = write!(out, "{flag}");
            }
            Self::Object(members) => {
                for (name, value) in members {
                    value.element(name, out);
                }
            }
            Self::Null | Self::List(_) => {}
        }
        let _ = write!(out, "</{name}>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_markup_is_escaped() {
        let node = Node::Object(vec![
            ("Url", Node::from("http://h/?a=1&b=<2>")),
            ("Again", Node::List(vec![Node::Whole(1), Node::Flag(true)])),
            ("A", Node::Number(97.5)),
        ]);
        assert_eq!(node.to_json(), r#"{"Url":"http://h/?a=1&b=<2>","Again":[1,true],"A":97.5}"#);
        assert!(node.to_xml("R").ends_with(
            "<R><Url>http://h/?a=1&amp;b=&lt;2&gt;</Url><Again>1</Again><Again>true</Again><A>97.5</A></R>"
        ));
    }
}
