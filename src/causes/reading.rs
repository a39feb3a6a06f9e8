//! Maps errors of libraries to causes. It reads the whole chain, because the last error is the most
//! precise one.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::answers::of_sqlstate;
use super::cause::Cause;

/// The text of a failed look-up in std, which gives it no `ErrorKind`.
const LOOK_UP_FAILED: &str = "failed to lookup address information";

/// Maps an error; `None` if the chain holds no error of a known library.
pub fn of(error: &(dyn Error + 'static)) -> Option<Cause> {
    let mut at = Some(error);
    let mut found = None;
    while let Some(link) = at {
        // The innermost error is the most precise.
        found = of_link(link).or(found);
        at = link.source();
    }
    found
}

fn of_link(link: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(error) = link.downcast_ref::<io::Error>() {
        return Some(of_io(error)).filter(|cause| *cause != Cause::Unknown);
    }
    if let Some(error) = link.downcast_ref::<rustix::io::Errno>() {
        return Some(of_io(&io::Error::from(*error)));
    }
    if let Some(error) = link.downcast_ref::<TlsError>() {
        return Some(of_tls(error));
    }
    if let Some(error) = link.downcast_ref::<sqlx::Error>() {
        return of_database(error);
    }
    if let Some(error) = link.downcast_ref::<reqwest::Error>() {
        return of_request(error);
    }
    link.downcast_ref::<hyper::Error>().and_then(of_hyper)
}

/// Maps an error of a file or a socket.
pub fn of_io(error: &io::Error) -> Cause {
    // Its source is that of the error inside, so the one inside would be passed over.
    if let Some(cause) = error.get_ref().and_then(|inside| of(inside)) {
        return cause;
    }
    if error.raw_os_error().is_none() && error.to_string().starts_with(LOOK_UP_FAILED) {
        return Cause::UnknownHost;
    }
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => return Cause::TooManyFiles,
        Some(rustix::io::Errno::NOBUFS) => return Cause::OutOfResources,
        Some(rustix::io::Errno::LOOP) => return Cause::BadPath,
        _ => {}
    }
    of_kind(error.kind())
}

fn of_kind(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Cause::NoRoute
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Cause::Timeout,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::NotConnected
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::WriteZero => Cause::Closed,
        ErrorKind::AddrInUse => Cause::PortTaken,
        ErrorKind::AddrNotAvailable => Cause::NotOurAddress,
        ErrorKind::NotFound => Cause::NotFound,
        ErrorKind::PermissionDenied => Cause::NotPermitted,
        ErrorKind::IsADirectory => Cause::IsFolder,
        ErrorKind::NotADirectory => Cause::NotFolder,
        ErrorKind::ReadOnlyFilesystem => Cause::ReadOnly,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Cause::Full,
        ErrorKind::OutOfMemory => Cause::OutOfResources,
        ErrorKind::InvalidData => Cause::NotText,
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => Cause::BadPath,
        _ => Cause::Unknown,
    }
}

fn of_tls(error: &TlsError) -> Cause {
    match error {
        TlsError::InvalidCertificate(wrong) => of_certificate(wrong),
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => Cause::TlsClientCertificate,
        // Something in the clear, which is no TLS record.
        TlsError::InvalidMessage(_) => Cause::TlsNotOffered,
        _ => Cause::Tls,
    }
}

fn of_certificate(wrong: &CertificateError) -> Cause {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Cause::TlsExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Cause::TlsNotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Cause::TlsWrongName
        }
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Revoked
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. }
        // A self-signed certificate that is marked as an authority.
        | CertificateError::Other(_) => Cause::TlsUntrusted,
        _ => Cause::Tls,
    }
}

/// Maps an error of sqlx; `None` is a mistake of Verdict.
pub fn of_database(error: &sqlx::Error) -> Option<Cause> {
    match error {
        sqlx::Error::Database(refusal) => {
            let routine = refusal
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .and_then(sqlx::postgres::PgDatabaseError::routine);
            of_sqlstate(&refusal.code().unwrap_or_default(), routine)
        }
        sqlx::Error::Io(inside) => Some(match of_io(inside) {
            // The file of a Unix socket.
            Cause::NotFound => Cause::Refused,
            // The bytes are no message of the protocol of Postgres.
            Cause::NotText => Cause::NotTheProtocol,
            cause => cause,
        }),
        sqlx::Error::Tls(inside) => Some(of(&**inside).unwrap_or_else(|| {
            let offered = !inside.to_string().contains("does not support TLS");
            if offered { Cause::Tls } else { Cause::TlsNotOffered }
        })),
        sqlx::Error::Protocol(text) => of_protocol(text),
        sqlx::Error::PoolTimedOut => Some(Cause::NoFreeConnection),
        sqlx::Error::PoolClosed => Some(Cause::Stopping),
        _ => None,
    }
}

/// A reply that the library did not expect, or a message of ours that is too large for the protocol.
fn of_protocol(text: &str) -> Option<Cause> {
    // The first byte of a reply that never came.
    if text.contains("SSLRequest: 0x00") {
        return Some(Cause::Closed);
    }
    let ours = text.starts_with("too many") || text.contains("out of range for protocol");
    (!ours).then_some(Cause::NotTheProtocol)
}

fn of_request(error: &reqwest::Error) -> Option<Cause> {
    // A client that cannot be set up is a builder's error too, and has no URL.
    let unreadable = error.source().and_then(|inside| inside.downcast_ref::<url::ParseError>());
    let of_url = error.url().is_some() || unreadable.is_some();
    if error.is_builder() && of_url {
        Some(Cause::BadUrl)
    } else if error.is_dns() {
        Some(Cause::UnknownHost)
    } else if error.is_timeout() {
        Some(Cause::Timeout)
    } else {
        None
    }
}

fn of_hyper(error: &hyper::Error) -> Option<Cause> {
    if error.is_timeout() {
        Some(Cause::Timeout)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Some(Cause::Closed)
    } else if error.is_user() || error.source().is_some() {
        None
    } else {
        // Not what HTTP looks like, or before anything was asked.
        Some(Cause::NotTheProtocol)
    }
}
