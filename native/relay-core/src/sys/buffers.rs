//! The ring of buffers that an io_uring receives into: slots of an arena.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::io::arena::{Arena, Loan, SLOT_SIZE};

/// A ring of slots, shared with the kernel: we add at its tail, it takes from its head.
pub(super) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    slots: u16,
    tail: u16,
    /// Where each slot is.
    addresses: Box<[u64]>,
    loan: Option<Loan>,
}

impl BufferRing {
    /// A ring with room for the first `slots` slots of an arena, a power of two, and none in it.
    pub(super) fn new(arena: &Arena, slots: u16) -> io::Result<Self> {
        assert!(slots.is_power_of_two());
        let size = size_of::<BufRingEntry>() * usize::from(slots);
        let layout = Layout::from_size_align(size, 4_096).map_err(io::Error::other)?;
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast()) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let addresses = (0..u32::from(slots)).map(|slot| arena.address(slot) as u64).collect();
        Ok(Self { entries, layout, slots, tail: 0, addresses, loan: Some(arena.lend()) })
    }

    /// For the kernel.
    pub(super) fn address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    /// Gives the kernel slots.
    pub(super) fn add(&mut self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            let place = usize::from(self.tail & (self.slots - 1));
            // SAFETY: `place` is below the number of entries, which are zeroed at first. The
            // kernel reads entries between head and tail only, and there are never more slots
            // than entries, so that it has read this one.
            let entry = unsafe { &mut *self.entries.as_ptr().add(place) };
            entry.set_addr(self.addresses[slot as usize]);
            entry.set_len(SLOT_SIZE as u32);
            entry.set_bid(slot as u16);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail is where the first entry says, aligned, and written atomically by us
        // alone; the kernel reads it so.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Leaves ring and slots to a kernel that did not let go of them.
    pub(super) fn leak(&mut self) {
        std::mem::forget(self.loan.take());
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if self.loan.is_some() {
            // SAFETY: allocated in `new` with this layout; the kernel has let go of it.
            unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
        }
    }
}
