//! The memory that packets are read into and sent from: equal slots in one mapping.
//!
//! A packet stays in its slot until what was made of it has been sent; an outgoing packet names
//! slots and offsets instead of holding references, so that the borrow checker need not know how
//! long the kernel looks at them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

/// Room before a slot's first byte, for a header that is written in front of what was received.
pub const HEADROOM: usize = 64;

/// The longest datagram, whole or merged by UDP_GRO, and the longest read from a stream.
pub const SLOT_SIZE: usize = 65_536 + 1_024;

// Slots a power of two apart would fall into the same lines of the processor's cache.
const STRIDE: usize = HEADROOM + SLOT_SIZE + 5 * 64;

/// Slots of [`SLOT_SIZE`] bytes with [`HEADROOM`] in front of each.
pub struct Arena {
    mapping: Arc<Mapping>,
}

/// Keeps an arena's memory where it is for as long as the kernel may write to it.
pub struct Loan {
    mapping: Arc<Mapping>,
}

struct Mapping {
    memory: NonNull<u8>,
    layout: Layout,
    slots: usize,
}

// SAFETY: the memory belongs to the mapping alone, wherever that is moved; it is read and written
// through the one arena that has it.
unsafe impl Send for Mapping {}
// SAFETY: as above; a loan shared with another thread reads and writes nothing.
unsafe impl Sync for Mapping {}

impl Arena {
    /// Memory for so many slots; the system gives pages only as they are written.
    ///
    /// # Panics
    /// If the sizes overflow.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        #[expect(clippy::expect_used, reason = "a number of slots that our own code chose")]
        let layout = Layout::from_size_align(slots.max(1) * STRIDE, 4_096).expect("a sane size");
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let mapping = Arc::new(Mapping { memory, layout, slots });
        Self { mapping }
    }

    /// For a driver that has the kernel write to slots: the memory outlives the arena.
    #[must_use]
    pub fn lend(&self) -> Loan {
        Loan { mapping: Arc::clone(&self.mapping) }
    }

    /// Whether it is the arena that was lent.
    #[must_use]
    pub fn is_lent_by(&self, loan: &Loan) -> bool {
        Arc::ptr_eq(&self.mapping, &loan.mapping)
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.mapping.slots
    }

    /// Where a slot's first byte is, behind its headroom. For the kernel.
    ///
    /// # Panics
    /// If there is no such slot.
    #[must_use]
    pub fn address(&self, slot: u32) -> *mut u8 {
        let index = slot as usize;
        let slots = self.mapping.slots;
        assert!(index < slots, "slot {index} of {slots}");
        // SAFETY: `index` is below the number of strides that were allocated.
        unsafe { self.mapping.memory.as_ptr().add(index * STRIDE + HEADROOM) }
    }

    /// The first `len` bytes of a slot.
    ///
    /// # Panics
    /// If there is no such slot or it is shorter.
    #[must_use]
    pub fn bytes(&self, slot: u32, len: usize) -> &[u8] {
        assert!(len <= SLOT_SIZE);
        // SAFETY: the slot has SLOT_SIZE bytes, zeroed at first; the kernel writes only to slots
        // that it was lent, whose bytes nobody reads before they come back.
        unsafe { std::slice::from_raw_parts(self.address(slot), len) }
    }

    /// Bytes of a slot from `start` on, which is negative in the headroom.
    ///
    /// # Panics
    /// If they are not all the slot's.
    #[must_use]
    pub fn slice(&self, slot: u32, start: i32, len: usize) -> &[u8] {
        let start = start as isize;
        assert!(
            start >= -(HEADROOM as isize)
                && start.saturating_add_unsigned(len) <= SLOT_SIZE as isize
        );
        // SAFETY: the bytes lie between the headroom's begin and the slot's end, by the assertion;
        // as above, nobody writes to them.
        unsafe { std::slice::from_raw_parts(self.address(slot).offset(start), len) }
    }

    /// A whole slot, to be written.
    ///
    /// # Panics
    /// If there is no such slot.
    #[must_use]
    pub fn bytes_mut(&mut self, slot: u32) -> &mut [u8] {
        // SAFETY: as above, and nobody else holds a reference into the arena.
        unsafe { std::slice::from_raw_parts_mut(self.address(slot), SLOT_SIZE) }
    }

    /// Writes a header that ends right before `start`, in the slot's headroom or in bytes that have
    /// been read already. Returns where it begins, relative to the slot's first byte.
    ///
    /// # Panics
    /// If it does not fit there.
    pub fn prepend(&mut self, slot: u32, start: usize, header: &[u8]) -> i32 {
        assert!(header.len() <= start + HEADROOM && start <= SLOT_SIZE);
        let offset = start as isize - header.len() as isize;
        // SAFETY: the bytes lie between the headroom's begin and the slot's end, by the assertion.
        unsafe {
            let to = self.address(slot).offset(offset);
            std::ptr::copy_nonoverlapping(header.as_ptr(), to, header.len());
        }
        offset as i32
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap() {
        let mut arena = Arena::new(3);
        for slot in 0..3 {
            arena.bytes_mut(slot).fill(slot as u8 + 1);
        }
        arena.prepend(1, 0, &[9; HEADROOM]);
        for slot in 0..3 {
            assert!(arena.bytes(slot, SLOT_SIZE).iter().all(|byte| *byte == slot as u8 + 1));
        }
    }

    #[test]
    fn a_header_ends_where_the_payload_begins() {
        let mut arena = Arena::new(1);
        arena.bytes_mut(0)[4..7].copy_from_slice(b"abc");
        assert_eq!(arena.prepend(0, 4, b"head"), 0);
        assert_eq!(arena.bytes(0, 7), b"headabc");
        assert_eq!(arena.prepend(0, 0, b"head"), -4);
    }

    #[test]
    #[should_panic(expected = "slot 1 of 1")]
    fn a_slot_that_is_not_there_is_refused() {
        let _ = Arena::new(1).address(1);
    }
}
