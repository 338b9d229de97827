//! The Python process that answers.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub(crate) struct Oracle {
    questions: ChildStdin,
    answers: ChildStdout,
    /// Ends by itself when its standard input does, at the latest with the tests' process.
    _process: Child,
}

/// The one oracle, for as long as it is held.
pub(crate) fn oracle() -> MutexGuard<'static, Oracle> {
    static ORACLE: OnceLock<Mutex<Oracle>> = OnceLock::new();
    let oracle = ORACLE.get_or_init(|| Mutex::new(Oracle::start()));
    // A test that failed has had its answer: the next question is in step.
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Oracle {
    fn start() -> Self {
        let python =
            std::env::var("TURND_PYTHON").unwrap_or_else(|_| format!("{ROOT}/.venv/bin/python"));
        let mut process = Command::new(&python)
            .args(["-m", "tests.native.oracle"])
            .current_dir(ROOT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python}: {error} (`make install`, or TURND_PYTHON)"));
        let questions = process.stdin.take().unwrap();
        let answers = process.stdout.take().unwrap();
        Self { questions, answers, _process: process }
    }

    /// The answer to a question, whose parts are joined.
    pub(crate) fn ask(&mut self, letter: char, parts: &[&[u8]]) -> String {
        let question = parts.concat();
        let size = u32::try_from(1 + question.len()).unwrap();
        self.questions.write_all(&size.to_be_bytes()).unwrap();
        self.questions.write_all(&[letter as u8]).unwrap();
        self.questions.write_all(&question).unwrap();
        self.questions.flush().unwrap();
        let mut size = [0; 4];
        self.answers.read_exact(&mut size).expect("the oracle said why on standard error");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        self.answers.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// The answer to a question that begins with an address.
    pub(crate) fn ask_about(
        &mut self,
        letter: char,
        address: SocketAddr,
        parts: &[&[u8]],
    ) -> String {
        let host = octets(address);
        let mut packed = host.clone();
        packed.resize(16, 0);
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let port = address.port().to_be_bytes();
        let size = [u8::try_from(host.len()).unwrap()];
        let scope = scope.to_be_bytes();
        let mut all: Vec<&[u8]> = vec![&packed, &size, &port, &scope];
        all.extend_from_slice(parts);
        self.ask(letter, &all)
    }
}

pub(crate) fn octets(address: SocketAddr) -> Vec<u8> {
    match address.ip() {
        IpAddr::V4(host) => host.octets().to_vec(),
        IpAddr::V6(host) => host.octets().to_vec(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |index: usize| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
