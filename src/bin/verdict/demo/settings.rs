//! The demo's configuration file.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use toml::{Table, Value};

/// The addresses and secrets in the file.
pub(super) struct Parts<'a> {
    pub(super) database: &'a str,
    pub(super) provider: SocketAddr,
    pub(super) backend: SocketAddr,
    pub(super) sandbox_secret: &'a str,
    pub(super) webhook_secret: &'a str,
    pub(super) vault_secret: String,
    pub(super) images: &'a Path,
}

/// The settings of `--settings`, which replace the demo's own.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Table> {
    let Some(file) = file else { return Ok(Table::new()) };
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("{} cannot be read", file.display()))?;
    text.parse().with_context(|| format!("{} is no TOML", file.display()))
}

/// The file, with `more` in place of what it says of the same keys.
pub(super) fn text(parts: &Parts<'_>, listeners: [u16; 3], more: &Table) -> anyhow::Result<String> {
    let own = own(parts, listeners);
    if more.is_empty() {
        return Ok(own);
    }
    let mut all: Table = own.parse()?;
    merge(&mut all, more);
    Ok(toml::to_string(&all)?)
}

fn merge(into: &mut Table, more: &Table) {
    for (key, value) in more {
        match (into.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

fn own(parts: &Parts<'_>, [http, operations, console]: [u16; 3]) -> String {
    let Parts { database, provider, backend, sandbox_secret, webhook_secret, vault_secret, images } =
        parts;
    let images = images.display();
    format!(
        r#"# Written by `verdict demo`; every secret in it is made anew at each start.
[http]
listen = "127.0.0.1:{http}"
public_url = "http://127.0.0.1:{http}"
[operations]
listen = "127.0.0.1:{operations}"
[console]
listen = "127.0.0.1:{console}"
[database]
url = "{database}"
[sources.app]
secrets = ["{webhook_secret}"]
return_urls = ["http://{backend}/done"]
[provider]
endpoint = "http://{provider}"
access_key_id = "demo-key"
access_key_secret = "{sandbox_secret}"
queries_per_second = 50
[provider.face_verify]
callback_url = "http://127.0.0.1:{http}/v1/provider-callbacks/default"
[[vault.keys]]
id = "demo"
secret = "{vault_secret}"
[webhooks]
allow_private = ["127.0.0.1", "localhost"]
[images]
store = "file://{images}"
[reviews]
# Many practice pairs, so that a newcomer meets one.
golden_share = 0.4
[worker]
unfinished_schedule_ms = [300, 500, 1000]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_settings_replace_only_what_they_name() {
        let address = "127.0.0.1:1".parse().unwrap();
        let parts = Parts {
            database: "postgres://u:p@127.0.0.1/d",
            provider: address,
            backend: address,
            sandbox_secret: "s",
            webhook_secret: "w",
            vault_secret: "v".to_owned(),
            images: Path::new("/images"),
        };
        let more = "[reviews]\ngolden_share = 0\nfour_eyes = \"all\"\n[http]\nwait = 1".parse();
        let all: Table = text(&parts, [1, 2, 3], &more.unwrap()).unwrap().parse().unwrap();
        assert_eq!(all["reviews"]["golden_share"].as_integer(), Some(0));
        assert_eq!(all["reviews"]["four_eyes"].as_str(), Some("all"));
        assert_eq!(all["http"]["listen"].as_str(), Some("127.0.0.1:1"));
        assert_eq!(all["images"]["store"].as_str(), Some("file:///images"));
    }
}
