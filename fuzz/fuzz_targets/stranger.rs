//! Arbitrary bytes where strangers can place them: bodies of callbacks, returns of users, callbacks in
//! the provider's name, and addresses that the service is to call.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use policy::product::Product;
use verdict::domain::callback::Callback;
use verdict::domain::returning::{Notified, Returned};
use verdict::images::AllowedHosts;
use verdict::images::guard::vet;
use verdict::webhooks::targets::Targets;

// Invariants for any input: no panic, no control character in a key, and no address that is admitted
// is in the clear or a private one.
fuzz_target!(|input: &[u8]| {
    for product in [Product::VerifyResult, Product::FaceVerify] {
        if let Ok(callback) = Callback::parse(input, product) {
            let keys = [callback.biz_type.as_str(), callback.biz_id.as_str()];
            assert!(keys.into_iter().all(|key| !key.is_empty() && !key.contains(char::is_control)));
        }
    }
    let Ok(text) = str::from_utf8(input) else { return };
    let returned = Returned::parse(text);
    assert!(returned.certify_id.is_none_or(|id| id.as_str().len() <= 64));
    let _ = Notified::parse(text);
    let hosts = AllowedHosts::parse(["*.example.com"]).expect("a pattern");
    for url in [hosts.admit(text).ok(), Targets::default().admit(text).ok()].into_iter().flatten() {
        assert_eq!(url.scheme(), "https", "{url}");
        assert!(url.username().is_empty() && url.password().is_none(), "{url}");
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_public = host.parse::<IpAddr>().is_ok_and(|address| vet(address).is_ok());
        assert!(is_public || host.parse::<IpAddr>().is_err(), "{url}");
    }
    if let Ok(url) = hosts.admit(text) {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        assert!(host.ends_with(".example.com"), "{url}");
    }
});
