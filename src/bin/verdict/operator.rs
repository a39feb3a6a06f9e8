//! Who runs a command, as the system knows it. The environment is not asked: whoever runs the
//! command can write there what they like.

use nix::unistd::{Uid, User, gethostname, getuid};
use policy::visible;

/// The uid that the kernel remembers from the login, through `su` and `sudo`.
const LOGIN_UID: &str = "/proc/self/loginuid";
/// Of a process that no login has started.
const NO_LOGIN: u32 = u32::MAX;

/// `cli:ACCOUNT@HOST`, followed by `login:ACCOUNT` where another account had logged in.
pub(super) fn actor() -> String {
    let uid = getuid();
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    let host = host.filter(|host| visible::is_word(host)).unwrap_or_else(|| "unknown".to_owned());
    let actor = format!("cli:{}@{host}", account(uid));
    match login().filter(|login| *login != uid) {
        None => actor,
        Some(login) => format!("{actor} login:{}", account(login)),
    }
}

/// The account's name, or its number where it has none that can be shown.
fn account(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    let name = user.map(|user| user.name).filter(|name| visible::is_word(name));
    name.unwrap_or_else(|| format!("uid-{uid}"))
}

fn login() -> Option<Uid> {
    let uid: u32 = std::fs::read_to_string(LOGIN_UID).ok()?.trim().parse().ok()?;
    (uid != NO_LOGIN).then_some(Uid::from_raw(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_is_an_account_at_a_host() {
        let actor = actor();
        let (account, host) = actor.strip_prefix("cli:").unwrap().split_once('@').unwrap();
        assert!(visible::is_word(account) && !host.is_empty(), "{actor}");
        assert_eq!(account, super::account(getuid()));
        assert_eq!(super::account(Uid::from_raw(4_000_000_001)), "uid-4000000001");
    }
}
