//! An error as a person reads it: our own sentences, and the cause where a library met the fault.
//!
//! A library's text ("error sending request", "No such file or directory (os error 2)") says less,
//! sends people to the wrong place, and may quote a URL with what is secret in it.

use std::error::Error;
use std::io;

use verdict::causes::{self, Cause};

/// The whole chain in one line.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for link in error.chain() {
        if let Some(cause) = of_library(link) {
            // The errors behind it repeat it.
            said.push(cause.says().to_owned());
            break;
        }
        said.push(link.to_string());
    }
    said.join(": ")
}

/// Why, if a library met the fault.
pub(super) fn cause(error: &anyhow::Error) -> Option<Cause> {
    error.chain().find_map(of_library)
}

/// An I/O error in a few words of ours.
pub(super) fn io(error: &io::Error) -> &'static str {
    causes::of_io(error).says()
}

fn of_library(link: &(dyn Error + 'static)) -> Option<Cause> {
    let theirs = link.is::<io::Error>()
        || link.is::<reqwest::Error>()
        || link.is::<sqlx::Error>()
        || link.is::<rustix::io::Errno>();
    theirs.then(|| causes::of(link).unwrap_or(Cause::Unknown))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn words_of_libraries_are_replaced_by_causes() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let told = |error: anyhow::Error| sentence(&error);
        assert_eq!(told(missing().into()), "it does not exist");
        let named = Err::<(), _>(missing()).context("policy.toml cannot be read").unwrap_err();
        assert_eq!(cause(&named), Some(Cause::NotFound));
        assert_eq!(told(named), "policy.toml cannot be read: it does not exist");
        assert_eq!(told(anyhow::anyhow!("ours").context("and ours")), "and ours: ours");
        let strange = io::Error::other("uncategorized error");
        assert_eq!(told(strange.into()), Cause::Unknown.says());
    }
}
