//! One text of a page in one language, and the macro that declares the texts of a page.

use std::fmt;

/// A text; `{name}` in it is filled in by [`Phrase::with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase(&'static str);

impl Phrase {
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The text with `{name}` replaced.
    pub fn with(self, name: &str, value: impl fmt::Display) -> Filled {
        Filled(self.0.to_owned()).with(name, value)
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A text with values in it. Not markup: templates escape it like any other value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled(String);

impl Filled {
    #[must_use]
    pub fn with(self, name: &str, value: impl fmt::Display) -> Self {
        Self(self.0.replace(&format!("{{{name}}}"), &value.to_string()))
    }
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Declares the texts of one page, each in English and in Chinese: a missing translation does not
/// compile.
macro_rules! texts {
    ($(#[$doc:meta])* pub struct $Name:ident { $($key:ident: $en:literal, $zh:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $Name {
            $(pub $key: $crate::console::texts::phrase::Phrase,)*
        }

        impl $Name {
            pub const EN: Self = Self { $($key: $crate::console::texts::phrase::Phrase::new($en),)* };
            pub const ZH: Self = Self { $($key: $crate::console::texts::phrase::Phrase::new($zh),)* };
            /// Key, English, Chinese.
            #[cfg(test)]
            pub const PAIRS: &[(&str, &str, &str)] = &[$((stringify!($key), $en, $zh),)*];
        }
    };
}
