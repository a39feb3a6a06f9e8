//! The remedy for an error: a command to run, or a key to set.

use verdict::causes::Cause;
use verdict::config::{self, ConfigError, ConfigErrors, FromKey, Subject};
use verdict::store::Error;

use crate::access::Refusal;
use crate::context::{ConfigOrigin, Context, Usage};
use crate::error_text;

/// The remedy; `None` where the error's own sentence says it.
pub(super) fn about(error: &anyhow::Error, context: &Context) -> Option<String> {
    for cause in error.chain() {
        if let Some(wrong) = cause.downcast_ref::<ConfigError>() {
            return Some(about_configuration(std::slice::from_ref(wrong), context));
        }
        if let Some(ConfigErrors(wrong)) = cause.downcast_ref() {
            return Some(about_configuration(wrong, context));
        }
        if cause.is::<Usage>() {
            return Some("`--help` after the command shows its options and an example".to_owned());
        }
        if let Some(Refusal { code, .. }) = cause.downcast_ref() {
            return Some(format!("`verdict explain {code}` says what to do"));
        }
        if let Some(refusal) = cause.downcast_ref::<Error>() {
            return Some(verdict::checks::about_database(refusal).to_owned());
        }
    }
    if let Some(cause) = error_text::cause(error).filter(|cause| *cause != Cause::Unknown) {
        return Some(cause.advice().to_owned());
    }
    error.is::<FromKey>().then(|| "`verdict doctor` checks the whole configuration".to_owned())
}

/// More hints than this do not fit one line.
const MOST_KEYS: usize = 3;

fn about_configuration(errors: &[ConfigError], context: &Context) -> String {
    let mut hints: Vec<String> = Vec::new();
    for error in errors {
        let hint = about_subject(&error.subject, context);
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    if hints.len() > MOST_KEYS {
        return "`verdict doctor` shows them one a line, each with what to do".to_owned();
    }
    hints.join("; ")
}

/// Names the place to correct.
pub(super) fn about_subject(subject: &Subject, context: &Context) -> String {
    match subject {
        Subject::Option(_) if context.config_origin == ConfigOrigin::Variable => {
            "set VERDICT_CONFIG to the path of a TOML file that this user can read, or unset it"
                .to_owned()
        }
        Subject::Option(_) => "give the path of a TOML file that this user can read".to_owned(),
        Subject::Text(_) => {
            "it must be TOML, like config/default.toml, which explains every key".to_owned()
        }
        Subject::Key(key) => {
            config::advice(key, context.config_file.as_deref(), &context.environment)
        }
    }
}
