//! The newest head that a witness signed, in a file. It is replaced, and on the disk, before a signature
//! leaves the process, so a witness that is killed at any moment signs no head that contradicts one it
//! has given away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use merkle_log::head::TreeHead;
use merkle_log::note::{Kind, Signature, SignedNote, SigningKey, VerifyingKey};
use merkle_log::witness::{Refusal, Request};

use crate::causes;

/// Within so many seconds the same head gets the same signature: anybody can repeat a request, and each
/// new signature is a write to the disk.
const SAME_SIGNATURE_SECONDS: u64 = 10;

/// Signs the heads of one log.
#[derive(Debug)]
pub struct Witness {
    key: SigningKey,
    log: VerifyingKey,
    file: PathBuf,
    /// Locked for as long as the process lives.
    _lock: File,
    /// Held while a head is checked, stored and signed: one head after the other.
    signing: Mutex<()>,
    /// Never locked while the disk is written, so that reading the newest head waits for no disk.
    last: Mutex<Option<Last>>,
}

/// The newest head that was signed.
#[derive(Clone, Debug)]
pub struct Last {
    pub head: TreeHead,
    /// With the signatures of the log and of the witness.
    pub note: SignedNote,
    signature: Signature,
    /// When the witness signed, in seconds since 1970.
    at: u64,
}

/// Why a witness cannot begin, or cannot keep what it signs.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "there is no state file {0}: without it the witness could sign a head that contradicts an \
         earlier one. Correct the path. If the file is lost, restore no older copy: make a new key \
         (`verdict witness new-key`)"
    )]
    Missing(PathBuf),
    #[error(
        "{0} is not the state of this witness for this log: it was changed or emptied, or it belongs \
         to another key. If the right file is lost, make a new key (`verdict witness new-key`)"
    )]
    NotOurs(PathBuf),
    #[error("another process of this witness runs: it has locked {0}")]
    Locked(PathBuf),
    #[error("{file}: {cause}")]
    Io { file: PathBuf, cause: causes::Cause },
    #[error("the key of the witness is the key of a log")]
    NotAWitness,
    #[error("the key of the log is the key of a witness")]
    NotALog,
}

/// Why a head is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    State(#[from] StateError),
}

/// The state file of a new key. It is not empty: a file that lost its content must not pass for the
/// state of a witness that has signed nothing.
pub fn initial(key: &VerifyingKey) -> String {
    format!("{} has signed no head yet\n", key.label())
}

impl Witness {
    /// With the state that is in the file. Blocks.
    pub fn open(key: SigningKey, log: VerifyingKey, file: &Path) -> Result<Self, StateError> {
        if key.verifying().kind() != Kind::Witness {
            return Err(StateError::NotAWitness);
        }
        if log.kind() != Kind::Log {
            return Err(StateError::NotALog);
        }
        let missing_or_failed = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => StateError::Missing(file.to_owned()),
            _ => failed(file, error),
        };
        // Two paths to one file, such as a symbolic link, must not be two states.
        let path = std::fs::canonicalize(file).map_err(|error| missing_or_failed(&error))?;
        let lock = locked(&path)?;
        let text = std::fs::read_to_string(&path).map_err(|error| missing_or_failed(&error))?;
        let last = if text == initial(key.verifying()) {
            None
        } else {
            let last = Last::read(&text, &key, &log);
            Some(last.ok_or_else(|| StateError::NotOurs(file.to_owned()))?)
        };
        let (signing, last) = (Mutex::default(), Mutex::new(last));
        Ok(Self { key, log, file: path, _lock: lock, signing, last })
    }

    pub fn log(&self) -> &VerifyingKey {
        &self.log
    }

    pub fn key(&self) -> &VerifyingKey {
        self.key.verifying()
    }

    pub fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs the head of a request at a time, in seconds since 1970. One request at a time: no head may
    /// come between the check and the state. Blocks.
    pub fn sign(&self, request: &Request, seconds: u64) -> Result<Signature, SignError> {
        let _one_at_a_time = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.last();
        let head = request.judge(&self.log, last.as_ref().map(|last| last.head.place()))?;
        let text = request.note.text();
        let repeated = last.as_ref().filter(|last| {
            last.note.text() == text && seconds.abs_diff(last.at) < SAME_SIGNATURE_SECONDS
        });
        if let Some(last) = repeated {
            return Ok(last.signature.clone());
        }
        let signature = self.key.cosign(text, seconds);
        // Anybody can repeat the log's line, and the witness could not read a state with too many.
        let of_log = request.note.of(&self.log).into_iter().take(1);
        let signatures = of_log.chain([signature.clone()]).collect();
        let note = SignedNote::new(text.to_owned(), signatures);
        // The signature has not left yet. If this fails, it never does.
        replace(&self.file, note.to_string().as_bytes())?;
        // Not where the signature is repeated: anybody can ask for that, as often as they like.
        tracing::info!(rows = head.size, "witness: head signed");
        let newest = Last { head, note, signature: signature.clone(), at: seconds };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest);
        Ok(signature)
    }
}

impl Last {
    /// `None`: log and witness have not signed this.
    fn read(text: &str, key: &SigningKey, log: &VerifyingKey) -> Option<Self> {
        let note = SignedNote::parse(text).ok()?;
        let head = TreeHead::parse(note.text()).filter(|head| head.origin == log.name())?;
        note.verify(log).ok()?;
        let at = note.cosigned_at(key.verifying()).ok()?;
        let signature = note.of(key.verifying()).pop()?;
        Some(Self { head, note, signature, at })
    }
}

/// A file beside the state: that one is replaced, and a lock would go with it.
fn locked(file: &Path) -> Result<File, StateError> {
    let path = beside(file, "lock");
    let lock = OpenOptions::new().create(true).append(true).open(&path);
    let lock = lock.map_err(|error| failed(&path, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StateError::Locked(path)),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&path, &error)),
    }
}

/// Replaces the file as a whole, durably: its content first, then its name.
fn replace(file: &Path, content: &[u8]) -> Result<(), StateError> {
    let new = beside(file, "new");
    let write = || {
        let mut writing = File::create(&new)?;
        writing.write_all(content)?;
        writing.sync_all()?;
        std::fs::rename(&new, file)?;
        sync_folder(file)
    };
    write().map_err(|error| failed(file, &error))
}

/// Makes the name of a file durable.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn failed(file: &Path, error: &io::Error) -> StateError {
    StateError::Io { file: file.to_owned(), cause: causes::of_io(error) }
}

#[cfg(test)]
mod tests {
    use merkle_log::hash::NodeHash;
    use merkle_log::tree::Tree;

    use super::*;

    const ORIGIN: &str = "log.example/audit";

    fn log() -> SigningKey {
        SigningKey::from_seed(ORIGIN, Kind::Log, &[7; 32]).unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_seed("witness.example/w1", Kind::Witness, &[9; 32]).unwrap()
    }

    fn open(file: &Path) -> Result<Witness, StateError> {
        Witness::open(key(), log().verifying().clone(), file)
    }

    /// As `verdict witness new-key` leaves it.
    fn create(file: &Path) {
        std::fs::write(file, initial(key().verifying())).unwrap();
    }

    /// The head of a log of so many equal entries, which needs no proof.
    fn request(older: u64, size: u64) -> Request {
        let mut tree = Tree::default();
        (0..size).for_each(|_| tree.push(NodeHash::of_leaf(b"entry")));
        let head = TreeHead { origin: ORIGIN.to_owned(), size, root: tree.root() };
        let text = head.to_string();
        let note = SignedNote::new(text.clone(), vec![log().sign(&text)]);
        Request { older, proof: Vec::new(), note }
    }

    #[test]
    fn state_is_kept_across_processes_and_is_the_witnesss_own() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("state");
        assert!(matches!(open(&file), Err(StateError::Missing(_))));
        create(&file);
        let witness = open(&file).unwrap();
        assert!(witness.last().is_none());
        assert!(matches!(open(&file), Err(StateError::Locked(_))), "two processes");
        witness.sign(&request(0, 5), 1_700_000_000).unwrap();
        drop(witness);

        let witness = open(&file).unwrap();
        assert_eq!(witness.last().unwrap().head.size, 5);
        let refused = witness.sign(&request(0, 5), 1_700_000_001);
        assert!(matches!(refused, Err(SignError::Refused(Refusal::OtherSize(5)))));
        // Repeated, it has the same signature, and a newer one after a while.
        let signed_at = |seconds| {
            witness.sign(&request(5, 5), seconds).unwrap();
            let kept = std::fs::read_to_string(&file).unwrap();
            SignedNote::parse(&kept).unwrap().cosigned_at(witness.key())
        };
        assert_eq!(signed_at(1_700_000_009), Ok(1_700_000_000));
        assert_eq!(signed_at(1_700_000_010), Ok(1_700_000_010));
        let kept = std::fs::read_to_string(&file).unwrap();
        drop(witness);

        // A head that the witness has not signed.
        std::fs::write(&file, request(0, 7).note.to_string()).unwrap();
        assert!(matches!(open(&file), Err(StateError::NotOurs(_))));
        std::fs::write(&file, &kept[1..]).unwrap();
        assert!(matches!(open(&file), Err(StateError::NotOurs(_))));
    }

    #[test]
    fn state_that_lost_its_content_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("state");
        create(&file);
        open(&file).unwrap().sign(&request(0, 5), 1_700_000_000).unwrap();
        for lost in ["", "\n", "witness.example/w2+00000000 has signed no head yet\n"] {
            std::fs::write(&file, lost).unwrap();
            assert!(matches!(open(&file), Err(StateError::NotOurs(_))), "{lost:?}");
        }
    }

    #[test]
    fn state_of_a_note_with_repeated_signatures_is_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("state");
        create(&file);
        let body = request(0, 5).body();
        let (rest, line) = body.trim_end().rsplit_once('\n').unwrap();
        let body = format!("{rest}\n{}", format!("{line}\n").repeat(64));
        let witness = open(&file).unwrap();
        witness.sign(&Request::parse(&body).unwrap(), 1_700_000_000).unwrap();
        let served = SignedNote::parse(&witness.last().unwrap().note.to_string()).unwrap();
        assert_eq!(served.signatures().len(), 2, "of the log, and of the witness");
        drop(witness);
        assert_eq!(open(&file).unwrap().last().unwrap().note, served);
    }

    #[test]
    fn two_paths_to_one_state_are_one_witness() {
        let folder = tempfile::TempDir::new().unwrap();
        let (file, link) = (folder.path().join("state"), folder.path().join("link"));
        create(&file);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let witness = open(&link).unwrap();
        assert!(matches!(open(&file), Err(StateError::Locked(_))));
        witness.sign(&request(0, 5), 1_700_000_000).unwrap();
        drop(witness);
        assert_eq!(open(&file).unwrap().last().unwrap().head.size, 5, "the link was replaced");
    }

    #[test]
    fn concurrent_requests_are_signed_one_after_the_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("state");
        create(&file);
        let witness = open(&file).unwrap();
        let sign = |size| witness.sign(&request(0, size), 1_700_000_000).is_ok();
        let signed = std::thread::scope(|scope| {
            let asked: Vec<_> = (1..9).map(|size| scope.spawn(move || sign(size))).collect();
            asked.into_iter().filter_map(|asked| asked.join().ok()).filter(|signed| *signed).count()
        });
        assert_eq!(signed, 1, "each claims to be the first head");
    }

    #[test]
    fn head_that_cannot_be_kept_is_not_signed() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("state");
        create(&file);
        let witness = open(&file).unwrap();
        // A folder in the place of the file that is written first.
        std::fs::create_dir(folder.path().join("state.new")).unwrap();
        let refused = witness.sign(&request(0, 5), 1_700_000_000);
        assert!(matches!(refused, Err(SignError::State(StateError::Io { .. }))));
        assert!(witness.last().is_none());
        std::fs::remove_dir(folder.path().join("state.new")).unwrap();
        assert!(witness.sign(&request(0, 5), 1_700_000_000).is_ok());
    }
}
