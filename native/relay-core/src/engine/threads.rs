//! The workers' threads: pinned, then given memory of their own, then let run.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::{Options, Shared};
use crate::io::Driver;
use crate::io::epoll::EpollDriver;
use crate::io::probe::{Io, IoChoice, choose};
use crate::io::uring::UringDriver;
use crate::orders::Order;
use crate::sys;
use crate::worker::Worker;

/// What came of starting.
pub(super) struct Started {
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) io: &'static str,
    pub(super) notes: Vec<String>,
}

/// Starts all workers and waits until each has its way to the kernel open.
pub(super) fn start(options: &Options, shared: &Arc<Shared>) -> io::Result<Started> {
    let chosen = choose(options.io).map_err(io::Error::other)?;
    let fell_back = options.io == IoChoice::Auto && chosen.io == Io::Epoll;
    let notes = if fell_back { vec![chosen.why] } else { Vec::new() };
    let mut started = Started { threads: Vec::new(), io: chosen.io.name(), notes };
    match begin(options, shared, chosen.io, &mut started) {
        Ok(()) => Ok(started),
        Err(error) => {
            stop(shared, &mut started.threads);
            Err(error)
        }
    }
}

fn begin(options: &Options, shared: &Arc<Shared>, io: Io, started: &mut Started) -> io::Result<()> {
    let (to, from) = sync_channel(shared.stations.len());
    for index in 0..shared.stations.len() {
        let (shared, to) = (shared.clone(), to.clone());
        let cpu = options.cpus.get(index).copied();
        let thread = Builder::new().name(format!("turnd-relay-{index}")).spawn(move || {
            let serve = match io {
                Io::Epoll => serve::<EpollDriver>,
                Io::Uring => serve::<UringDriver>,
            };
            serve(index as u32, &shared, cpu, to);
        })?;
        started.threads.push(thread);
    }
    drop(to);
    for _ in 0..shared.stations.len() {
        // A thread that ends without a word has panicked, which is no end that we know.
        let note = from.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not begin")));
        started.notes.extend(note?);
    }
    Ok(())
}

/// Ends all threads and waits for them.
pub(super) fn stop(shared: &Shared, threads: &mut Vec<JoinHandle<()>>) {
    for station in &shared.stations {
        station.orders.give_now(Order::Stop);
    }
    for thread in threads.drain(..) {
        // One that has panicked said so by itself, and is as stopped as the others.
        let _ = thread.join();
    }
}

fn serve<D: Driver>(
    index: u32,
    shared: &Arc<Shared>,
    cpu: Option<usize>,
    to: SyncSender<io::Result<Option<String>>>,
) {
    // Pinned first: memory then comes from where the thread runs.
    let pinned = cpu.map_or(Ok(()), sys::cpu::pin);
    let note = pinned.err().map(|error| {
        format!("worker {index} is not pinned to CPU {}: {error}", cpu.unwrap_or_default())
    });
    match Worker::<D>::new(index, shared.clone()) {
        Ok(worker) => {
            // The engine waits for each of these, unless one before failed.
            let _ = to.send(Ok(note));
            drop(to);
            if let Err(error) = worker.run() {
                shared.report_broken(format!("worker {index} has ended: {error}"));
            }
        }
        Err(error) => {
            let _ = to.send(Err(error));
        }
    }
}
