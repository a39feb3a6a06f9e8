//! Query parameters. One declaration is the description in the OpenAPI document and the parser, which
//! reports every wrong, repeated and unknown parameter at once, by name and never by value.

use std::borrow::Cow;
use std::str::FromStr;

use super::problem::Problem;

/// More unknown parameters than a person reads. The rest is not named, so that an answer stays short.
const MAX_UNKNOWN: usize = 16;

/// Reads parameters and collects what is wrong.
#[derive(Debug)]
pub(super) struct Parameters<'a> {
    given: Vec<Given<'a>>,
    wrong: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// A wrong value was written with a `+`, which decodes to a space.
    lost_a_plus: bool,
}

#[derive(Debug)]
struct Given<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    has_plus: bool,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(query: Option<&'a str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let given = pairs.flat_map(|pair| {
            let has_plus = pair.split_once('=').is_some_and(|(_, value)| value.contains('+'));
            let decoded = url::form_urlencoded::parse(pair.as_bytes());
            decoded.map(move |(name, value)| Given { name, value, has_plus })
        });
        Self { given: given.collect(), wrong: Vec::new(), lost_a_plus: false }
    }

    /// The value; `None` where it is left out, or wrong and noted.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let place = self.given.iter().position(|given| given.name == name)?;
        let first = self.given.remove(place);
        if self.given.iter().any(|given| given.name == name) {
            self.given.retain(|given| given.name != name);
            self.wrong.push((name.into(), "is given twice".into()));
            return None;
        }
        let must_be = match parse(&first.value) {
            Ok(value) => return Some(value),
            Err(must_be) => must_be,
        };
        self.lost_a_plus |= first.has_plus;
        let detail = if first.has_plus {
            format!("a + in a query string means a space: write + as %2B; the value {must_be}")
                .into()
        } else {
            must_be.into()
        };
        self.wrong.push((name.into(), detail));
        None
    }

    /// As [`Self::take`], of a parameter that must be given.
    pub(super) fn require<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if !self.given.iter().any(|given| given.name == name) {
            self.wrong.push((name.into(), "is required".into()));
        }
        self.take(name, parse)
    }

    /// Refuses what was wrong, and what is left: a misspelt filter must not list everything silently.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let mut unknown: Vec<String> = Vec::new();
        for given in self.given {
            if unknown.len() < MAX_UNKNOWN && !unknown.iter().any(|name| *name == given.name) {
                unknown.push(given.name.into_owned());
            }
        }
        let unknown = unknown.into_iter().map(|name| (name.into(), "unknown parameter".into()));
        self.wrong.extend(unknown);
        if self.wrong.is_empty() {
            return Ok(());
        }
        let problem =
            if self.lost_a_plus { Problem::plus_in_query() } else { Problem::invalid_field() };
        Err(self
            .wrong
            .into_iter()
            .fold(problem, |problem, (name, detail)| problem.field(name, detail)))
    }
}

/// For an operation without parameters.
pub(super) fn refuse_any(query: Option<&str>) -> Result<(), Problem> {
    Parameters::of(query).finish()
}

/// Most items of one page.
pub(super) const MAX_PAGE: u8 = 100;

/// The number of items of a page.
pub(super) fn page_limit<T: FromStr + PartialOrd + From<u8>>(
    text: &str,
) -> Result<T, &'static str> {
    let number: Option<T> = text.parse().ok();
    number
        .filter(|number| (T::from(1)..=T::from(MAX_PAGE)).contains(number))
        .ok_or("must be a whole number from 1 to 100")
}

/// A text that is compared with others, and may be any.
#[expect(clippy::unnecessary_wraps, reason = "has the form of a parser")]
pub(super) fn any_text(text: &str) -> Result<String, &'static str> {
    Ok(text.to_owned())
}

/// Declares the parameters of an operation: the type of each and how its text is parsed. Each may be
/// left out.
///
/// ```ignore
/// query_parameters! {
///     pub(super) struct PageParameters {
///         /// Maximum number of items.
///         #[param(minimum = 1, maximum = 100)]
///         limit: i64 = page_limit,
///     }
/// }
/// ```
macro_rules! query_parameters {
    ($(#[$about:meta])* $visible:vis struct $name:ident {
        $($(#[$param:meta])* $member:ident: $kind:ident = $parse:expr,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        $visible struct $name {
            $($(#[$param])* #[param(required = false, value_type = $kind)]
            $visible $member: Option<$kind>,)+
        }

        impl $name {
            $visible fn parse(
                query: Option<&str>,
            ) -> Result<Self, $crate::http::problem::Problem> {
                let mut parameters = $crate::http::query_parameters::Parameters::of(query);
                let parsed = Self { $($member: parameters.take(stringify!($member), $parse),)+ };
                parameters.finish()?;
                Ok(parsed)
            }
        }
    };
}
pub(super) use query_parameters;

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use utoipa::IntoParams;
    use utoipa::openapi::path::ParameterIn;

    use super::*;

    query_parameters! {
        struct Example {
            /// How many.
            #[param(minimum = 1, maximum = 100)]
            limit: i64 = page_limit,
            /// Which.
            name: String = any_text,
        }
    }

    fn told(query: &str) -> Vec<(String, String)> {
        let problem = Example::parse(Some(query)).expect_err(query).example();
        let text = |error: &Value, member: &str| error[member].as_str().unwrap().to_owned();
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| (text(error, "pointer"), text(error, "detail"))).collect()
    }

    #[test]
    fn every_wrong_repeated_and_unknown_parameter_is_reported_at_once() {
        let of = |query: &str| told(query).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            of("colour=red&name=a&size=1&limit=0&name=b"),
            ["limit", "name", "colour", "size"]
        );
        assert_eq!(of("b&a=1&b=2"), ["b", "a"]);
        let many: Vec<String> = (0..1000).map(|n| format!("x{n}=1")).collect();
        assert_eq!(of(&many.join("&")).len(), MAX_UNKNOWN);
        assert_eq!(told("limit=1&limit=1"), [("limit".to_owned(), "is given twice".to_owned())]);
    }

    #[test]
    fn plus_that_became_a_space_is_named_where_the_value_is_wrong() {
        let problem = Example::parse(Some("limit=+5&name=a+b")).unwrap_err();
        assert_eq!(problem.code().as_str(), "plus-in-query");
        assert!(told("limit=+5")[0].1.contains("write + as %2B"));
        let parsed = Example::parse(Some("limit=%2B5&name=a+b")).unwrap();
        assert_eq!((parsed.limit, parsed.name.as_deref()), (Some(5), Some("a b")));
    }

    #[test]
    fn left_out_parameters_are_no_mistake() {
        for query in [None, Some(""), Some("&")] {
            let parsed = Example::parse(query).unwrap();
            assert_eq!((parsed.limit, parsed.name), (None, None));
        }
        assert!(refuse_any(None).is_ok() && refuse_any(Some("page=2")).is_err());
    }

    #[test]
    fn description_has_the_parameters_that_the_parser_knows() {
        let described = Example::into_params(|| Some(ParameterIn::Query));
        let described = serde_json::to_value(described).unwrap();
        let names: Vec<&str> =
            described.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["limit", "name"]);
        assert!(described.as_array().unwrap().iter().all(|it| it["required"] == false));
        assert_eq!(described[0]["schema"]["type"], "integer");
    }
}
