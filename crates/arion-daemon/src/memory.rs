//! The allocator of daemons that move shards.
//!
//! Shards and stripes come and go many times a second. The system's allocator gives such blocks back at once, so that each new
//! one costs a page fault for every 4 KiB, and on a virtual machine more; or it keeps them in a heap for each thread, more than twice
//! of what is in use. jemalloc keeps what is free for a moment, for all threads (docs/performance.md).

#[cfg(target_env = "gnu")]
pub use tikv_jemallocator::Jemalloc;

/// Makes jemalloc the allocator of a program: free memory is kept for a second, then given back.
#[macro_export]
macro_rules! keep_memory {
    () => {
        #[cfg(target_env = "gnu")]
        #[global_allocator]
        static ALLOCATOR: $crate::memory::Jemalloc = $crate::memory::Jemalloc;

        /// Read by jemalloc before the first allocation: a C string.
        // SAFETY: nothing else has this name, which is jemalloc's for a pointer to a C string.
        #[cfg(target_env = "gnu")]
        #[allow(unsafe_code)]
        #[unsafe(export_name = "_rjem_malloc_conf")]
        pub static ALLOCATOR_SETTINGS: &[u8; 91] =
            b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,oversize_threshold:0,background_thread:true\0";
    };
}
