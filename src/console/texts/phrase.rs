//! One text of a page in one language, and the macro that declares the texts of a page.

use std::fmt;

/// A text; `{name}` in it is filled in by [`Phrase::with`], and of `{name|one row|{name} rows}` the
/// first part if the value is 1, else the second.
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
        let value = value.to_string();
        Self(chosen(&self.0, name, value == "1").replace(&format!("{{{name}}}"), &value))
    }
}

/// The text with the right part of each `{name|one|many}`.
fn chosen(text: &str, name: &str, is_one: bool) -> String {
    let opening = format!("{{{name}|");
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(&opening) {
        let Some(end) = closing(after) else { break };
        let (one, many) = after[..end].split_once('|').unwrap_or_default();
        done.push_str(before);
        done.push_str(if is_one { one } else { many });
        rest = &after[end + 1..];
    }
    done.push_str(rest);
    done
}

/// The place of the brace that closes, behind one that opened.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        None
    })
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
