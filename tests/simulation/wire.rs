//! Messages between a client and Postgres, as far as a proxy has to know them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The requests that come without a type.
pub const SSL_REQUEST: u32 = 80_877_103;
/// Types of messages of the client.
pub const BIND: u8 = b'B';
pub const EXECUTE: u8 = b'E';
pub const PARSE: u8 = b'P';
pub const QUERY: u8 = b'Q';
pub const SYNC: u8 = b'S';
pub const TERMINATE: u8 = b'X';
/// Types of messages of the server.
pub const AUTHENTICATION: u8 = b'R';
pub const ERROR: u8 = b'E';
pub const KEY_DATA: u8 = b'K';
pub const READY: u8 = b'Z';
/// The states that [`READY`] names.
pub const IDLE: u8 = b'I';

/// One message: its type, and what follows its length.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Message {
    pub fn new(kind: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { kind, body: body.into() }
    }

    pub fn query(text: &str) -> Self {
        Self::new(QUERY, with_zero(text))
    }

    /// The server is ready, in this state.
    pub fn ready(state: u8) -> Self {
        Self::new(READY, [state])
    }

    pub fn write(&self, to: &mut Vec<u8>) {
        to.push(self.kind);
        let length = u32::try_from(self.body.len() + 4).expect("a message is short");
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(&self.body);
    }

    /// The text that begins here, and what follows it.
    pub fn text(&self, from: usize) -> (&str, usize) {
        let length = self.body[from..].iter().position(|byte| *byte == 0).expect("a text ends");
        let text = std::str::from_utf8(&self.body[from..from + length]).expect("UTF-8");
        (text, from + length + 1)
    }
}

/// These messages as they are sent.
pub fn bytes(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        message.write(&mut bytes);
    }
    bytes
}

fn with_zero(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The same message with another text in place of the one that begins at `from`.
pub fn with_text(message: &Message, from: usize, text: &str) -> Message {
    let (_, rest) = message.text(from);
    let body = [&message.body[..from], &with_zero(text), &message.body[rest..]].concat();
    Message { kind: message.kind, body }
}

/// One message; `None`: the sender has closed the connection.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    let mut head = [0; 5];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut body = vec![0; usize::try_from(length).expect("32 bits") - 4];
    from.read_exact(&mut body).await?;
    Ok(Some(Message { kind: head[0], body }))
}

/// A client's first message: its code, and the whole of it.
pub async fn read_first(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u32, Vec<u8>)> {
    let length = from.read_u32().await?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.resize(usize::try_from(length).expect("32 bits"), 0);
    from.read_exact(&mut whole[4..]).await?;
    let code = u32::from_be_bytes(whole[4..8].try_into().expect("four bytes"));
    Ok((code, whole))
}
