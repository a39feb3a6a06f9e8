//! Query parameters: unknown and repeated ones are refused.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;

#[derive(Debug)]
pub struct Parameters {
    values: BTreeMap<String, String>,
    /// Those with a literal `+`, which decodes to a space.
    lost_a_plus: BTreeSet<String>,
}

#[derive(Debug)]
pub struct WrongParameter {
    name: &'static str,
    detail: String,
    lost_a_plus: bool,
}

impl Parameters {
    pub fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let (mut values, mut lost_a_plus) = (BTreeMap::new(), BTreeSet::new());
        for pair in query.unwrap_or_default().split('&') {
            for (name, value) in url::form_urlencoded::parse(pair.as_bytes()) {
                if values.contains_key(&*name) {
                    return Err(Problem::invalid_field().field(name.into_owned(), "is given twice"));
                }
                if pair.split_once('=').is_some_and(|(_, value)| value.contains('+')) {
                    lost_a_plus.insert(name.clone().into_owned());
                }
                values.insert(name.into_owned(), value.into_owned());
            }
        }
        Ok(Self { values, lost_a_plus })
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// Takes a parameter out and parses it.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
        must_be: &str,
    ) -> Result<Option<T>, WrongParameter> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(name, must_be)),
        }
    }

    pub fn wrong(&self, name: &'static str, must_be: &str) -> WrongParameter {
        let lost_a_plus = self.lost_a_plus.contains(name);
        let detail = if lost_a_plus {
            format!("a + in a query string means a space: write + as %2B; the value {must_be}")
        } else {
            must_be.to_owned()
        };
        WrongParameter { name, detail, lost_a_plus }
    }

    /// Refuses what is left: a misspelt filter must not list everything silently.
    pub fn finish(self) -> Result<(), Problem> {
        match self.values.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::invalid_field().field(name, "unknown parameter")),
        }
    }
}

impl WrongParameter {
    /// One problem that names all of them.
    pub fn problem(all: Vec<Self>) -> Problem {
        let problem = if all.iter().any(|wrong| wrong.lost_a_plus) {
            Problem::plus_in_query()
        } else {
            Problem::invalid_field()
        };
        all.into_iter().fold(problem, |problem, wrong| problem.field(wrong.name, wrong.detail))
    }
}

impl From<WrongParameter> for Problem {
    fn from(wrong: WrongParameter) -> Self {
        WrongParameter::problem(vec![wrong])
    }
}
