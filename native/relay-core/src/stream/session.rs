//! One TLS session between bytes and bytes: rustls by memory, sockets left to the stream.

use std::sync::Arc;

use rustls::server::{Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::backlog::{Backlog, clear};
use super::tls::{TlsConfig, canonical};
use crate::time::Nanos;

/// Bytes that are kept until what follows them makes a whole of them: a record (RFC 8446 section
/// 5.2 allows 16 KiB and some more), the client's hello, or what else comes in several records.
pub(super) const LARGEST_CUT: usize = 32 << 10;

/// Plaintext that is encrypted before it is written: four full records.
const ENCRYPTED_AT_ONCE: usize = 64 << 10;

/// What a record adds to its plaintext at most: header, nonce of TLS 1.2, content type, tag.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
const RECORD: usize = 16 << 10;

/// The alert (RFC 8446 section 6) for hellos that rustls finds wrong and says nothing about.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// The session has failed and is to be closed; an alert may wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Where plaintext goes: to the room in a slot, and what does not fit there beyond.
pub(super) struct Received<'a> {
    pub(super) room: &'a mut [u8],
    pub(super) filled: usize,
    pub(super) beyond: &'a mut Vec<u8>,
}

impl Received<'_> {
    fn put(&mut self, plaintext: &[u8]) {
        let free = &mut self.room[self.filled..];
        let (here, rest) = plaintext.split_at(plaintext.len().min(free.len()));
        free[..here.len()].copy_from_slice(here);
        self.filled += here.len();
        self.beyond.extend_from_slice(rest);
    }
}

/// The server's side of one session.
pub(super) struct Session {
    state: State,
    /// What the last read had of something that it cut.
    cut: Vec<u8>,
    /// What is to be encrypted.
    plaintext: Vec<u8>,
    deadline: Nanos,
    server_name: Option<Box<str>>,
}

enum State {
    /// The client's hello decides on the configuration, and is then handled by the connection.
    Greeting {
        acceptor: Box<Acceptor>,
        heard: usize,
        config: Arc<TlsConfig>,
    },
    Agreed(Box<UnbufferedServerConnection>),
    /// Nothing can be asked of the connection any more.
    Failed {
        handshaking: bool,
    },
}

impl Session {
    pub(super) fn new(config: Arc<TlsConfig>, first_bytes: &[u8], deadline: Nanos) -> Self {
        let mut session = Self {
            state: State::Failed { handshaking: true },
            cut: Vec::new(),
            plaintext: Vec::new(),
            deadline,
            server_name: None,
        };
        if first_bytes.len() <= LARGEST_CUT {
            session.state = State::Greeting { acceptor: Box::default(), heard: 0, config };
            session.cut = first_bytes.to_vec();
        }
        session
    }

    /// When the handshake must be complete.
    pub(super) fn deadline(&self) -> Nanos {
        self.deadline
    }

    /// Whom the client asked for, told once: lower case, without a final dot.
    pub(super) fn take_server_name(&mut self) -> Option<Box<str>> {
        self.server_name.take()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match &self.state {
            State::Greeting { .. } => true,
            State::Agreed(connection) => connection.is_handshaking(),
            State::Failed { handshaking } => *handshaking,
        }
    }

    /// Puts what is kept at the beginning of the scratch. Returns how much that is.
    pub(super) fn resume(&self, scratch: &mut [u8]) -> usize {
        scratch[..self.cut.len()].copy_from_slice(&self.cut);
        self.cut.len()
    }

    /// Handles bytes from the socket, behind what was kept. Returns whether the client has closed
    /// the session after them.
    ///
    /// # Errors
    /// The handshake has failed or a record is wrong; what came before has been handled.
    pub(super) fn take(
        &mut self,
        data_untrusted: &mut [u8],
        backlog: &mut Backlog,
        received: &mut Received<'_>,
    ) -> Result<bool, Broken> {
        let taken = self.try_take(data_untrusted, backlog, received);
        if taken.is_err() {
            self.state = State::Failed { handshaking: self.is_handshaking() };
        }
        taken
    }

    fn try_take(
        &mut self,
        data_untrusted: &mut [u8],
        backlog: &mut Backlog,
        received: &mut Received<'_>,
    ) -> Result<bool, Broken> {
        if let State::Greeting { acceptor, heard, config } = &mut self.state {
            match greet(acceptor, &data_untrusted[*heard..], config, backlog)? {
                Some((connection, name)) => {
                    self.state = State::Agreed(Box::new(connection));
                    self.server_name = name;
                }
                None => *heard = data_untrusted.len(),
            }
        }
        let (used, closed) = match &mut self.state {
            State::Greeting { .. } => (0, false),
            State::Agreed(connection) => process(connection, data_untrusted, backlog, received)?,
            State::Failed { .. } => return Err(Broken),
        };
        let rest = &data_untrusted[used..];
        if rest.len() > LARGEST_CUT {
            return Err(Broken);
        }
        if rest.is_empty() {
            self.cut = Vec::new();
        } else {
            self.cut.clear();
            self.cut.extend_from_slice(rest);
        }
        Ok(closed)
    }

    /// What is appended to to be encrypted.
    pub(super) fn plaintext(&mut self) -> &mut Vec<u8> {
        &mut self.plaintext
    }

    /// Bytes that have not been encrypted yet.
    pub(super) fn unsent(&self) -> usize {
        self.plaintext.len()
    }

    /// Encrypts some of the plaintext. Returns whether there was any.
    ///
    /// # Errors
    /// The session has failed before, or may encrypt no more.
    pub(super) fn encrypt(&mut self, records: &mut Vec<u8>) -> Result<bool, Broken> {
        if self.plaintext.is_empty() {
            return Ok(false);
        }
        let taken = self.plaintext.len().min(ENCRYPTED_AT_ONCE);
        let size = taken + (taken / RECORD + 2) * RECORD_OVERHEAD;
        let State::Agreed(connection) = &mut self.state else { return Err(Broken) };
        let plaintext = &self.plaintext[..taken];
        write_traffic(connection, &mut self.cut, records, |traffic, records| {
            append(records, size, |room| Ok(traffic.encrypt(plaintext, room)?))
        })?;
        if taken == self.plaintext.len() {
            clear(&mut self.plaintext);
        } else {
            self.plaintext.drain(..taken);
        }
        Ok(true)
    }

    /// Says that nothing more comes, if that can still be said.
    pub(super) fn close(&mut self, records: &mut Vec<u8>) {
        let State::Agreed(connection) = &mut self.state else { return };
        // After an error there is no farewell, and the client's own is not waited for.
        let _ = write_traffic(connection, &mut self.cut, records, |traffic, records| {
            append(records, RECORD_OVERHEAD + 2, |room| Ok(traffic.queue_close_notify(room)?))
        });
    }
}

/// The connection that a client is served by, and whom it asks for.
type Greeted = (UnbufferedServerConnection, Option<Box<str>>);

/// Listens to the client's hello. Returns the connection that it is for, and whom it asks for, once
/// it is whole.
fn greet(
    acceptor: &mut Acceptor,
    mut news_untrusted: &[u8],
    config: &TlsConfig,
    backlog: &mut Backlog,
) -> Result<Option<Greeted>, Broken> {
    while !news_untrusted.is_empty() {
        acceptor.read_tls(&mut news_untrusted).map_err(|_| Broken)?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(canonical);
                let connection = UnbufferedServerConnection::new(config.for_client(&hello));
                return connection.map(|ours| Some((ours, name))).map_err(|_| Broken);
            }
            Err((_, mut alert)) => {
                alert.write_all(backlog.end()).map_err(|_| Broken)?;
                if backlog.is_empty() {
                    backlog.end().extend_from_slice(&DECODE_ERROR);
                }
                return Err(Broken);
            }
        }
    }
    Ok(None)
}

/// Handles whole records. Returns how many bytes they had, and whether the client has closed.
fn process(
    connection: &mut UnbufferedServerConnection,
    data_untrusted: &mut [u8],
    backlog: &mut Backlog,
    received: &mut Received<'_>,
) -> Result<(usize, bool), Broken> {
    let mut used = 0;
    let mut closed = false;
    loop {
        let rest = &mut data_untrusted[used..];
        let UnbufferedStatus { mut discard, state, .. } = connection.process_tls_records(rest);
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|_| Broken)?;
                    discard += record.discard;
                    received.put(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut made)) => {
                append(backlog.end(), 0, |room| Ok(made.encode(room)?))?;
            }
            Ok(ConnectionState::TransmitTlsData(made)) => made.done(),
            Ok(ConnectionState::PeerClosed) => closed = true,
            Ok(
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed,
            ) => return Ok((used + discard, closed)),
            Ok(_) => return Err(Broken), // early data, which we never offer
            Err(_) => {
                let rest = &mut data_untrusted[used + discard..];
                return Err(take_alert(connection, rest, backlog));
            }
        }
        used += discard;
    }
}

/// Takes the alert that says what was wrong.
fn take_alert(
    connection: &mut UnbufferedServerConnection,
    rest: &mut [u8],
    backlog: &mut Backlog,
) -> Broken {
    if let Ok(ConnectionState::EncodeTlsData(mut alert)) =
        connection.process_tls_records(rest).state
    {
        // What else should be said, if not even this can be?
        let _ = append(backlog.end(), 0, |room| Ok(alert.encode(room)?));
    }
    Broken
}

/// Does what is allowed once application data may be sent.
///
/// The connection has to be shown what it has seen of a message that is not complete.
fn write_traffic(
    connection: &mut UnbufferedServerConnection,
    cut: &mut Vec<u8>,
    records: &mut Vec<u8>,
    act: impl FnOnce(&mut Traffic<'_>, &mut Vec<u8>) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(cut);
        match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => return act(&mut traffic, records),
            Ok(ConnectionState::EncodeTlsData(mut made)) => {
                append(records, 0, |room| Ok(made.encode(room)?))?;
            }
            Ok(ConnectionState::TransmitTlsData(made)) => made.done(),
            Ok(_) | Err(_) => return Err(Broken),
        }
        cut.drain(..discard);
    }
}

type Traffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::server::ServerConnectionData>;

/// Why nothing was written into the room that there was.
enum Refusal {
    Needs(usize),
    Never,
}

impl From<EncodeError> for Refusal {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size, .. }) => {
                Self::Needs(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Never,
        }
    }
}

impl From<EncryptError> for Refusal {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size, .. }) => {
                Self::Needs(required_size)
            }
            EncryptError::EncryptExhausted => Self::Never,
        }
    }
}

/// Appends what `write` puts into a room of `size` bytes, or of as many as it says it needs.
fn append(
    records: &mut Vec<u8>,
    mut size: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Refusal>,
) -> Result<(), Broken> {
    let start = records.len();
    loop {
        records.resize(start + size, 0);
        match write(&mut records[start..]) {
            Ok(written) => {
                records.truncate(start + written);
                return Ok(());
            }
            Err(Refusal::Needs(needed)) if needed > size => size = needed,
            Err(Refusal::Needs(_) | Refusal::Never) => {
                records.truncate(start);
                return Err(Broken);
            }
        }
    }
}
