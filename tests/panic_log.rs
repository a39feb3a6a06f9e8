//! A panic that quotes a person is reported by its place alone.

use std::io::Read;

use verdict::telemetry::{Output, Settings, init};

#[test]
fn what_a_panic_says_is_not_logged() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let log = Settings { json: true, filter: "trace".to_owned() };
    init(&log, Output::File(file.reopen().expect("again"))).expect("a log");
    let quoted = String::from("cannot read 测试甲 00000019000101001X");
    assert!(std::thread::spawn(move || panic!("{quoted}")).join().is_err());
    let mut said = String::new();
    file.read_to_string(&mut said).expect("text");
    assert!(said.contains("panic_log.rs"), "{said}");
    assert!(!said.contains("测试") && !said.contains("00000019"), "{said}");
}
