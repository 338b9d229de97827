//! Every way in which the door fails, as Python's exception: none is made anywhere else.

use std::io;

use pyo3::PyErr;
use pyo3::exceptions::{PyKeyError, PyOSError, PyTypeError, PyValueError};
use relay_core::stream::tls::TlsConfigError;

/// Why a verb raises instead of doing what it was asked for.
#[derive(Debug)]
pub(crate) enum DoorError {
    /// The system refused: `OSError`, of the class that belongs to the error's number.
    System(io::Error),
    /// A text that ought to be an IP address: `OSError`, as a socket would raise.
    NotAnAddress(String),
    /// A certificate that cannot be served, and how to mend it: `ValueError`.
    Certificate(TlsConfigError),
    /// A value that no caller of ours gives: `ValueError`.
    Value(&'static str),
    /// An object of another class than the verb takes: `TypeError`.
    NotA(&'static str),
    /// The handle is no UDP listener's: `KeyError`.
    NoSuchListener,
    /// Python itself failed.
    Python(PyErr),
}

/// What a verb gives.
pub(crate) type Result<T> = std::result::Result<T, DoorError>;

impl From<io::Error> for DoorError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<TlsConfigError> for DoorError {
    fn from(error: TlsConfigError) -> Self {
        Self::Certificate(error)
    }
}

impl From<PyErr> for DoorError {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<DoorError> for PyErr {
    fn from(error: DoorError) -> Self {
        match error {
            // With a number Python takes the class from it, also where PyO3 knows no OSError for it.
            DoorError::System(error) => match error.raw_os_error() {
                Some(number) => PyOSError::new_err((number, error.to_string())),
                None => error.into(),
            },
            DoorError::NotAnAddress(text) => {
                PyOSError::new_err(format!("{text:?} is no IP address"))
            }
            DoorError::Certificate(error) => PyValueError::new_err(error.to_string()),
            DoorError::Value(why) => PyValueError::new_err(why),
            DoorError::NotA(class) => PyTypeError::new_err(format!("a {class} is wanted")),
            DoorError::NoSuchListener => PyKeyError::new_err("no such listener"),
            DoorError::Python(error) => error,
        }
    }
}
