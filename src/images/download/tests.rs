//! Hostile links, against a scripted server.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::images::format::{Format, Unusual};

const JPEG: &[u8] = include_bytes!("../../../crates/cloudauth-sandbox/src/pictures/face.jpg");
const LIMIT: usize = 64 * 1024;

/// Serves these bytes to every client; `endless` continues with zeros.
async fn server(answer: Vec<u8>, endless: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
                while endless && stream.write_all(&[0; 4096]).await.is_ok() {}
            });
        }
    });
    (port, came)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat()
}

fn settings(port: u16) -> Settings {
    let endpoint = Url::parse(&format!("http://localhost:{port}")).unwrap();
    Settings {
        allowed: AllowedHosts::parse(["*.example.com"]).unwrap().and_simulated(&endpoint),
        max_bytes: LIMIT,
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(10),
    }
}

/// A lookup that answers every name with the next of these.
fn lookup(answers: Vec<Vec<&'static str>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answers = Mutex::new(answers.into_iter());
    let lookup: Lookup = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let next = answers.lock().unwrap().next();
        Box::pin(async move {
            let found = next.ok_or(io::ErrorKind::NotFound)?;
            Ok(found.iter().map(|address| address.parse().unwrap()).collect())
        })
    });
    (lookup, asked)
}

async fn fetch(answer: Vec<u8>, endless: bool) -> Result<Picture, DownloadError> {
    let (port, _) = server(answer, endless).await;
    let (lookup, _) = lookup(vec![vec!["127.0.0.1"]]);
    let downloader = Downloader::with_lookup(settings(port), lookup).unwrap();
    downloader.fetch(&format!("http://localhost:{port}/face.jpg").into()).await
}

#[tokio::test]
async fn an_image_is_fetched() {
    let length = format!("200 OK\r\ncontent-length: {}", JPEG.len());
    for head in ["200 OK", length.as_str(), "200 OK\r\ncontent-type: text/html"] {
        let picture = fetch(answer(head, JPEG), false).await.unwrap();
        let recognised = Recognised { format: Format::Jpeg, unusual: Vec::new() };
        assert_eq!((picture.recognised, &picture.bytes[..]), (recognised, JPEG), "{head}");
    }
}

#[tokio::test]
async fn whatever_else_is_answered_is_not() {
    let large = vec![0xff; LIMIT + 1];
    let page = b"<html>".as_slice();
    for (what, answer, endless, missed) in [
        ("expired", answer("403 Forbidden", b"<Error/>"), false, DownloadError::LinkExpired),
        ("not there", answer("404 Not Found", b""), false, DownloadError::LinkExpired),
        (
            "ill",
            answer("503 Service Unavailable", b""),
            false,
            DownloadError::Transient("server-error"),
        ),
        (
            "busy",
            answer("429 Too Many Requests", b""),
            false,
            DownloadError::Transient("server-busy"),
        ),
        (
            "a redirect",
            answer("302 Found\r\nlocation: http://169.254.169.254/", b""),
            false,
            DownloadError::Permanent("redirect"),
        ),
        ("too large", answer("200 OK", &large), false, DownloadError::Permanent("too-large")),
        (
            "too large as announced",
            answer("200 OK\r\ncontent-length: 9999999999", JPEG),
            false,
            DownloadError::Permanent("too-large"),
        ),
        ("endless", answer("200 OK", JPEG), true, DownloadError::Permanent("too-large")),
        (
            "endless in chunks",
            answer("200 OK\r\ntransfer-encoding: chunked", b"fffff\r\n"),
            true,
            DownloadError::Permanent("too-large"),
        ),
        (
            "shorter than announced",
            answer(&format!("200 OK\r\ncontent-length: {}", JPEG.len() + 1), JPEG),
            false,
            DownloadError::Transient("cut"),
        ),
        (
            "a page",
            answer("200 OK\r\ncontent-type: image/jpeg", page),
            false,
            DownloadError::Permanent("not-an-image"),
        ),
        (
            "compressed",
            answer("200 OK\r\ncontent-encoding: gzip", b"\x1f\x8b\x08\0"),
            false,
            DownloadError::Permanent("not-an-image"),
        ),
        ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), false, DownloadError::Transient("cut")),
        ("nothing", Vec::new(), false, DownloadError::Transient("cut")),
    ] {
        assert_eq!(fetch(answer, endless).await.map(|_| ()), Err(missed), "{what}");
    }
}

#[tokio::test]
async fn what_is_not_only_an_image_is_fetched_with_a_note() {
    let shorter = format!("200 OK\r\ncontent-length: {}", JPEG.len() - 1);
    for (answer, unusual) in [
        (answer(&shorter, JPEG), vec![Unusual::EndMissing]),
        (
            answer("200 OK", &[JPEG, b"<html>"].concat()),
            vec![Unusual::ActiveContent, Unusual::DataAfterEnd],
        ),
    ] {
        assert_eq!(fetch(answer, false).await.unwrap().recognised.unusual, unusual);
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    for addresses in [
        vec!["127.0.0.1"],
        vec!["10.0.0.1"],
        vec!["172.16.0.1"],
        vec!["192.168.1.1"],
        vec!["169.254.169.254"],
        vec!["100.100.100.200"],
        vec!["224.0.0.1"],
        vec!["0.0.0.0"],
        vec!["::1"],
        vec!["fe80::1"],
        vec!["fd00::1"],
        vec!["ff02::1"],
        vec!["::ffff:10.0.0.1"],
        vec!["64:ff9b::a00:1"],
        // One good address does not make up for a bad one.
        vec!["93.184.216.34", "127.0.0.1"],
    ] {
        let (lookup, _) = lookup(vec![addresses.clone()]);
        let downloader = Downloader::with_lookup(settings(1), lookup).unwrap();
        let missed = downloader.fetch(&"https://a.example.com/face.jpg".to_owned().into()).await;
        assert_eq!(
            missed.map(|_| ()),
            Err(DownloadError::Permanent("refused-address")),
            "{addresses:?}"
        );
    }
    let (lookup, asked) = lookup(Vec::new());
    let downloader = Downloader::with_lookup(settings(1), lookup).unwrap();
    let missed = downloader.fetch(&"https://a.example.com/face.jpg".to_owned().into()).await;
    assert_eq!(missed.map(|_| ()), Err(DownloadError::Transient("no-connection")));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_looked_at() {
    // The second answer would lead elsewhere; it is not asked for.
    let (port, came) = server(answer("200 OK", JPEG), false).await;
    let (lookup, asked) = lookup(vec![vec!["127.0.0.1"], vec!["10.0.0.1"]]);
    let downloader = Downloader::with_lookup(settings(port), lookup).unwrap();
    let link = format!("http://localhost:{port}/face.jpg").into();
    assert!(downloader.fetch(&link).await.is_ok());
    assert_eq!((asked.load(Ordering::SeqCst), came.load(Ordering::SeqCst)), (1, 1));
    // The next download checks the address again.
    assert_eq!(
        downloader.fetch(&link).await.map(|_| ()),
        Err(DownloadError::Permanent("refused-address"))
    );
    assert_eq!(came.load(Ordering::SeqCst), 1);
}
