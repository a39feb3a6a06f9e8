//! Records the statements that a process sends to the database, with the types of their parameters.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::cluster::Database;

/// One statement, and its parameters' types as the client names them; 0: left to the server.
pub type Statement = (String, Vec<u32>);

/// The statements sent through it.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    statements: Arc<Mutex<BTreeSet<Statement>>>,
    /// Of each connection.
    texts: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// The same database, seen through this.
    pub async fn before(&self, database: &Database) -> Database {
        let mut url = Url::parse(&database.url).expect("a URL");
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().expect("a port")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        url.set_port(Some(listener.local_addr().expect("an address").port())).expect("a port");
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(upstream).await {
                    tokio::spawn(recorder.clone().relay(client, server));
                }
            }
        });
        Database::at(url)
    }

    /// All of them so far.
    pub fn statements(&self) -> BTreeSet<Statement> {
        self.statements.lock().expect("whole").clone()
    }

    /// How many connections have sent a statement with this text.
    pub fn connections_with(&self, text: &str) -> usize {
        let texts = self.texts.lock().expect("whole");
        texts.iter().filter(|sent| sent.contains(text)).count()
    }

    async fn relay(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        });
        let number = {
            let mut texts = self.texts.lock().expect("whole");
            texts.push(String::new());
            texts.len() - 1
        };
        let (mut unread, mut buffer) = (Messages::default(), vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            for statement in unread.take(&buffer[..read]) {
                self.texts.lock().expect("whole")[number].push_str(&statement.0);
                self.statements.lock().expect("whole").insert(statement);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        answers.abort();
    }
}

/// A client's messages, as far as they have come.
#[derive(Default)]
struct Messages {
    unread: Vec<u8>,
    started: bool,
}

impl Messages {
    fn take(&mut self, bytes: &[u8]) -> Vec<Statement> {
        self.unread.extend_from_slice(bytes);
        let mut found = Vec::new();
        loop {
            // Only the messages before the start have no kind.
            let kind = usize::from(self.started);
            let Some(length) = self.unread.get(kind..kind + 4) else { return found };
            let length = kind + u32::from_be_bytes(length.try_into().expect("four")) as usize;
            if self.unread.len() < length {
                return found;
            }
            let message: Vec<u8> = self.unread.drain(..length).collect();
            if self.started {
                found.extend(statement(message[0], &message[5..]));
            } else {
                // A request for encryption is not the start.
                self.started = message[4..8] != 80_877_103_u32.to_be_bytes();
            }
        }
    }
}

/// Of a `Parse` or a simple `Query`.
fn statement(kind: u8, body: &[u8]) -> Option<Statement> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parts = body.split(|byte| *byte == 0);
    match kind {
        b'Q' => Some((text(parts.next()?), Vec::new())),
        b'P' => {
            let (name, query) = (parts.next()?, parts.next()?);
            let types = &body[name.len() + query.len() + 4..];
            let types =
                types.chunks_exact(4).map(|oid| u32::from_be_bytes(oid.try_into().expect("four")));
            Some((text(query), types.collect()))
        }
        _ => None,
    }
}
