//! Signatures against those that the vendor's own SDKs and documents give.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{percent_encode, v2, v3};

#[derive(Deserialize)]
struct V2Case {
    name: String,
    method: String,
    params: BTreeMap<String, String>,
    access_key_secret: String,
    string_to_sign: String,
    signature: String,
}

#[derive(Deserialize)]
struct V3Case {
    name: String,
    method: String,
    pathname: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
    hashed_payload: String,
    access_key_id: String,
    access_key_secret: String,
    canonical_request: String,
    string_to_sign: String,
    authorization: String,
}

/// In an order that no sorting would leave alone.
fn pairs(map: BTreeMap<String, String>) -> Vec<(String, String)> {
    map.into_iter().rev().collect()
}

#[test]
fn rpc_signatures_are_those_of_the_vendors_sdks() {
    let text = include_str!("../../tests/fixtures/vectors/v2_hmac_sha1.json");
    let cases: Vec<V2Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 22);
    for case in cases {
        let mut params = pairs(case.params);
        let signed = v2::string_to_sign(&case.method, &params);
        assert_eq!(signed, case.string_to_sign, "{}", case.name);
        assert_eq!(
            v2::signature(&case.access_key_secret, &signed),
            case.signature,
            "{}",
            case.name
        );
        // As a verifier sees it: the signature is among the parameters.
        params.push(("Signature".to_owned(), case.signature));
        assert_eq!(v2::string_to_sign(&case.method, &params), signed, "{}", case.name);
    }
}

#[test]
fn header_signatures_are_those_of_the_vendors_sdks() {
    let text = include_str!("../../tests/fixtures/vectors/v3_acs3_hmac_sha256.json");
    let cases: Vec<V3Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let query = pairs(case.query);
        let headers: Vec<_> = pairs(case.headers)
            .into_iter()
            .map(|(name, value)| (name.to_ascii_uppercase(), format!(" {value}\t")))
            .collect();
        let (method, path) = (case.method.as_str(), case.pathname.as_str());
        let hashed = v3::hash(case.body.as_bytes());
        assert_eq!(hashed, case.hashed_payload, "{}", case.name);
        let canonical = v3::canonical_request(method, path, &query, &headers, &hashed);
        assert_eq!(canonical, case.canonical_request, "{}", case.name);
        assert_eq!(v3::string_to_sign(&canonical), case.string_to_sign, "{}", case.name);
        let authorization = v3::authorization(
            &case.access_key_id,
            &case.access_key_secret,
            method,
            path,
            &query,
            &headers,
            &hashed,
        );
        assert_eq!(authorization, case.authorization, "{}", case.name);
    }
}

#[test]
fn only_unreserved_characters_stay() {
    assert_eq!(percent_encode("AZaz09-_.~"), "AZaz09-_.~");
    assert_eq!(percent_encode(" +*/:!'()%"), "%20%2B%2A%2F%3A%21%27%28%29%25");
    assert_eq!(percent_encode("张"), "%E5%BC%A0");
}
