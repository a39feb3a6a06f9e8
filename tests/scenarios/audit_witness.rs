//! Heads of the audit, their witnesses, and proofs that are verified without a database.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use merkle_log::hash::NodeHash;
use merkle_log::head::TreeHead;
use merkle_log::note::{Kind, Signature, SignedNote, SigningKey, VerifyingKey};
use merkle_log::proof::consistency_nodes;
use merkle_log::tree::Tree;
use merkle_log::witness::Request;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::process::Command;
use verdict::domain::clock::Clock;
use verdict::witness::router::router;
use verdict::witness::state::{Witness, initial};

use crate::audit_segments::{one, record, signed};
use crate::harness::{Options, Setting, WitnessFiles, WitnessProcess, eventually, run_verdict};

pub const ORIGIN: &str = "verdict.example/audit";

/// The section about the audit, with these witnesses.
pub fn audit_section(witnesses: &str) -> String {
    format!("[audit]\norigin = \"{ORIGIN}\"\nhead_seconds = 0.2\n{witnesses}")
}

/// The public key of the log.
pub async fn log_key(setting: &Setting) -> String {
    let (code, key, error) = setting.run(&["audit", "head", "--key"], "").await;
    assert_eq!(code, 0, "{error}");
    key.trim().to_owned()
}

/// Serves until every row is signed, and the witnesses have signed the head with all of them.
pub async fn witnessed(setting: &Setting, pool: &PgPool) {
    signed(setting, pool).await;
    let process = setting.serve().await;
    let witnesses = setting.options.more.matches("[[audit.witnesses]]").count();
    let witnesses = i64::try_from(witnesses).unwrap();
    eventually("the newest head is signed by each witness", || async {
        let signed = "select count(*) from audit_cosigned_heads
            where size = (select position from audit_head)";
        (one::<i64>(pool, signed).await == witnesses).then_some(())
    })
    .await;
    process.kill().await;
}

async fn said(setting: &Setting, arguments: &[&str]) -> String {
    let (code, said, error) = setting.run(arguments, "").await;
    assert_eq!(code, 0, "{arguments:?}: {error}");
    said
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn rows_are_proved_in_heads_that_a_witness_signed() {
    let more = audit_section("");
    let mut setting =
        Setting::new(Options { fixed_clock: false, more, ..Options::default() }).await;
    let (pool, store) = (setting.database.pool().await, setting.database.store());
    // Without a key nothing can be signed, and there is none before a worker has run.
    let (code, _, error) = setting.run(&["audit", "head"], "").await;
    assert!(code == 1 && error.contains("run a worker once"), "{error}");
    signed(&setting, &pool).await;
    let key = log_key(&setting).await;
    let files = WitnessFiles::new("witness.example/w1").await;
    let witness = files.serve(&key).await;
    setting.options.more = audit_section(&witness.table(&files));
    let (code, _, error) = setting.run(&["audit", "verify", "--strict"], "").await;
    assert!(code == 1 && error.contains("no witness of audit.witnesses has signed"), "{error}");
    witnessed(&setting, &pool).await;

    let folder = tempfile::TempDir::new().unwrap();
    let early =
        written(folder.path(), "early", &said(&setting, &["audit", "head", "--cosigned"]).await);
    let before: i64 = one(&pool, "select position from audit_head").await;
    record(&store, 5, None).await;
    witnessed(&setting, &pool).await;
    let late = written(folder.path(), "late", &said(&setting, &["audit", "head"]).await);
    let row = said(&setting, &["audit", "prove", "2"]).await;
    let from = said(&setting, &["audit", "prove", "--from", &before.to_string()]).await;
    let (row_file, from_file) =
        (written(folder.path(), "row", &row), written(folder.path(), "from", &from));
    let (key, witness_key) = (key.as_str(), files.public_key.as_str());
    let check = |file: &str, head: &str| -> Vec<String> {
        let known = ["--key", key, "--witness", witness_key, "--head", head];
        [&["audit", "check", file][..], &known].concat().into_iter().map(str::to_owned).collect()
    };
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_verdict(&arguments, &[]).await
    };
    // Without configuration and database.
    let (code, shown, error) = run(check(&row_file, &late)).await;
    assert!(code == 0 && shown.contains("row 2 is in the audit"), "{shown}{error}");
    assert!(shown.contains("signed by the log and by witness.example/w1"), "{shown}");
    let (code, shown, error) = run(check(&from_file, &early)).await;
    assert!(code == 0 && shown.contains("begins with the"), "{shown}{error}");
    // About other heads, of other rows, under other keys.
    let other = WitnessFiles::new("witness.example/w2").await;
    let bent = row.replace("\"actor\":\"", "\"actor\":\"not-");
    let bent = written(folder.path(), "bent", &bent);
    let (log, stranger) = (key.to_owned(), other.public_key.clone());
    for (arguments, says) in [
        (check(&row_file, &early), "the proof is not about the head"),
        (check(&from_file, &late), "the proof is not about the head"),
        (check(&bent, &late), "row 2 was changed"),
        (check(&late, &late), "is no proof about an audit"),
        (
            ["audit", "check", &row_file, "--key", &log, "--witness", &stranger]
                .map(str::to_owned)
                .to_vec(),
            "not signed by this key",
        ),
    ] {
        let (code, _, error) = run(arguments).await;
        assert!(code == 1 && error.contains(says), "{says}: {error}");
    }
    let (code, _, error) = setting.run(&["audit", "prove", "4711"], "").await;
    assert!(code == 1 && error.contains("has no row 4711"), "{error}");

    // The state of the witness is a head to keep, too.
    let state = files.state();
    let verify = ["audit", "verify", "--strict", "--ask-witnesses", "--head", &early, "--head"];
    let verify = [&verify[..], &[state.to_str().unwrap()]].concat();
    let shown = said(&setting, &verify).await;
    assert!(shown.contains("agrees with the head that witness.example/w1 signed, of"), "{shown}");
    let export =
        written(folder.path(), "export", &said(&setting, &["audit", "list", "--json"]).await);
    let of_export = ["audit", "verify", "--file", &export, "--head", &late];
    assert_eq!(run_verdict(&of_export, &[]).await.0, 0);

    // The newest rows are removed: the witness has signed more.
    for attack in [
        format!("delete from audit where position > {before}"),
        format!("delete from audit_checkpoints where position > {before}"),
        format!(
            "update audit_head set position = {before},
                digest = (select digest from audit where position = {before})"
        ),
    ] {
        let off = "alter table audit disable trigger all;
            alter table audit_checkpoints disable trigger all;";
        sqlx::raw_sql(AssertSqlSafe(format!("{off}{attack}"))).execute(&pool).await.unwrap();
    }
    let process = setting.serve().await;
    eventually("the worker raises the alarm", || async {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        let is_ahead = |line: &str| {
            line.starts_with("verdict_audit_heads_total") && line.contains("outcome=\"ahead\"")
        };
        metrics.lines().any(is_ahead).then_some(())
    })
    .await;
    let log = process.kill().await.join("\n");
    assert!(log.contains("the audit is not the one that a witness signed"), "{log}");
    let (code, _, error) = setting.run(&["audit", "verify", "--ask-witnesses"], "").await;
    assert!(code == 1 && error.contains("the newest are missing"), "{error}");
    witness.kill().await;
}

/// A status and a text that are answered in the place of a witness, by nobody who has its key.
type Lie = Arc<Mutex<Option<(u16, &'static str)>>>;

/// A witness behind an address that does not always reach it. Answers with its URL.
async fn unreliable(folder: &Path, log: &str, lie: Lie) -> String {
    let key = SigningKey::from_seed("witness.example/w3", Kind::Witness, &[3; 32]).unwrap();
    let log = VerifyingKey::parse(log).unwrap();
    let state = folder.join(hex::encode(Sha256::digest(log.name())));
    std::fs::write(&state, initial(key.verifying())).unwrap();
    let witness = Arc::new(Witness::open(key, log, &state).unwrap());
    let answer = from_fn(move |request: axum::extract::Request, next: Next| {
        let lie = *lie.lock().unwrap();
        async move {
            match lie {
                Some((status, text)) => {
                    (http::StatusCode::from_u16(status).unwrap(), text).into_response()
                }
                None => next.run(request).await,
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router(witness, Clock::system()).layer(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn unsigned_answers_raise_the_alarm_and_are_forgotten() {
    let more = audit_section("");
    let mut setting =
        Setting::new(Options { fixed_clock: false, more, ..Options::default() }).await;
    let pool = setting.database.pool().await;
    signed(&setting, &pool).await;
    let folder = tempfile::TempDir::new().unwrap();
    let lie = Lie::default();
    let key = SigningKey::from_seed("witness.example/w3", Kind::Witness, &[3; 32]).unwrap();
    let table = |url: &str| {
        let key = key.verifying();
        format!("[[audit.witnesses]]\nurl = \"{url}\"\npublic_key = \"{key}\"\n")
    };
    let url = unreliable(folder.path(), &log_key(&setting).await, Arc::clone(&lie)).await;
    setting.options.more = audit_section(&table(&url));
    let process = setting.serve().await;
    let tell = |answer: Option<(u16, &'static str)>| *lie.lock().unwrap() = answer;
    let counted = async |outcome: &str| {
        let metrics = setting.get(process.operations, "/metrics").await.text;
        let is_it = |line: &&str| {
            line.starts_with("verdict_audit_heads_total")
                && line.contains(&format!("outcome=\"{outcome}\""))
        };
        let found = metrics.lines().find(is_it).and_then(|line| line.rsplit_once(' '));
        found.map_or(0, |(_, count)| count.parse::<u64>().unwrap())
    };
    let counts = async |outcome: &'static str| {
        let before = counted(outcome).await;
        eventually(outcome, || async { (counted(outcome).await > before).then_some(()) }).await;
    };
    // Far more rows than there are, which only a signature could prove.
    tell(Some((409, "999999\n")));
    counts("ahead").await;
    tell(None);
    eventually("the newest head is signed", || async {
        let signed = "select count(*) from audit_cosigned_heads
            where size = (select position from audit_head)";
        (one::<i64>(&pool, signed).await == 1).then_some(())
    })
    .await;
    // Older versions of the protocol answer so where the root is another.
    tell(Some((409, "")));
    counts("contradicts").await;
    tell(Some((422, "")));
    counts("contradicts").await;
    tell(Some((409, "0\n")));
    counts("bad-answer").await;
    tell(Some((200, "no signature\n")));
    counts("bad-answer").await;
    tell(None);
    counts("signed").await;
    process.kill().await;

    // A new log at the same witness has no more rows than the old one: as after a restore.
    let more_rows = "update audit_cosigned_heads set size = size + 1000000";
    sqlx::raw_sql(more_rows).execute(&pool).await.unwrap();
    let named = |table: &str| audit_section(table).replace(ORIGIN, "verdict.example/audit2");
    setting.options.more = named("");
    let url = unreliable(folder.path(), &log_key(&setting).await, Arc::clone(&lie)).await;
    setting.options.more = named(&table(&url));
    let process = setting.serve().await;
    eventually("the head of the new log is signed", || async {
        let signed = "select count(*) from audit_cosigned_heads
            where origin = 'verdict.example/audit2'";
        (one::<i64>(&pool, signed).await == 1).then_some(())
    })
    .await;
    process.kill().await;
    let shown = said(&setting, &["audit", "verify", "--strict", "--ask-witnesses"]).await;
    assert!(shown.contains("agrees with the head that witness.example/w3 signed, of"), "{shown}");
    // A head that is printed for keeping has its signatures.
    sqlx::raw_sql("update audit_cosigned_heads set note = replace(note, 'w3', 'w4')")
        .execute(&pool)
        .await
        .unwrap();
    let (code, _, error) = setting.run(&["audit", "head", "--cosigned"], "").await;
    assert!(code == 1 && error.contains("is not signed by it"), "{error}");
}

#[tokio::test]
async fn mistakes_of_operators_are_named() {
    let files = WitnessFiles::new("witness.example/w1").await;
    let folder = tempfile::TempDir::new().unwrap();
    let state = files.state();
    let key = state.with_file_name("key");
    let (key, state) = (key.to_str().unwrap(), state.to_str().unwrap());
    let empty = written(folder.path(), "empty", "");
    let missing = format!("{empty}.missing");
    let no_note = written(folder.path(), "no-note", r#"{"head": "text"}"#);
    let (log, witness) = (Log::new(0).key.verifying().to_string(), files.public_key.as_str());
    let new_key = |name: &str, key: &str, state: &str| {
        ["witness", "new-key", name, "--key-file", key, "--state-file", state].map(str::to_owned)
    };
    let serve = |state: &str, log: &str| {
        ["witness", "serve", "--key-file", key, "--state-file", state, "--log", log]
            .map(str::to_owned)
    };
    let cases: [(Vec<String>, i32, &str); 7] = [
        (new_key("witness.example/w2", key, &missing).to_vec(), 1, "exists already"),
        (new_key("witness.example/w2", &missing, state).to_vec(), 1, "exists already"),
        (new_key("two words", &missing, &missing).to_vec(), 2, "must have neither spaces"),
        (serve(state, witness).to_vec(), 2, "--log is the key of a witness"),
        (serve(&missing, &log).to_vec(), 1, "restore no older copy"),
        (serve(&empty, &log).to_vec(), 1, "changed or emptied"),
        (
            ["audit", "check", &no_note, "--key", &log].map(str::to_owned).to_vec(),
            1,
            "the head in the file is not valid: the text is no signed note\n",
        ),
    ];
    for (arguments, expected, says) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, _, error) = run_verdict(&arguments, &[]).await;
        assert!(code == expected && error.contains(says), "{arguments:?}: {code}, {error}");
    }
    assert!(!Path::new(&missing).exists(), "a file of a command that failed was left");
}

#[tokio::test]
async fn new_key_on_a_full_disk_can_be_repeated() {
    let folder = tempfile::TempDir::new().unwrap();
    let new_key = async |limit: &str| {
        let command = "trap '' XFSZ; ulimit -f \"$1\"; exec \"$0\" witness new-key \
            witness.example/w1 --key-file key --state-file state";
        let binary = env!("CARGO_BIN_EXE_verdict");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command, binary, limit])
            .current_dir(folder.path())
            .output()
            .await
            .unwrap()
    };
    // No file may have a byte.
    let failed = new_key("0").await;
    let error = String::from_utf8_lossy(&failed.stderr);
    assert!(failed.status.code() == Some(1) && error.contains("cannot be written"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file was left");
    let repeated = new_key("unlimited").await;
    assert!(repeated.status.success(), "{}", String::from_utf8_lossy(&repeated.stderr));
}

/// A log of which all entries are known. Two forks share their first 5 entries.
struct Log {
    key: SigningKey,
    fork: u64,
}

impl Log {
    fn new(fork: u64) -> Self {
        Self { key: SigningKey::from_seed(ORIGIN, Kind::Log, &[7; 32]).unwrap(), fork }
    }

    fn leaf(&self, index: u64) -> NodeHash {
        let fork = if index < 5 { 0 } else { self.fork };
        NodeHash::of_leaf(&[index.to_be_bytes(), fork.to_be_bytes()].concat())
    }

    fn tree(&self, size: u64) -> Tree {
        let mut tree = Tree::default();
        (0..size).for_each(|index| tree.push(self.leaf(index)));
        tree
    }

    fn request(&self, older: u64, size: u64) -> Request {
        let tree = self.tree(size);
        let nodes = consistency_nodes(older, size).unwrap();
        let proof = tree.hashes(&nodes, |index| Some(self.leaf(index))).unwrap();
        let head = TreeHead { origin: ORIGIN.to_owned(), size, root: tree.root() };
        let text = head.to_string();
        let signature = self.key.sign(&text);
        Request { older, proof, note: SignedNote::new(text, vec![signature]) }
    }
}

/// The head that the witness says it signed last.
async fn newest(client: &reqwest::Client, witness: &WitnessProcess) -> Option<TreeHead> {
    let origin = hex::encode(Sha256::digest(ORIGIN));
    let url = format!("{}/{origin}/checkpoint", witness.url);
    let response = client.get(url).send().await.unwrap();
    if response.status() == 404 {
        return None;
    }
    let note = SignedNote::parse(&response.text().await.unwrap()).unwrap();
    TreeHead::parse(note.text())
}

/// The head of the request, if the witness signed it.
async fn sent(
    client: reqwest::Client,
    url: String,
    request: Request,
    key: VerifyingKey,
) -> Option<TreeHead> {
    let response = client.post(url).body(request.body()).send().await.ok()?;
    let is_signed = response.status() == 200;
    let lines = response.text().await.ok().filter(|_| is_signed)?;
    let mut note = request.note;
    lines.lines().filter_map(Signature::parse).for_each(|line| note.add(line));
    note.cosigned_at(&key).expect("a signature of the witness");
    TreeHead::parse(note.text())
}

#[tokio::test]
async fn witness_killed_at_any_moment_never_contradicts_itself() {
    let files = WitnessFiles::new("witness.example/w1").await;
    let key = VerifyingKey::parse(&files.public_key).unwrap();
    let logs = [Log::new(0), Log::new(1)];
    let log = logs[0].key.verifying().to_string();
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let mut given: Vec<TreeHead> = Vec::new();
    for round in 0..12_u64 {
        let witness = files.serve(&log).await;
        let known = newest(&client, &witness).await;
        let size = known.as_ref().map_or(0, |head| head.size);
        let largest = given.iter().map(|head| head.size).max().unwrap_or(0);
        assert!(size >= largest, "it forgot what it has signed: {size}, {largest}");
        // Both logs at once, with several heads each. Some wait while the process is killed.
        let url = format!("{}/add-checkpoint", witness.url);
        let mut asked: FuturesUnordered<_> = (0..6)
            .map(|n| {
                let request =
                    logs[usize::from(n % 2 == 1)].request(size, size + 1 + (n + round) % 4);
                tokio::spawn(sent(client.clone(), url.clone(), request, key.clone()))
            })
            .collect();
        for _ in 0..round % 4 {
            given.extend(asked.next().await.unwrap().unwrap());
        }
        witness.kill().await;
        while let Some(answer) = asked.next().await {
            given.extend(answer.unwrap());
        }
    }
    let is_of = |log: &Log, head: &TreeHead| log.tree(head.size).root() == head.root;
    assert!(!given.is_empty(), "not one head was signed");
    let histories = logs.iter().filter(|log| given.iter().all(|head| is_of(log, head)));
    assert!(histories.count() > 0, "heads of two histories are signed: {given:?}");
}
