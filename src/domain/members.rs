//! Reading the members of a JSON object: every wrong one is told at once, by its JSON pointer and
//! never by its value.

use serde_json::{Map, Value};

/// One wrong member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer (RFC 6901).
    pub pointer: &'static str,
    /// What is wrong with it.
    pub detail: &'static str,
}

/// Reads members and collects what is wrong.
#[derive(Debug)]
pub struct Members<'a> {
    members: &'a Map<String, Value>,
    /// What was wrong so far.
    pub errors: Vec<FieldError>,
}

impl<'a> Members<'a> {
    /// Nothing read yet.
    pub fn of(members: &'a Map<String, Value>) -> Self {
        Self { members, errors: Vec::new() }
    }

    /// As it came.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    /// Remembers what is wrong.
    pub fn fail<T>(&mut self, pointer: &'static str, detail: &'static str) -> Option<T> {
        self.errors.push(FieldError { pointer, detail });
        None
    }

    /// A string that must be there. The member is what follows the pointer's slash.
    pub fn required<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if matches!(self.get(name(pointer)), None | Some(Value::Null)) {
            return self.fail(pointer, "is required");
        }
        self.optional(pointer, parse)
    }

    /// A string that may be there; `null` is as good as absent.
    pub fn optional<T>(
        &mut self,
        pointer: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        match self.get(name(pointer)) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => match parse(text) {
                Ok(value) => Some(value),
                Err(detail) => self.fail(pointer, detail),
            },
            Some(_) => self.fail(pointer, "must be a string"),
        }
    }

    /// A whole number that may be there.
    pub fn whole(&mut self, pointer: &'static str) -> Option<i64> {
        match self.get(name(pointer)) {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_i64() {
                Some(number) => Some(number),
                None => self.fail(pointer, "must be a whole number"),
            },
        }
    }

    /// Refuses members that are none of these: a misspelt one must not silently mean nothing.
    pub fn only(&mut self, known: &[&str]) {
        if self.members.keys().any(|name| !known.contains(&name.as_str())) {
            self.errors.push(FieldError { pointer: "", detail: "has a member that is not known" });
        }
    }
}

/// The last part of a pointer.
fn name(pointer: &'static str) -> &'static str {
    pointer.rsplit('/').next().unwrap_or(pointer)
}
