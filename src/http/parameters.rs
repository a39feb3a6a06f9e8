//! Query parameters: each known, each once.

use std::collections::BTreeMap;

use super::problem::Problem;

/// What stands behind the `?`.
#[derive(Debug)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query string; a parameter given twice is refused.
    pub fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if parameters.contains_key(&*name) {
                return Err(Problem::invalid_field().field(name.into_owned(), "is given twice"));
            }
            parameters.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(parameters))
    }

    /// Takes one out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Refuses what is left: a misspelt filter must not silently answer everything.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::invalid_field().field(name, "is not a parameter here")),
        }
    }
}
