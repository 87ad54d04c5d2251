//! Placing and comparing maps asks the allocator for nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "a global allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use crush::{CrushParams, Leaf, Map, Moves};

struct Counting;

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every request goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.with(|requests| requests.set(requests.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn requests(work: impl FnOnce()) -> u64 {
    let before = REQUESTS.with(Cell::get);
    work();
    REQUESTS.with(Cell::get) - before
}

fn map(miners: u32) -> Map {
    let params = CrushParams { pg_count: 512, ..CrushParams::STANDARD };
    let leaf = |uid: u32| Leaf { uid, family: [(uid / 7) as u8; 32], weight: 0x1_0000 + uid };
    Map::build(&params, (0..miners).map(leaf)).unwrap()
}

#[test]
fn placing_does_not_allocate() {
    assert!(requests(|| drop(map(200))) > 0, "the allocator counts");
    let (before, after) = (map(200), map(203));
    let mut out = [None; 30];
    // The processor is looked at once.
    before.place(0, &mut out);
    assert_eq!(requests(|| (0..512).for_each(|pg| before.place(pg, &mut out))), 0);
    let moves = requests(|| assert!(Moves::between(&before, &after).unwrap().count() > 0));
    assert_eq!(moves, 0);
}
