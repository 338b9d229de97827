//! The relay engine of turnd: moves the packets by rules that Python decides. It knows nothing of
//! Python.
//!
//! One thread calls the verbs of [`engine::Engine`]; each of the others is a [`worker::Worker`] with
//! sockets, tables and memory of its own. What they share:
//!
//! - A worker's [`orders`]: one queue, obeyed in its order after the worker has received and before
//!   it handles. An order is given before the answer that tells of it is sent, so that no packet
//!   which that answer provoked meets an older rule.
//! - The [`handup`] queue: what the engine's caller is to decide, and what became of streams.
//! - [`counters`], each with one writer, and the deadlines of relays, which packets are compared with.
//! - Token buckets of users and of the server, and which addresses are relayed ([`rules`]).
//!
//! A packet's way through a turn: an [`io::Driver`] receives a batch into slots of an
//! [`io::arena::Arena`]; [`wire`] tells what each is; [`forward`] looks up its rules and puts pieces
//! of the slots into the [`io::outbox::Outbox`], where packets to one destination become runs; the
//! driver sends them. Streams ([`stream`]) have frames in such slots too, and a backlog of their own
//! towards the client. All that is `unsafe` is in [`sys`] and [`io::arena`].

pub mod address;
pub mod connection;
pub mod counters;
pub mod dtls;
pub mod engine;
pub mod fields;
pub mod forward;
pub mod handup;
pub mod histogram;
pub mod io;
pub mod leg;
pub mod network;
pub mod offload;
pub mod orders;
pub mod places;
pub mod rules;
pub mod stream;
pub mod sys;
pub mod time;
pub mod wire;
pub mod worker;
