//! A person who works in the console.

use policy::visible;
use strum::{Display, EnumString, IntoStaticStr};
use unicode_normalization::UnicodeNormalization;

use super::ids::UserId;
use super::scenes::Scenes;
use super::scope::Scope;
use super::zone::Zone;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    Zh,
}

impl Language {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The language of a browser, by its header `Accept-Language`: the first of ours that it names.
    pub fn of_browser(accepted: &str) -> Self {
        let mut names = accepted.split(',').map(|part| part.trim_start().to_ascii_lowercase());
        let known = |name: String| match name.get(..2) {
            Some("zh") => Some(Self::Zh),
            Some("en") => Some(Self::En),
            _ => None,
        };
        names.find_map(known).unwrap_or_default()
    }

    /// As HTML names it.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }
}

/// Light, dark, or as the browser says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a person signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Method {
    Password,
    Oidc,
    /// By the link that the demo prints.
    Demo,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub language: Language,
    pub theme: Theme,
    pub zone: Zone,
    pub scopes: Vec<Scope>,
    pub scenes: Scenes,
}

impl User {
    /// The person in the audit log.
    pub fn actor(&self) -> String {
        format!("user:{} person:{}", self.id, self.name)
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// A name: also the person of API keys, so without blanks.
pub fn name(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().count() <= MAX_NAME_CHARS && visible::is_word(text);
    fits.then(|| text.to_owned()).ok_or("must be 1 to 64 visible characters, without blanks")
}

/// Equal for two spellings of one name: capitals, composed or wide characters.
pub fn folded(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browser_gets_the_first_language_that_there_is() {
        for (accepted, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Zh),
            ("de-DE, de, en-GB", Language::En),
            ("fr", Language::En),
            ("", Language::En),
            ("en-US,zh", Language::En),
            ("日本語,ZH", Language::Zh),
        ] {
            assert_eq!(Language::of_browser(accepted), language, "{accepted}");
        }
        assert_eq!("zh".parse(), Ok(Language::Zh));
        assert_eq!(Language::Zh.as_str(), "zh");
    }

    #[test]
    fn name_is_one_visible_word() {
        assert_eq!(name("anna@example.com").as_deref(), Ok("anna@example.com"));
        assert_eq!(name("王芳").as_deref(), Ok("王芳"));
        assert!(name(&"字".repeat(64)).is_ok());
        for bad in ["", "two words", "a\u{200b}b", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(folded("Anna"), folded("ａnna"));
    }
}
