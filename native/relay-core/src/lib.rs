//! The relay engine of turnd: moves the packets by rules that Python decides.

pub mod wire;
