//! `turnd._native`: the door between turnd's Python and its relay engine.
//!
//! Described for Python by `turnd/_native.pyi`.

use pyo3::prelude::*;

/// What Python imports.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
