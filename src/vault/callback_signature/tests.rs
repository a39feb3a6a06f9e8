//! Our signatures against the public example, against an independent library, and against abuse.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use standardwebhooks::Webhook;

use super::*;
use crate::domain::clock::Clock;

// The public libraries' own example.
const EXAMPLE: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
const SENT: i64 = 1_649_367_553;
const TOLERANCE: Duration = Duration::minutes(5);

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// Verifies `BODY` with the example secret, at the moment it was sent.
fn judge(timestamp: &str, signature: &str) -> Result<(), Refusal> {
    let headers = SignedHeaders { id: ID, timestamp, signature };
    verify(&[secret(EXAMPLE)], headers, BODY, at(SENT), TOLERANCE)
}

/// Signs any text as the timestamp, as a sender with the secret could.
fn signed_at(timestamp: &str) -> String {
    format!("v1,{}", STANDARD.encode(secret(EXAMPLE).mac(ID, timestamp, BODY)))
}

#[test]
fn the_public_example_signs_as_published() {
    let signature = sign(&secret(EXAMPLE), ID, SENT, BODY);
    assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    assert_eq!(judge(&SENT.to_string(), &signature), Ok(()));
}

#[test]
fn the_independent_library_and_we_accept_each_other() {
    let theirs = Webhook::new(EXAMPLE).unwrap();
    let now = Clock::system().now();
    let sent = now.unix_timestamp();

    let signature = theirs.sign(ID, sent, BODY).unwrap();
    let headers = SignedHeaders { id: ID, timestamp: &sent.to_string(), signature: &signature };
    assert_eq!(verify(&[secret(EXAMPLE)], headers, BODY, now, TOLERANCE), Ok(()));

    let ours = sign(&secret(EXAMPLE), ID, sent, BODY);
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static(ID));
    headers.insert("webhook-timestamp", sent.into());
    headers.insert("webhook-signature", ours.parse().unwrap());
    theirs.verify(BODY, &headers).unwrap();
}

#[test]
fn any_of_several_secrets_verifies_while_they_rotate() {
    let timestamp = SENT.to_string();
    let by_old = sign(&secret(OTHER), ID, SENT, BODY);
    let headers = SignedHeaders { id: ID, timestamp: &timestamp, signature: &by_old };
    let check = |secrets: &[Secret]| verify(secrets, headers, BODY, at(SENT), TOLERANCE);
    assert_eq!(check(&[secret(EXAMPLE), secret(OTHER)]), Ok(()));
    assert_eq!(check(&[secret(OTHER), secret(EXAMPLE)]), Ok(()));
    assert_eq!(check(&[secret(EXAMPLE)]), Err(Refusal::SignatureInvalid));
    assert_eq!(check(&[]), Err(Refusal::SignatureInvalid));
}

#[test]
fn any_signature_verifies_and_other_versions_are_ignored() {
    let good = sign(&secret(EXAMPLE), ID, SENT, BODY);
    let bad = sign(&secret(OTHER), ID, SENT, BODY);
    let timestamp = SENT.to_string();
    assert_eq!(judge(&timestamp, &format!("{bad} {good}")), Ok(()));
    assert_eq!(judge(&timestamp, &format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhq {good}")), Ok(()));
    assert_eq!(judge(&timestamp, &format!("nonsense  ,, {good} ")), Ok(()));
    let as_other_version = good.replace("v1,", "v1a,");
    assert_eq!(judge(&timestamp, &as_other_version), Err(Refusal::SignatureInvalid));
}

#[test]
fn cut_signatures_are_refused() {
    let good = sign(&secret(EXAMPLE), ID, SENT, BODY);
    for length in 0..good.len() {
        let cut = judge(&SENT.to_string(), &good[..length]);
        assert_eq!(cut, Err(Refusal::SignatureInvalid), "{length} characters");
    }
}

#[test]
fn a_header_beyond_its_bounds_is_refused_unread() {
    let timestamp = SENT.to_string();
    let good = sign(&secret(EXAMPLE), ID, SENT, BODY);
    let entries = |n: usize| vec!["v1,x"; n].join(" ");
    assert_eq!(judge(&timestamp, &format!("{} {good}", entries(15))), Ok(()));
    let many = judge(&timestamp, &format!("{} {good}", entries(16)));
    assert_eq!(many, Err(Refusal::SignatureInvalid));
    let filler = "x".repeat(MAX_HEADER_BYTES - good.len() - 1);
    assert_eq!(judge(&timestamp, &format!("{good} {filler}")), Ok(()));
    assert_eq!(judge(&timestamp, &format!("{good} {filler}x")), Err(Refusal::SignatureInvalid));
}

#[test]
fn the_window_is_closed_just_beyond_the_tolerance() {
    let signature = sign(&secret(EXAMPLE), ID, SENT, BODY);
    let timestamp = SENT.to_string();
    let headers = SignedHeaders { id: ID, timestamp: &timestamp, signature: &signature };
    let secrets = [secret(EXAMPLE)];
    let check = |now| verify(&secrets, headers, BODY, now, TOLERANCE);
    for distance in [-300, 0, 300] {
        assert_eq!(check(at(SENT + distance)), Ok(()), "{distance} s");
    }
    let late = Err(Refusal::TimestampOutOfTolerance);
    assert_eq!(check(at(SENT + 300) + Duration::NANOSECOND), late);
    assert_eq!(check(at(SENT - 300) - Duration::NANOSECOND), late);
}

#[test]
fn well_signed_nonsense_is_no_time() {
    let extremes = [i64::MIN.to_string(), i64::MAX.to_string()];
    let garbage = ["", " ", "now", "1e9", "-0", "9223372036854775808", "１６４９３６７５５３"];
    let spelt_otherwise = [format!("+{SENT}"), format!("0{SENT}"), format!("{SENT}.0")];
    for text in extremes.iter().chain(&spelt_otherwise).map(String::as_str).chain(garbage) {
        let refusal = Err(Refusal::TimestampOutOfTolerance);
        assert_eq!(judge(text, &signed_at(text)), refusal, "{text:?}");
    }
}

#[test]
fn headers_and_timestamp_are_judged_without_the_body() {
    let check = |timestamp: &str, signature: &str| {
        SignedHeaders { id: ID, timestamp, signature }.check(at(SENT), TOLERANCE).map(|_| ())
    };
    let unrelated = sign(&secret(OTHER), ID, SENT, b"another body");
    assert_eq!(check("0", "v1,AAAA"), Err(Refusal::SignatureInvalid));
    assert_eq!(check(&SENT.to_string(), "v1a,xyz"), Err(Refusal::SignatureInvalid));
    assert_eq!(check("0", &unrelated), Err(Refusal::TimestampOutOfTolerance));
    assert_eq!(check(&SENT.to_string(), &unrelated), Ok(()));
}

#[test]
fn only_who_signs_well_is_told_that_seconds_are_meant() {
    for per_second in [1_000, 1_000_000, 1_000_000_000] {
        for distance in [-300, 0, 300] {
            let text = ((SENT + distance) * per_second).to_string();
            let told = judge(&text, &signed_at(&text));
            assert_eq!(told, Err(Refusal::TimestampNotSeconds), "{text}");
            let stranger = judge(&text, &sign(&secret(OTHER), ID, SENT, BODY));
            assert_eq!(stranger, Err(Refusal::TimestampOutOfTolerance), "{text}");
        }
        for distance in [-301, 301] {
            let text = ((SENT + distance) * per_second).to_string();
            let stale = judge(&text, &signed_at(&text));
            assert_eq!(stale, Err(Refusal::TimestampOutOfTolerance), "{text}");
        }
    }
}

#[test]
fn nothing_verifies_under_a_generated_secret() {
    let dummy = [Secret::generate().unwrap()];
    let signature = sign(&secret(EXAMPLE), ID, SENT, BODY);
    let headers = SignedHeaders { id: ID, timestamp: &SENT.to_string(), signature: &signature };
    let judged = verify(&dummy, headers, BODY, at(SENT), TOLERANCE);
    assert_eq!(judged, Err(Refusal::SignatureInvalid));
}

#[test]
fn a_secret_must_be_base64_of_a_fitting_length() {
    let of = |n: usize| Secret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; n])));
    assert!(of(24).is_ok() && of(64).is_ok());
    assert_eq!(of(23).unwrap_err(), SecretError::Length(23));
    assert_eq!(of(65).unwrap_err(), SecretError::Length(65));
    assert_eq!(Secret::parse("whsec_***").unwrap_err(), SecretError::NotBase64);
    let bare = EXAMPLE.strip_prefix(SECRET_PREFIX).unwrap();
    assert_eq!(sign(&secret(bare), ID, SENT, BODY), sign(&secret(EXAMPLE), ID, SENT, BODY));
    assert_eq!(format!("{:?}", secret(EXAMPLE)), "Secret(..)");
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(part in 0_usize..4, bit in any::<prop::sample::Index>()) {
        let signature = sign(&secret(EXAMPLE), ID, SENT, BODY);
        let mut parts = [ID.as_bytes().to_vec(), SENT.to_string().into_bytes(),
                         signature.into_bytes(), BODY.to_vec()];
        let bit = bit.index(parts[part].len() * 8);
        parts[part][bit / 8] ^= 1 << (bit % 8);
        let [id, timestamp, signature, body] = parts;
        // Bytes that are no text never get this far: headers are read as text.
        if let (Ok(id), Ok(timestamp), Ok(signature)) = (str::from_utf8(&id),
            str::from_utf8(&timestamp), str::from_utf8(&signature))
        {
            let headers = SignedHeaders { id, timestamp, signature };
            let judged = verify(&[secret(EXAMPLE)], headers, &body, at(SENT), TOLERANCE);
            let stale = part == 1 && judged == Err(Refusal::TimestampOutOfTolerance);
            prop_assert!(stale || judged == Err(Refusal::SignatureInvalid));
        }
    }

    #[test]
    fn arbitrary_headers_never_verify(id in ".*", timestamp in ".*", signature in "(v1,|v1a,| |.)*",
                                      body in prop::collection::vec(any::<u8>(), 0..64)) {
        let headers = SignedHeaders { id: &id, timestamp: &timestamp, signature: &signature };
        let judged = verify(&[secret(EXAMPLE)], headers, &body, at(SENT), TOLERANCE);
        prop_assert!(judged.is_err());
    }

    #[test]
    fn any_well_signed_timestamp_gets_an_answer(seconds in any::<i64>(), now in any::<i32>()) {
        let text = seconds.to_string();
        let headers = SignedHeaders { id: ID, timestamp: &text, signature: &signed_at(&text) };
        let judged = verify(&[secret(EXAMPLE)], headers, BODY, at(now.into()), TOLERANCE);
        let near = i128::from(seconds).abs_diff(i128::from(now)) <= 300;
        let refused = matches!(
            judged,
            Err(Refusal::TimestampOutOfTolerance | Refusal::TimestampNotSeconds)
        );
        prop_assert_eq!((judged.is_ok(), refused), (near, !near));
    }
}
