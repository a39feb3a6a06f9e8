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

    /// A value of several types that must be there.
    pub(super) fn required_value<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = self.any(pointer, parse)?;
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

    /// A whole number that may be left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional_integer<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(i64) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        self.any(pointer, |value| whole(value).ok_or("must be a whole number").and_then(&parse))
    }

    /// A number that may be left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional_number<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(f64) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        let number = |value: &Value| value.as_f64().ok_or("must be a number");
        self.any(pointer, |value| number(value).and_then(&parse))
    }

    /// `true`, `false`, left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional_flag<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(bool) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        let flag = |value: &Value| value.as_bool().ok_or("must be true or false");
        self.any(pointer, |value| flag(value).and_then(&parse))
    }

    /// A list of strings that may be left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional_list<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&[&str]) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        self.any(pointer, |value| strings(value).and_then(|items| parse(&items)))
    }

    /// A string or a whole number that may be left out or `null`.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn optional_value<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        self.any(pointer, parse)
    }

    /// A member of a change: left out, it stays as it is. `null` is parsed like any other value.
    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    pub(super) fn change<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        let Some(value) = self.members.get(pointer.trim_start_matches('/')) else {
            return Some(None);
        };
        let parsed = parse(value);
        parsed.map_err(|detail| self.errors.push(FieldError { pointer, detail })).ok().map(Some)
    }

    #[expect(clippy::option_option, reason = "invalid, left out, or a value")]
    fn any<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        match self.members.get(pointer.trim_start_matches('/')) {
            None | Some(Value::Null) => Some(None),
            Some(_) => self.change(pointer, parse),
        }
    }

    /// Ends the reading. Unknown members are refused: a misspelt one must not be ignored silently.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), Vec<FieldError>> {
        if self.members.keys().any(|name| !known.contains(&name.as_str())) {
            self.errors.push(FieldError { pointer: "", detail: "has an unknown member" });
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

/// A whole number, in any notation: in JSON Schema `1024.0` and `1e3` are integers too.
pub(super) fn whole(value: &Value) -> Option<i64> {
    /// 2^63: the least that is too large.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let of_float = |float: f64| {
        let fits = float.fract() == 0.0 && (-END..END).contains(&float);
        #[expect(clippy::cast_possible_truncation, reason = "checked before")]
        fits.then_some(float as i64)
    };
    value.as_i64().or_else(|| value.as_f64().filter(|_| value.is_f64()).and_then(of_float))
}

/// The strings of a list.
pub(super) fn strings(value: &Value) -> Result<Vec<&str>, &'static str> {
    let items = value.as_array().into_iter().flatten().map(Value::as_str);
    let items: Option<Vec<&str>> = items.collect();
    items.filter(|_| value.is_array()).ok_or("must be a list of strings")
}

/// A string.
pub(super) fn string(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("must be a string")
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
                // A missing member was already reported.
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
    use serde_json::json;

    use super::*;
    use crate::domain::callback::{BizType, Callback, CallbackError};
    use crate::http::activations::{OwnSceneRequest, SceneRequest};
    use crate::http::backtests::BacktestRequest;
    use crate::http::callbacks::CallbackRequest;
    use crate::http::refetch::RefetchRequest;
    use crate::http::reviews::ReviewRequest;
    use crate::http::start::{FaceVerifyStartRequest, StartRequest};
    use crate::http::webhook_operations::RedeliveryRequest;

    request_body! {
        /// An example.
        struct Example {
            #[schema(value_type = String)]
            scene: BizType = required(BizType::parse),
            #[schema(value_type = Option<String>)]
            other: Option<BizType> = optional(BizType::parse),
        }
    }

    fn parse_example(value: &Value) -> Result<Example, Vec<(&'static str, &'static str)>> {
        Example::parse(value.as_object().unwrap())
            .map_err(|errors| errors.iter().map(|e| (e.pointer, e.detail)).collect())
    }

    #[test]
    fn every_invalid_member_is_reported_in_the_order_of_the_declaration() {
        let body = json!({ "other": 7, "more": 1, "most": 2 });
        assert_eq!(
            parse_example(&body).err().unwrap(),
            [
                ("/scene", "is required"),
                ("/other", "must be a string"),
                ("", "has an unknown member")
            ]
        );
        let body = json!({ "other": null, "scene": "" });
        assert_eq!(parse_example(&body).err().unwrap(), [("/scene", "must not be empty")]);
        let body = json!({ "other": null, "scene": "a" });
        let parsed = parse_example(&body).ok().unwrap();
        assert_eq!((parsed.scene.as_str(), parsed.other), ("a", None));
    }

    #[test]
    fn integers_are_whole_numbers_in_any_notation() {
        for (text, number) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("-7.0", Some(-7)),
            ("1e3", Some(1000)),
            ("-0.0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("7.5", None),
            ("1e-3", None),
            ("9223372036854775808", None),
            ("9223372036854775808.0", None),
            ("-1e300", None),
            ("\"7\"", None),
            ("true", None),
            ("null", None),
        ] {
            assert_eq!(whole(&serde_json::from_str(text).unwrap()), number, "{text}");
        }
    }

    #[test]
    fn schema_has_the_members_that_the_parser_knows() {
        let schema = schema_of::<Example>();
        assert_eq!(schema["required"], json!(["scene"]));
        assert_eq!(schema["additionalProperties"], false);
        let members: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["other", "scene"]);
    }

    /// A description that allows more, or less, than the service accepts misleads its readers.
    #[test]
    fn schemas_of_bodies_allow_what_their_parsers_accept() {
        let task = json!({ "biz_type": "a", "biz_id": "b" });
        let review = json!({ "outcome": "reject", "reason": "forged-card" });
        let of_body = |parsed: Result<(), Vec<FieldError>>| {
            parsed.map_err(|errors| errors.into_iter().map(|e| e.pointer).collect::<Vec<_>>())
        };
        let callback = |body: &Value| match Callback::parse(
            body.to_string().as_bytes(),
            policy::product::Product::default(),
        ) {
            Err(CallbackError::Invalid(errors)) => Err(errors),
            parsed => parsed.map(drop).map_err(|_| Vec::new()),
        };
        let mut checked = 0;
        let mut compare = |schema, valid: &Value, parse: &dyn Fn(&Value) -> Result<(), _>| {
            checked += compare_limits(&schema, valid, &|body| of_body(parse(body)));
        };
        compare(schema_of::<CallbackRequest>(), &task, &callback);
        compare(schema_of::<StartRequest>(), &task, &parse::<StartRequest>);
        let face_verify = json!({ "biz_type": "1", "biz_id": "b", "product_code": "ID_PRO",
            "meta_info": "{}" });
        compare(
            schema_of::<FaceVerifyStartRequest>(),
            &face_verify,
            &parse::<FaceVerifyStartRequest>,
        );
        compare(schema_of::<ReviewRequest>(), &review, &parse::<ReviewRequest>);
        compare(
            schema_of::<RefetchRequest>(),
            &json!({ "state": "failed" }),
            &parse::<RefetchRequest>,
        );
        compare(schema_of::<SceneRequest>(), &json!({}), &parse::<SceneRequest>);
        compare(
            schema_of::<OwnSceneRequest>(),
            &json!({ "biz_type": "a" }),
            &parse::<OwnSceneRequest>,
        );
        compare(schema_of::<RedeliveryRequest>(), &json!({}), &parse::<RedeliveryRequest>);
        compare(schema_of::<BacktestRequest>(), &json!({}), &parse::<BacktestRequest>);
        assert!(checked > 250, "{checked}");
    }

    fn parse<T: RequestBody>(body: &Value) -> Result<(), Vec<FieldError>> {
        T::parse(body.as_object().unwrap()).map(drop)
    }

    fn schema_of<T: utoipa::PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    /// Tries texts within and beyond what the schema allows for each member; how many.
    fn compare_limits(
        schema: &Value,
        valid: &Value,
        parse: &dyn Fn(&Value) -> Result<(), Vec<&'static str>>,
    ) -> usize {
        assert_eq!(parse(valid), Ok(()));
        let mut tried = 0;
        for (name, member) in schema["properties"].as_object().unwrap() {
            let Some(pattern) = member["pattern"].as_str() else { continue };
            let pattern = regex::Regex::new(pattern).unwrap();
            let most =
                member["maxLength"].as_u64().map_or(8, |most| usize::try_from(most).unwrap());
            let least = member["minLength"].as_u64().unwrap_or(0);
            let texts =
                ["", "a", "A1", "approve", "failed", "review", "a b", "订单", "a-", "#", "_"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain(
                        ["\0", "\u{7f}", "\u{9f}", "line\nbreak", "\u{1b}[31m"].map(str::to_owned),
                    )
                    .chain(["a".repeat(most), "a".repeat(most + 1)]);
            for text in texts {
                let length = text.chars().count();
                let limit = member["maxLength"].is_null() || length <= most;
                let allowed = pattern.is_match(&text) && limit && length as u64 >= least;
                let mut body = valid.clone();
                body[name] = text.clone().into();
                let pointer = format!("/{name}");
                let accepted = match parse(&body) {
                    Ok(()) => true,
                    Err(pointers) => {
                        assert_eq!(pointers, [pointer.as_str()], "{text:?}");
                        false
                    }
                };
                assert_eq!(accepted, allowed, "{pointer} {text:?}");
                tried += 1;
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.map(|name| name.as_str().unwrap()) {
            let mut body = valid.clone();
            body.as_object_mut().unwrap().remove(name);
            assert_eq!(parse(&body).unwrap_err(), [format!("/{name}")]);
        }
        tried
    }
}
