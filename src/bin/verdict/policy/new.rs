//! `verdict policy new`: the default policy under another name, as a beginning. It has comments, and
//! a test case for each rule.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use policy::visible;

use crate::context::Usage;
use crate::output::say_done;

const DEFAULT: &str = include_str!("../../../../config/policy.toml");
const DEFAULT_NAME: &str = "name = \"default\"";

/// Never replaces a file.
pub(super) fn write(file: &Path, name: &str) -> anyhow::Result<()> {
    if !visible::is_word(name) {
        return Err(Usage("--name must be visible characters without blanks".to_owned()).into());
    }
    let made = File::options().write(true).create_new(true).open(file);
    let written = made.and_then(|mut file| file.write_all(text(name).as_bytes()));
    written.with_context(|| format!("{} cannot be made", file.display()))?;
    let file = file.display();
    say_done(format_args!(
        "{file} is the default policy under the name {name}. Change it, then:\n  \
         verdict policy check {file}\n  verdict policy backtest {file}\n  \
         verdict policy add {file}"
    ));
    Ok(())
}

fn text(name: &str) -> String {
    DEFAULT.replacen(DEFAULT_NAME, &format!("name = {}", toml::Value::from(name)), 1)
}

#[cfg(test)]
mod tests {
    use policy::Policy;

    use super::*;

    #[test]
    fn new_policy_has_its_name_and_no_errors() {
        let policy = Policy::load(&text("shop-\"2\"")).expect("a good policy");
        assert_eq!(policy.name(), "shop-\"2\"");
    }
}
