//! `turnd._native`: the door between turnd's Python and its relay engine.
//!
//! Python's side of it is described by `turnd/_native.pyi`; the verbs are those of `RelayEngine` in
//! `turnd/engine/base.py`. Here is no decision and no state but a cache: values are turned from one
//! side's form into the other's, and every way to fail is in `error`.
//!
//! Only the threads that Python made hold its lock; the engine's workers never come here.

mod addresses;
mod classes;
mod engine;
mod error;
mod legs;
mod reports;
mod settings;

use pyo3::prelude::*;

/// What Python imports.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::engine::Engine;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
