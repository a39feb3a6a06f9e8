//! The list is closed and documented, and errors of libraries map to it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::*;

/// An error of a library, around another.
#[derive(Debug)]
struct Around(Box<dyn Error + Send + Sync>);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error sending request")
    }
}

impl Error for Around {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn docs_list_every_cause_with_its_sentences() {
    let documented = include_str!("../../docs/causes.md");
    let rows: BTreeSet<&str> = documented.lines().filter(|line| line.starts_with("| `")).collect();
    let causes: BTreeSet<String> = Cause::ALL
        .iter()
        .map(|cause| format!("| `{}` | {} | {} |", cause.code(), cause.says(), cause.advice()))
        .collect();
    assert_eq!(rows.len(), Cause::ALL.len());
    for cause in &causes {
        assert!(rows.contains(cause.as_str()), "docs/causes.md lacks:\n{cause}");
    }
}

#[test]
fn the_words_of_libraries_are_not_ours() {
    for cause in Cause::ALL {
        for text in [cause.says(), cause.advice()] {
            for theirs in [
                "entity",
                "uncategorized",
                "builder error",
                "error sending",
                "os error",
                "deadline",
            ] {
                assert!(!text.contains(theirs), "{text}");
            }
        }
    }
}

fn tls(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[test]
fn faults_of_tls_are_told_apart_however_deep_they_lie() {
    use rustls::Error::{AlertReceived, General, InvalidCertificate};
    for (error, cause) in [
        (InvalidCertificate(CertificateError::UnknownIssuer), Cause::TlsUntrusted),
        (InvalidCertificate(CertificateError::BadSignature), Cause::TlsUntrusted),
        (InvalidCertificate(CertificateError::Expired), Cause::TlsExpired),
        (InvalidCertificate(CertificateError::NotValidYet), Cause::TlsNotYetValid),
        (InvalidCertificate(CertificateError::NotValidForName), Cause::TlsWrongName),
        (AlertReceived(AlertDescription::CertificateRequired), Cause::TlsClientCertificate),
        (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), Cause::TlsNotOffered),
        (General("x".to_owned()), Cause::Tls),
    ] {
        assert_eq!(of_io(&tls(error.clone())), cause);
        assert_eq!(of(&Around(Box::new(tls(error.clone())))), Some(cause));
        let twice = io::Error::other(Around(Box::new(tls(error.clone()))));
        assert_eq!(of(&Around(Box::new(twice))), Some(cause));
        assert_eq!(of_database(&sqlx::Error::Io(tls(error.clone()))), Some(cause));
        assert_eq!(of_database(&sqlx::Error::Tls(Box::new(error))), Some(cause));
    }
}

#[test]
fn faults_of_files_and_sockets_are_told_apart() {
    for (code, cause) in [
        (111, Cause::Refused),
        (113, Cause::NoRoute),
        (101, Cause::NoRoute),
        (110, Cause::Timeout),
        (104, Cause::Closed),
        (32, Cause::Closed),
        (98, Cause::PortTaken),
        (99, Cause::NotOurAddress),
        (2, Cause::NotFound),
        (13, Cause::NotPermitted),
        (1, Cause::NotPermitted),
        (21, Cause::IsFolder),
        (20, Cause::NotFolder),
        (30, Cause::ReadOnly),
        (28, Cause::Full),
        (122, Cause::Full),
        (24, Cause::TooManyFiles),
        (23, Cause::TooManyFiles),
        (12, Cause::OutOfResources),
        (36, Cause::BadPath),
        (40, Cause::BadPath),
        (5, Cause::Unknown),
    ] {
        assert_eq!(of_io(&io::Error::from_raw_os_error(code)), cause, "errno {code}");
    }
    let protocol = |text: &str| of_database(&sqlx::Error::Protocol(text.to_owned()));
    let nothing_came = protocol("unexpected response from SSLRequest: 0x00");
    assert_eq!(nothing_came, Some(Cause::Closed));
    assert_eq!(protocol("unexpected response from SSLRequest: 0x48"), Some(Cause::NotTheProtocol));
    assert_eq!(protocol("too many parameter format codes (70000)"), None);
    let not_text = io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    assert_eq!(of_io(&not_text), Cause::NotText);
    assert_eq!(of(&Around("something else".into())), None);
}

#[test]
fn unusable_url_is_distinguished_from_client_setup_failure() {
    let client = reqwest::Client::builder().build().unwrap();
    for url in ["nonsense", "http://"] {
        let error = client.get(url).build().unwrap_err();
        assert_eq!(of(&error), Some(Cause::BadUrl), "{url}");
    }
    let wrong = reqwest::Certificate::from_der(b"no certificate");
    let error = wrong
        .and_then(|wrong| reqwest::Client::builder().tls_certs_only([wrong]).build().map(drop));
    assert_ne!(of(&error.unwrap_err()), Some(Cause::BadUrl));
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_told_as_that() {
    let error = tokio::net::TcpStream::connect("no-such-host.invalid:1").await.unwrap_err();
    assert_eq!(of_io(&error), Cause::UnknownHost, "{error:?}");
}

#[test]
fn sqlstates_are_transient_or_a_mistake() {
    for code in [
        "08006", "57P01", "57P03", "53000", "53100", "53200", "53300", "53400", "40001", "40P01",
        "55P03", "25006", "25P02", "26000", "57014", "28P01", "28000", "3D000", "58030",
    ] {
        assert!(of_sqlstate(code, None).is_some_and(|cause| cause != Cause::Internal), "{code}");
    }
    for code in [
        "42P01", "42703", "42883", "42601", "42804", "22001", "22P02", "22021", "23505", "23502",
        "23503", "54000", "P0001", "0A000", "XX000", "21000", "3F000", "", "4",
    ] {
        assert_eq!(of_sqlstate(code, None), None, "{code}");
    }
    assert_eq!(of_sqlstate("0A000", Some("RevalidateCachedQuery")), Some(Cause::StaleSession));
    assert_eq!(of_sqlstate("28000", Some("InitializeSessionUserId")), Some(Cause::UnknownRole));
}

#[test]
fn bucket_errors_are_mapped_by_code_then_status() {
    for (status, code, cause) in [
        (403, "AccessDenied", Some(Cause::AccessDenied)),
        (403, "", Some(Cause::AccessDenied)),
        (403, "SignatureDoesNotMatch", Some(Cause::WrongSignature)),
        (403, "InvalidAccessKeyId", Some(Cause::UnknownKey)),
        (403, "RequestTimeTooSkewed", Some(Cause::WrongClock)),
        (403, "QuotaExceeded", Some(Cause::Full)),
        (400, "ExpiredToken", Some(Cause::ExpiredCredentials)),
        (400, "AuthorizationHeaderMalformed", Some(Cause::WrongRegion)),
        (301, "PermanentRedirect", Some(Cause::WrongRegion)),
        (404, "NoSuchBucket", Some(Cause::UnknownBucket)),
        (404, "NoSuchKey", Some(Cause::NotFound)),
        (507, "XMinioStorageFull", Some(Cause::Full)),
        (503, "SlowDown", Some(Cause::Throttled)),
        (503, "", Some(Cause::ServerError)),
        (400, "InvalidArgument", None),
    ] {
        assert_eq!(of_s3_answer(status, code), cause, "{status} {code}");
    }
}
