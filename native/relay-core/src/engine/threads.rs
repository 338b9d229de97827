//! The workers' threads: pinned, then given memory of their own, then let run.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::{Options, Shared};
use crate::io::Driver;
use crate::io::epoll::EpollDriver;
use crate::io::probe::{Io, IoChoice, choose, in_words};
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
    let may_fall_back = options.io == IoChoice::Auto;
    for index in 0..shared.stations.len() {
        let (shared, to) = (shared.clone(), to.clone());
        let cpu = options.cpus.iter().cycle().nth(index).copied();
        let thread = Builder::new()
            .name(format!("turnd-relay-{index}"))
            .spawn(move || serve(index as u32, &shared, cpu, (io, may_fall_back), to))?;
        started.threads.push(thread);
    }
    drop(to);
    for _ in 0..shared.stations.len() {
        // A thread that ends without a word has panicked, which is no end that we know.
        let notes = from.recv().unwrap_or_else(|_| Err(io::Error::other("a worker did not begin")));
        for note in notes? {
            if !started.notes.contains(&note) {
                started.notes.push(note);
            }
        }
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

/// Where a worker says that it has begun, with what is to be known of it.
type Begun = SyncSender<io::Result<Vec<String>>>;

fn serve(
    index: u32,
    shared: &Arc<Shared>,
    cpu: Option<usize>,
    (io, may_fall_back): (Io, bool),
    to: Begun,
) {
    let mut notes = Vec::new();
    // Pinned first: memory then comes from where the thread runs.
    if let Some(cpu) = cpu
        && let Err(error) = sys::cpu::pin(cpu)
    {
        notes.push(format!("worker {index} is not pinned to CPU {cpu}: {error}"));
    }
    if io == Io::Uring {
        match Worker::<UringDriver>::new(index, shared.clone()) {
            // The probe's io_uring had room in RLIMIT_MEMLOCK, and so had those of other workers.
            Err(error) if may_fall_back => {
                notes.push(format!("epoll for some workers: {}", in_words(&error)));
            }
            opened => return run(index, shared, opened, notes, to),
        }
    }
    run(index, shared, Worker::<EpollDriver>::new(index, shared.clone()), notes, to);
}

fn run<D: Driver>(
    index: u32,
    shared: &Arc<Shared>,
    opened: io::Result<Worker<D>>,
    notes: Vec<String>,
    to: Begun,
) {
    match opened {
        Ok(worker) => {
            // The engine waits for each of these, unless one before failed.
            let _ = to.send(Ok(notes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seccomp::forbid;
    use crate::time::Clock;

    fn begin_without_io_uring(io: IoChoice) -> io::Result<Vec<String>> {
        // A filter holds for its thread and those that it starts: here what the probe has met was
        // another kernel than the workers meet.
        let all = std::thread::spawn(move || {
            forbid(libc::SYS_io_uring_setup, libc::ENOMEM);
            let shared = Arc::new(Shared::new(2, Clock::by_hand(1))?);
            let options = Options { workers: 2, cpus: Vec::new(), io, manual_clock: None };
            let mut started =
                Started { threads: Vec::new(), io: Io::Uring.name(), notes: Vec::new() };
            let begun = begin(&options, &shared, Io::Uring, &mut started);
            stop(&shared, &mut started.threads);
            begun.map(|()| started.notes)
        });
        all.join().unwrap()
    }

    #[test]
    fn a_worker_without_room_for_an_io_uring_uses_epoll_and_says_so() {
        let notes = begin_without_io_uring(IoChoice::Auto).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("epoll for some workers"), "{notes:?}");
        assert!(notes[0].contains("RLIMIT_MEMLOCK"), "{notes:?}");
    }

    #[test]
    fn where_io_uring_alone_was_wanted_it_does_not_begin() {
        let error = begin_without_io_uring(IoChoice::Uring).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
