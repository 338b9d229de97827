//! The relay engine of turnd: moves the packets by rules that Python decides.

pub mod address;
pub mod connection;
pub mod counters;
pub mod engine;
pub mod forward;
pub mod handup;
pub mod histogram;
pub mod io;
pub mod leg;
pub mod offload;
pub mod orders;
pub mod places;
pub mod rules;
pub mod stream;
pub mod sys;
pub mod time;
pub mod wire;
pub mod worker;
