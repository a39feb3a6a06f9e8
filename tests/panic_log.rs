//! A panic that quotes a person is reported by its place alone, in the log and in the trace of the
//! request that it ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use verdict::telemetry::export;
use verdict::telemetry::{Output, Settings, init_with_traces};
use verdict::traces;

/// Takes one batch of spans, as a collector does; its body.
fn collector() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    let taking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("again"));
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
        body
    });
    (url, taking)
}

#[tokio::test]
async fn panic_message_is_neither_logged_nor_exported() {
    let (url, collector) = collector();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let log = Settings { json: true, filter: "trace".to_owned() };
    let export = export::Settings { endpoint: url.parse().expect("a URL"), sample: 1.0 };
    let output = Output::File(file.reopen().expect("again"));
    let exporting = init_with_traces(&log, output, Some(&export)).expect("a log");
    let quoted = String::from("cannot read 测试甲 00000019000101001X");
    let request = std::thread::spawn(move || {
        let span = traces::request("GET", "/v1/verifications/{id}", || None);
        span.in_scope(|| panic!("{quoted}"));
    });
    assert!(request.join().is_err());
    exporting.flush().await;
    let mut said = String::new();
    file.read_to_string(&mut said).expect("text");
    assert!(said.contains("panic_log.rs"), "{said}");
    let sent = collector.join().expect("a batch");
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("GET /v1/verifications/{id}"), "{sent}");
    for text in [&*said, &*sent] {
        assert!(!text.contains("测试") && !text.contains("00000019"), "{text}");
    }
}
