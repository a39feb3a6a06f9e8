//! JSON bodies of requests. One declaration is the schema in the description and the parser, which
//! reports every invalid member at once, by its JSON pointer and never by its value.
//!
//! `deserr` would do it too, but reports errors in the order of the map and not of the declaration,
//! and quotes unknown names; this is smaller than adapting it.

use serde_json::{Map, Value};

use crate::domain::field_error::FieldError;

/// A body that parses itself.
pub(super) trait RequestBody: Sized {
    /// Parses the members of an object.
    fn parse(members: &Map<String, Value>) -> Result<Self, Vec<FieldError>>;
}

/// Reads members and collects what is invalid.
#[derive(Debug)]
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Members<'a> {
    pub(super) fn of(members: &'a Map<String, Value>) -> Self {
        Self { members, errors: Vec::new() }
    }

    /// A string that must be there.
    pub(super) fn required<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = self.optional(pointer, parse)?;
        if value.is_none() {
            self.errors.push(FieldError { pointer, detail: "is required" });
        }
        value
    }

    /// A string that may be left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        let parsed = match self.members.get(pointer.trim_start_matches('/')) {
            None | Some(Value::Null) => return Some(None),
            Some(Value::String(text)) => parse(text),
            Some(_) => Err("must be a string"),
        };
        parsed.map_err(|detail| self.errors.push(FieldError { pointer, detail })).ok().map(Some)
    }

    /// Ends the reading. Unknown members are refused: a misspelt one must not be ignored silently.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), Vec<FieldError>> {
        if self.members.keys().any(|name| !known.contains(&name.as_str())) {
            self.errors.push(FieldError { pointer: "", detail: "has an unknown member" });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

/// Declares a body: each member's type, whether it must be there, and how its text is parsed.
///
/// ```ignore
/// request_body! {
///     /// Which scene a change is about.
///     pub(super) struct SceneRequest {
///         #[schema(value_type = Option<String>, min_length = 1)]
///         biz_type: Option<BizType> = optional(BizType::parse),
///     }
/// }
/// ```
macro_rules! request_body {
    ($(#[$about:meta])* $visible:vis struct $name:ident {
        $($(#[$schema:meta])* $member:ident: $kind:ty = $presence:ident($parse:expr),)+
    }) => {
        $(#[$about])*
        #[derive(utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        $visible struct $name { $($(#[$schema])* $visible $member: $kind,)+ }

        impl $crate::http::request_body::RequestBody for $name {
            fn parse(
                members: &serde_json::Map<String, serde_json::Value>,
            ) -> Result<Self, Vec<$crate::domain::field_error::FieldError>> {
                let mut members = $crate::http::request_body::Members::of(members);
                $(let $member = members.$presence(concat!("/", stringify!($member)), $parse);)+
                members.finish(&[$(stringify!($member)),+])?;
                // Whatever is not there was reported.
                match ($($member,)+) {
                    ($(Some($member),)+) => Ok(Self { $($member),+ }),
                    _ => Err(Vec::new()),
                }
            }
        }
    };
}
pub(super) use request_body;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::callback::BizType;

    request_body! {
        /// An example.
        struct Example {
            #[schema(value_type = String)]
            scene: BizType = required(BizType::parse),
            #[schema(value_type = Option<String>)]
            other: Option<BizType> = optional(BizType::parse),
        }
    }

    fn parse(value: &Value) -> Result<Example, Vec<(&'static str, &'static str)>> {
        Example::parse(value.as_object().unwrap())
            .map_err(|errors| errors.iter().map(|e| (e.pointer, e.detail)).collect())
    }

    #[test]
    fn every_invalid_member_is_reported_in_the_order_of_the_declaration() {
        let body = serde_json::json!({ "other": 7, "more": 1, "most": 2 });
        assert_eq!(
            parse(&body).err().unwrap(),
            [
                ("/scene", "is required"),
                ("/other", "must be a string"),
                ("", "has an unknown member")
            ]
        );
        let body = serde_json::json!({ "other": null, "scene": "" });
        assert_eq!(parse(&body).err().unwrap(), [("/scene", "must not be empty")]);
        let body = serde_json::json!({ "other": null, "scene": "a" });
        let parsed = parse(&body).ok().unwrap();
        assert_eq!((parsed.scene.as_str(), parsed.other), ("a", None));
    }

    #[test]
    fn schema_has_the_members_that_the_parser_knows() {
        let schema = serde_json::to_value(<Example as utoipa::PartialSchema>::schema()).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["scene"]));
        assert_eq!(schema["additionalProperties"], false);
        let members: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["other", "scene"]);
    }
}
