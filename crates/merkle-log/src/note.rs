//! Signed notes: a text, and signatures of several keys below it.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Begins a signature line: an em dash and a space.
const MARK: &str = "\u{2014} ";
const PRIVATE: &str = "PRIVATE+KEY+";
/// A note with more signatures is refused: the specification demands that 16 are read.
const MOST_SIGNATURES: usize = 64;

/// The use of a key. Its id depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Signs the text alone: the heads of a log.
    Log,
    /// Signs the text with a time: a cosignature of a witness.
    Witness,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Log),
            4 => Some(Self::Witness),
            _ => None,
        }
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("must be a name, a plus, 8 hex digits, a plus, and base64 text")]
    Form,
    #[error("the name must not be empty, and must have neither spaces nor a plus")]
    Name,
    #[error("the key must be an Ed25519 key of a log (type 1) or of a witness (type 4)")]
    Kind,
    #[error("the 8 hex digits do not belong to this name and key")]
    Id,
    #[error("the cryptographic library refuses the key")]
    Refused,
}

/// Why a note is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the text is no signed note")]
    Form,
    #[error("the note is not signed by this key")]
    NotSigned,
    #[error("the signature of this key does not fit the note")]
    BadSignature,
}

/// The first four bytes of a digest of name and key: which key made a signature.
pub type KeyId = [u8; 4];

fn key_id(name: &str, kind: Kind, public: &[u8; 32]) -> KeyId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind.byte()])
        .chain_update(public)
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Whether this can be the name of a key, and so the origin of a log.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// The public half of a key, with the name of its owner. As text: `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    kind: Kind,
    id: KeyId,
    public: [u8; 32],
}

impl VerifyingKey {
    fn new(name: &str, kind: Kind, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), kind, id: key_id(name, kind, &public), public })
    }

    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = parts(text)?;
        let (kind, public) = key.split_first().ok_or(KeyError::Form)?;
        let kind = Kind::of_byte(*kind).ok_or(KeyError::Kind)?;
        let public = public.try_into().map_err(|_| KeyError::Kind)?;
        let key = Self::new(name, kind, public)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Name and id, which tell two keys of one owner apart: `NAME+ID`.
    pub fn label(&self) -> String {
        format!("{}+{}", self.name, hex::encode(self.id))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], &self.public[..]].concat();
        write!(f, "{}+{}", self.label(), STANDARD.encode(key))
    }
}

/// Name, id and key of a text; the key may have a plus in it.
fn parts(text: &str) -> Result<(&str, KeyId, Zeroizing<Vec<u8>>), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form);
    };
    let mut bytes = KeyId::default();
    hex::decode_to_slice(id, &mut bytes).map_err(|_| KeyError::Form)?;
    let key = STANDARD.decode(key).map(Zeroizing::new).map_err(|_| KeyError::Form)?;
    Ok((name, bytes, key))
}

/// Signs notes in the name of its owner.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifying: VerifyingKey,
}

impl SigningKey {
    pub fn from_seed(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Refused)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Refused)?;
        Ok(Self { verifying: VerifyingKey::new(name, kind, public)?, pair })
    }

    /// The form of [`secret_text`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, key) = parts(text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?)?;
        let (kind, seed) = key.split_first().ok_or(KeyError::Form)?;
        let kind = Kind::of_byte(*kind).ok_or(KeyError::Kind)?;
        let key = Self::from_seed(name, kind, seed.try_into().map_err(|_| KeyError::Kind)?)?;
        if key.verifying.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The signature of the text as it is.
    pub fn sign(&self, text: &str) -> Signature {
        self.line(self.pair.sign(text.as_bytes()).as_ref().to_vec())
    }

    /// The signature of the text at a time, in seconds since 1970: a cosignature.
    pub fn cosign(&self, text: &str, seconds: u64) -> Signature {
        let signature = self.pair.sign(cosigned(text, seconds).as_bytes());
        self.line([&seconds.to_be_bytes()[..], signature.as_ref()].concat())
    }

    fn line(&self, bytes: Vec<u8>) -> Signature {
        let VerifyingKey { name, id, .. } = &self.verifying;
        Signature { name: name.clone(), id: *id, bytes }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.verifying.label())
    }
}

/// The text form of a key with its private half: `PRIVATE+KEY+NAME+ID+SEED`.
pub fn secret_text(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Zeroizing<String>, KeyError> {
    let key = SigningKey::from_seed(name, kind, seed)?;
    let secret = Zeroizing::new([&[kind.byte()][..], &seed[..]].concat());
    let secret = Zeroizing::new(STANDARD.encode(secret.as_slice()));
    Ok(Zeroizing::new(format!("{PRIVATE}{}+{}", key.verifying.label(), secret.as_str())))
}

/// The message that a cosignature signs.
fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// One signature of a note. As text: a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// A line without its end.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix(MARK)?.split_once(' ')?;
        let bytes = STANDARD.decode(rest).ok()?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        is_name(name).then(|| Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }

    fn is_of(&self, key: &VerifyingKey) -> bool {
        self.name == key.name && self.id == key.id
    }

    /// The time of a cosignature that this key made of this text, in seconds since 1970.
    fn cosigned_at(&self, text: &str, key: &VerifyingKey) -> Option<u64> {
        let (seconds, signature) = self.bytes.split_first_chunk::<8>()?;
        let seconds = u64::from_be_bytes(*seconds);
        let fits = seconds > 0 && key.verifies(cosigned(text, seconds).as_bytes(), signature);
        fits.then_some(seconds)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id[..], &self.bytes[..]].concat();
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text and its signatures. As text: the text, an empty line, a line for each signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// The text ends with its line. Signatures are added as [`Self::add`] does.
    pub fn new(text: String, signatures: Vec<Signature>) -> Self {
        let mut note = Self { text, signatures: Vec::new() };
        for signature in signatures {
            note.add(signature);
        }
        note
    }

    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Form);
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Option<Vec<Signature>> =
            lines.split('\n').take(MOST_SIGNATURES + 1).map(Signature::parse).collect();
        let signatures = signatures.filter(|found| found.len() <= MOST_SIGNATURES);
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or(NoteError::Form)? })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature, unless it is there or the note has 64: [`Self::parse`] refuses more.
    pub fn add(&mut self, signature: Signature) {
        if self.signatures.len() < MOST_SIGNATURES && !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Only the signatures of this key.
    pub fn of(&self, key: &VerifyingKey) -> Vec<Signature> {
        self.signatures.iter().filter(|signature| signature.is_of(key)).cloned().collect()
    }

    /// Checks that a log signed the text. A second signature of the same key must fit too.
    pub fn verify(&self, log: &VerifyingKey) -> Result<(), NoteError> {
        let signatures = self.of(log);
        if signatures.is_empty() || log.kind != Kind::Log {
            return Err(NoteError::NotSigned);
        }
        let fit = |signature: &Signature| log.verifies(self.text.as_bytes(), &signature.bytes);
        if signatures.iter().all(fit) { Ok(()) } else { Err(NoteError::BadSignature) }
    }

    /// When a witness last signed the text, in seconds since 1970.
    pub fn cosigned_at(&self, witness: &VerifyingKey) -> Result<u64, NoteError> {
        let signatures = self.of(witness);
        if signatures.is_empty() || witness.kind != Kind::Witness {
            return Err(NoteError::NotSigned);
        }
        let times: Option<Vec<u64>> =
            signatures.iter().map(|it| it.cosigned_at(&self.text, witness)).collect();
        times.and_then(|times| times.into_iter().max()).ok_or(NoteError::BadSignature)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}
