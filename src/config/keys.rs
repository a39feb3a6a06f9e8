//! The known configuration keys, taken from the structs of `raw`, and the search for unknown keys
//! in a configuration.

use std::collections::BTreeMap;

use ::config::{Value, ValueKind};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::origin::join;
use super::raw::{
    Callbacks, Config, Database, FaceVerify, Http, Images, Log, Operations, Policy, Provider,
    RawAudit, RawConsole, RawKey, RawOidc, RawPolicies, RawPurpose, RawReason, RawSource, RawVault,
    RawWebhooks, RawWitness, Retention, Reviews, S3, Traces, Worker,
};

/// The keys that may be written below a key.
pub(super) enum Shape {
    Value,
    Section(BTreeMap<&'static str, Shape>),
    /// A table whose names the operator chooses.
    Named(Box<Shape>),
    Items(Box<Shape>),
}

impl Shape {
    /// The whole configuration.
    pub(super) fn of_everything() -> Self {
        let sections = fields::<Config>().iter().map(|name| {
            let shape = match *name {
                "http" => section::<Http>(),
                "operations" => section::<Operations>(),
                "console" => section::<RawConsole>().with("oidc", section::<RawOidc>()),
                "database" => section::<Database>(),
                "callbacks" => section::<Callbacks>(),
                "sources" => Self::Named(Box::new(section::<RawSource>())),
                "provider" => section::<Provider>().with("face_verify", section::<FaceVerify>()),
                "vault" => {
                    section::<RawVault>().with("keys", Self::Items(Box::new(section::<RawKey>())))
                }
                "images" => section::<Images>()
                    .with("s3", section::<S3>())
                    .with("scenes", Self::Named(Box::new(Self::Value))),
                "retention" => section::<Retention>(),
                "audit" => section::<RawAudit>()
                    .with("witnesses", Self::Items(Box::new(section::<RawWitness>()))),
                "webhooks" => section::<RawWebhooks>(),
                "policy" => section::<Policy>(),
                "reviews" => section::<Reviews>()
                    .with("scene_target_minutes", Self::Named(Box::new(Self::Value)))
                    .with("reasons", Self::Named(Box::new(section::<RawReason>())))
                    .with("reveal_purposes", Self::Named(Box::new(section::<RawPurpose>()))),
                "policies" => section::<RawPolicies>(),
                "worker" => section::<Worker>(),
                "log" => section::<Log>(),
                "traces" => section::<Traces>(),
                _ => Self::Value,
            };
            (*name, shape)
        });
        Self::Section(sections.collect())
    }

    fn with(mut self, name: &'static str, inner: Self) -> Self {
        if let Self::Section(inside) = &mut self {
            inside.insert(name, inner);
        }
        self
    }

    /// Every key with a value; `*` stands for a name that the operator chooses, `[]` for an item.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.collect("", &mut keys);
        keys
    }

    fn collect(&self, at: &str, keys: &mut Vec<String>) {
        match self {
            Self::Value => keys.push(at.to_owned()),
            Self::Section(inside) => {
                for (name, shape) in inside {
                    shape.collect(&join(at, name), keys);
                }
            }
            Self::Named(inner) => inner.collect(&join(at, "*"), keys),
            Self::Items(inner) => inner.collect(&format!("{at}[]"), keys),
        }
    }

    /// Whether there is such a key or section.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut shape = self;
        for name in key.split(['.', '[']) {
            shape = match shape {
                Self::Section(inside) => match inside.get(name) {
                    Some(inner) => inner,
                    None => return false,
                },
                Self::Named(inner) => inner,
                Self::Items(inner) if name.ends_with(']') => inner,
                // An item of a list of values.
                Self::Value if name.ends_with(']') => shape,
                Self::Items(_) | Self::Value => return false,
            };
        }
        true
    }
}

/// A key that is written and means nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) key: String,
    pub(super) section: String,
    pub(super) name: String,
    /// The keys that exist there.
    pub(super) siblings: Vec<&'static str>,
}

/// Takes every unknown key out.
pub(super) fn take_unknown(value: &mut Value, shape: &Shape) -> Vec<Unknown> {
    let mut found = Vec::new();
    walk(value, shape, "", &mut found);
    found
}

fn walk(value: &mut Value, shape: &Shape, at: &str, found: &mut Vec<Unknown>) {
    match (&mut value.kind, shape) {
        (ValueKind::Table(table), Shape::Section(inside)) => {
            table.retain(|name, value| {
                if let Some(shape) = inside.get(name.as_str()) {
                    walk(value, shape, &join(at, name), found);
                    return true;
                }
                found.push(Unknown {
                    key: join(at, name),
                    section: at.to_owned(),
                    name: name.clone(),
                    siblings: inside.keys().copied().collect(),
                });
                false
            });
        }
        (ValueKind::Table(table), Shape::Named(inner)) => {
            for (name, value) in table {
                walk(value, inner, &join(at, name), found);
            }
        }
        (ValueKind::Array(items), Shape::Items(inner)) => {
            for (index, value) in items.iter_mut().enumerate() {
                walk(value, inner, &format!("{at}[{index}]"), found);
            }
        }
        // Of another type than it must be: told when it is read.
        _ => {}
    }
}

fn section<T: DeserializeOwned>() -> Shape {
    Shape::Section(fields::<T>().iter().map(|name| (*name, Shape::Value)).collect())
}

/// The names that serde expects in a struct.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names = Names(&[]);
    // Always an error: it hands nothing over.
    let _ = T::deserialize(&mut names);
    names.0
}

struct Names(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Names {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only a struct has names"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields;
        Err(Error::custom("the names are all that is wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_known_with_its_keys() {
        let everything = Shape::of_everything();
        let Shape::Section(sections) = &everything else { panic!("not a section") };
        for (name, shape) in sections {
            assert!(!matches!(shape, Shape::Value), "the keys of [{name}] are not known");
        }
        for key in ["http.listen", "sources.*.secrets", "vault.keys[].id", "images.s3.endpoint"] {
            assert!(everything.keys().iter().any(|known| known == key), "{key}");
        }
        for key in ["http", "sources.app.secrets[0]", "vault.keys[3].secret", "images.scenes.x"] {
            assert!(everything.has(key), "{key}");
        }
        for key in ["htp", "http.listen.on", "vault.keys[0].name", "sources.app.secret"] {
            assert!(!everything.has(key), "{key}");
        }
    }
}
