//! Which leaves of a guest's memory were written since the last capture, and what was in them.
//!
//! Hashing a gigabyte takes longer than many segments, so a capture must not read what did not
//! change. After each capture the memory is made read-only; the first write to a leaf faults,
//! whoever makes it (compiled code, the engine's bulk operations, the virtual world), and the
//! handler keeps the leaf's old bytes, notes it and lets the write happen. So the bytes of the
//! last capture are there for as long as a run may have to go back to it, at the price of the
//! leaves that changed.
//!
//! The handler is a signal handler in front of the engine's. It needs `mprotect`, `madvise` and
//! `rt_sigaction`, no files, and takes no locks: all that it reads is in static atomics. Where any
//! of it can't be had there is no tracker, and captures compare the whole memory with a copy.

use crate::checkpoint::LEAF_BYTES;

/// What a leaf held at the last capture.
#[derive(Debug)]
pub enum Before<'a> {
    /// What it holds now.
    Same,
    /// Zeros.
    Zero,
    /// These bytes.
    Bytes(&'a [u8]),
}

/// Most leaves that a memory can have: 4 GiB of them.
const LEAVES_MAX: usize = (4 << 30) / LEAF_BYTES;

#[cfg(target_os = "linux")]
pub use linux::Tracker;

#[cfg(not(target_os = "linux"))]
pub use nowhere::Tracker;

#[cfg(target_os = "linux")]
mod linux {
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    use super::{Before, LEAF_BYTES, LEAVES_MAX};

    /// Memories that can be tracked at one time: a worker has one, a test run one per thread and
    /// a few that are being replaced.
    const SLOTS: usize = 64;
    const WORDS: usize = LEAVES_MAX / 64;
    /// Kept leaves whose pages stay with us between captures: getting them from the kernel anew
    /// costs more than copying.
    const WARM_LEAVES: usize = (64 << 20) / LEAF_BYTES;

    /// What the handler looks through at every fault: small, and apart from the maps.
    struct Range {
        start: AtomicUsize,
        end: AtomicUsize,
        shadow: AtomicUsize,
        /// Leaves kept in the shadow.
        kept: AtomicUsize,
        /// One more than the first leaf that was touched and is lacking; 0 while there is none.
        lacked: AtomicUsize,
        taken: AtomicBool,
    }

    struct Maps {
        /// Written since the last capture.
        dirty: [AtomicU64; WORDS],
        /// Zeros at the last capture: nothing to be kept.
        zero: [AtomicU64; WORDS],
        /// Not touched since the memory was hidden.
        hidden: [AtomicU64; WORDS],
        /// Hidden, and not what the memory should hold.
        lacking: [AtomicU64; WORDS],
        /// Where in the shadow a leaf was kept.
        place: [AtomicU32; LEAVES_MAX],
    }

    static RANGES: [Range; SLOTS] = [const {
        Range {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            shadow: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            lacked: AtomicUsize::new(0),
            taken: AtomicBool::new(false),
        }
    }; SLOTS];

    static MAPS: [Maps; SLOTS] = [const {
        Maps {
            dirty: [const { AtomicU64::new(0) }; WORDS],
            zero: [const { AtomicU64::new(0) }; WORDS],
            hidden: [const { AtomicU64::new(0) }; WORDS],
            lacking: [const { AtomicU64::new(0) }; WORDS],
            place: [const { AtomicU32::new(0) }; LEAVES_MAX],
        }
    }; SLOTS];

    /// Whether our handler is there.
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    /// The handler that was there before: the engine's.
    static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
    static PREVIOUS_TAKES_INFO: AtomicBool = AtomicBool::new(false);

    fn get(map: &[AtomicU64; WORDS], leaf: usize) -> bool {
        map[leaf / 64].load(Ordering::Relaxed) & (1 << (leaf % 64)) != 0
    }

    fn set(map: &[AtomicU64; WORDS], leaf: usize, value: bool) {
        let bit = 1 << (leaf % 64);
        if value {
            map[leaf / 64].fetch_or(bit, Ordering::Relaxed);
        } else {
            map[leaf / 64].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// A memory under watch.
    #[derive(Debug)]
    pub struct Tracker {
        slot: usize,
        base: usize,
        bytes: usize,
        shadow: usize,
        bytes_max: usize,
    }

    impl Tracker {
        /// Watches the memory at `base`, which may grow to `bytes_max` and doesn't move. So far
        /// nothing of it is captured: [`Tracker::settle`] begins. `None` where that can't be done.
        pub fn new(base: *const u8, bytes_max: usize) -> Option<Tracker> {
            // SAFETY: asks for a constant.
            let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
            let bytes_max = bytes_max.next_multiple_of(LEAF_BYTES);
            if !LEAF_BYTES.is_multiple_of(page)
                || !(base as usize).is_multiple_of(page)
                || bytes_max > LEAVES_MAX * LEAF_BYTES
                || bytes_max == 0
            {
                return None;
            }
            install()?;
            let slot = RANGES.iter().position(|range| {
                let order = Ordering::Acquire;
                range.taken.compare_exchange(false, true, order, Ordering::Relaxed).is_ok()
            })?;
            // SAFETY: a new mapping where the kernel likes; nothing is there yet.
            let shadow = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    bytes_max,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            if shadow == libc::MAP_FAILED {
                RANGES[slot].taken.store(false, Ordering::Release);
                return None;
            }
            let (base, shadow) = (base as usize, shadow as usize);
            let range = &RANGES[slot];
            range.shadow.store(shadow, Ordering::Relaxed);
            range.end.store(base, Ordering::Relaxed);
            range.start.store(base, Ordering::Release);
            Some(Tracker { slot, base, bytes: 0, shadow, bytes_max })
        }

        /// Where the watched memory is.
        pub fn base(&self) -> usize {
            self.base
        }

        /// Leaves that were captured.
        pub fn leaves(&self) -> usize {
            self.bytes / LEAF_BYTES
        }

        /// Whether a leaf was written, or came to be, since the last capture.
        pub fn is_dirty(&self, leaf: usize) -> bool {
            leaf >= self.leaves() || get(&MAPS[self.slot].dirty, leaf)
        }

        /// What a captured leaf held at the last capture.
        pub fn before(&self, leaf: usize) -> Before<'_> {
            let maps = &MAPS[self.slot];
            if !self.is_dirty(leaf) {
                Before::Same
            } else if get(&maps.zero, leaf) {
                Before::Zero
            } else {
                let place = maps.place[leaf].load(Ordering::Relaxed) as usize;
                let at = (self.shadow + place * LEAF_BYTES) as *const u8;
                // SAFETY: the shadow is as large as the memory may become and lives as long as
                // `self`; only a fault of the memory's owner, who holds `self`, writes to it.
                Before::Bytes(unsafe { std::slice::from_raw_parts(at, LEAF_BYTES) })
            }
        }

        /// The memory is captured: its first `bytes` are clean from now on. Whether they are
        /// watched; if not, the memory can be written and the tracker is of no use any more.
        pub fn settle(&mut self, bytes: usize, is_zero: impl Fn(usize) -> bool) -> bool {
            if bytes > self.bytes_max || bytes < self.bytes || !bytes.is_multiple_of(LEAF_BYTES) {
                self.let_go();
                return false;
            }
            let maps = &MAPS[self.slot];
            let leaves = bytes / LEAF_BYTES;
            let mut whole = false;
            let mut leaf = 0;
            while leaf < leaves {
                if leaf % 64 == 0
                    && leaf + 64 <= self.leaves()
                    && maps.dirty[leaf / 64].load(Ordering::Relaxed) == 0
                {
                    leaf += 64;
                    continue;
                }
                let first = leaf;
                while leaf < leaves && self.is_dirty(leaf) {
                    leaf += 1;
                }
                if first == leaf {
                    leaf += 1;
                    continue;
                }
                let length = (leaf - first) * LEAF_BYTES;
                // What is already so need not be: the kernel has a limit on how often protection
                // may alternate.
                whole |= !protect(self.base + first * LEAF_BYTES, length, libc::PROT_READ);
                for leaf in first..leaf {
                    set(&maps.zero, leaf, is_zero(leaf));
                }
            }
            if whole {
                if !protect(self.base, bytes, libc::PROT_READ) {
                    self.let_go();
                    return false;
                }
                self.show();
            }
            for word in &maps.dirty[..leaves.div_ceil(64)] {
                word.store(0, Ordering::Relaxed);
            }
            let range = &RANGES[self.slot];
            let kept = range.kept.swap(0, Ordering::Relaxed);
            if let Some(cold @ 1..) = kept.checked_sub(WARM_LEAVES) {
                let at = self.shadow + WARM_LEAVES * LEAF_BYTES;
                // SAFETY: our own mapping. A failure only keeps memory longer.
                unsafe {
                    libc::madvise(at as *mut libc::c_void, cold * LEAF_BYTES, libc::MADV_DONTNEED)
                };
            }
            self.bytes = bytes;
            range.end.store(self.base + bytes, Ordering::Release);
            true
        }

        /// From now on notices, too, which of the captured leaves are read, and whether a lacking
        /// one is. Whether that can be done.
        pub fn hide(&mut self, is_lacking: impl Fn(usize) -> bool) -> bool {
            let maps = &MAPS[self.slot];
            for leaf in 0..self.leaves() {
                set(&maps.hidden, leaf, true);
                set(&maps.lacking, leaf, is_lacking(leaf));
            }
            protect(self.base, self.bytes, libc::PROT_NONE)
        }

        /// The first lacking leaf that was touched: from there on the memory is not what it should
        /// be.
        pub fn lacked(&self) -> Option<usize> {
            RANGES[self.slot].lacked.load(Ordering::Relaxed).checked_sub(1)
        }

        /// Whether a leaf was read or written since the memory was hidden, or may have been.
        pub fn is_touched(&self, leaf: usize) -> bool {
            !get(&MAPS[self.slot].hidden, leaf)
        }

        /// The memory was made readable.
        fn show(&self) {
            let range = &RANGES[self.slot];
            (0..self.leaves()).for_each(|leaf| noted(range, &MAPS[self.slot], leaf));
        }

        /// Everything may be written again, and nobody watches.
        fn let_go(&mut self) {
            self.show();
            RANGES[self.slot].end.store(self.base, Ordering::Release);
            protect(self.base, self.bytes, libc::PROT_READ | libc::PROT_WRITE);
            self.bytes = 0;
        }
    }

    impl Drop for Tracker {
        fn drop(&mut self) {
            let (range, maps) = (&RANGES[self.slot], &MAPS[self.slot]);
            range.start.store(0, Ordering::Release);
            range.end.store(0, Ordering::Release);
            range.kept.store(0, Ordering::Relaxed);
            range.lacked.store(0, Ordering::Relaxed);
            let words = self.leaves().div_ceil(64);
            for map in [&maps.dirty, &maps.zero, &maps.hidden, &maps.lacking] {
                map[..words].iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
            // SAFETY: our own mapping, which nothing refers to any more.
            unsafe { libc::munmap(self.shadow as *mut libc::c_void, self.bytes_max) };
            range.taken.store(false, Ordering::Release);
        }
    }

    fn protect(at: usize, length: usize, protection: libc::c_int) -> bool {
        // SAFETY: called for ranges of a guest's memory that are accessible and belong to the
        // tracker; that they become read-only is what the handler is there for.
        length == 0 || unsafe { libc::mprotect(at as *mut libc::c_void, length, protection) } == 0
    }

    /// Puts our handler in front of the engine's, once. An engine exists, so that its handler is
    /// there already.
    fn install() -> Option<()> {
        let installed = INSTALLED.get_or_init(|| {
            // SAFETY: `sigaction` is plain data for which zeros are valid, and the handler keeps
            // to what a signal handler may do.
            unsafe {
                let mut ours: libc::sigaction = std::mem::zeroed();
                let mut previous: libc::sigaction = std::mem::zeroed();
                ours.sa_sigaction = on_fault as *const () as usize;
                ours.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
                libc::sigemptyset(&mut ours.sa_mask);
                // Read first: a fault on another thread must find it.
                if libc::sigaction(libc::SIGSEGV, ptr::null(), &mut previous) != 0 {
                    return false;
                }
                let takes_info = previous.sa_flags & libc::SA_SIGINFO != 0;
                PREVIOUS_TAKES_INFO.store(takes_info, Ordering::Relaxed);
                PREVIOUS.store(previous.sa_sigaction, Ordering::Release);
                libc::sigaction(libc::SIGSEGV, &ours, ptr::null_mut()) == 0
            }
        });
        installed.then_some(())
    }

    type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    type Plain = extern "C" fn(libc::c_int);

    extern "C" fn on_fault(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel hands a valid `siginfo_t` of a fault.
        let address = unsafe { (*info).si_addr() } as usize;
        if first_touch(address) {
            return;
        }
        let previous = PREVIOUS.load(Ordering::Acquire);
        if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
            // SAFETY: as it was before us; the fault happens again and has its default effect.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        } else if PREVIOUS_TAKES_INFO.load(Ordering::Relaxed) {
            // SAFETY: what the kernel told us about the handler that was installed before.
            let handler: WithInfo = unsafe { std::mem::transmute(previous) };
            handler(signal, info, context);
        } else {
            // SAFETY: as above.
            let handler: Plain = unsafe { std::mem::transmute(previous) };
            handler(signal);
        }
    }

    /// Whether the fault was the first access to a hidden leaf, or the first write to a clean one,
    /// which may now happen.
    fn first_touch(address: usize) -> bool {
        let found = RANGES.iter().position(|range| {
            let start = range.start.load(Ordering::Acquire);
            start != 0 && start <= address && address < range.end.load(Ordering::Acquire)
        });
        let Some(slot) = found else { return false };
        let (range, maps) = (&RANGES[slot], &MAPS[slot]);
        let start = range.start.load(Ordering::Relaxed);
        let leaf = (address - start) / LEAF_BYTES;
        if get(&maps.hidden, leaf) {
            noted(range, maps, leaf);
            if protect(start + leaf * LEAF_BYTES, LEAF_BYTES, libc::PROT_READ) {
                return true;
            }
            // Protection alternates more often than the kernel allows: show everything.
            let end = range.end.load(Ordering::Relaxed);
            (0..(end - start) / LEAF_BYTES).for_each(|leaf| noted(range, maps, leaf));
            return show_all(maps, start, end);
        }
        if get(&maps.dirty, leaf) {
            return false;
        }
        keep(range, maps, start, leaf);
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        if protect(start + leaf * LEAF_BYTES, LEAF_BYTES, writable) {
            set(&maps.dirty, leaf, true);
            return true;
        }
        // Protection alternates more often than the kernel allows: give up for this capture.
        set(&maps.dirty, leaf, true);
        let bytes = range.end.load(Ordering::Relaxed) - start;
        for leaf in 0..bytes / LEAF_BYTES {
            if !get(&maps.dirty, leaf) {
                keep(range, maps, start, leaf);
                set(&maps.dirty, leaf, true);
            }
        }
        protect(start, bytes, writable)
    }

    /// A leaf is touched, or may be from now on without our noticing.
    fn noted(range: &Range, maps: &Maps, leaf: usize) {
        if get(&maps.hidden, leaf) && get(&maps.lacking, leaf) {
            let order = Ordering::Relaxed;
            let _ = range.lacked.compare_exchange(0, leaf + 1, order, order);
        }
        set(&maps.hidden, leaf, false);
    }

    /// Makes everything readable, and what was written writable.
    fn show_all(maps: &Maps, start: usize, end: usize) -> bool {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        protect(start, end - start, libc::PROT_READ)
            && (0..(end - start) / LEAF_BYTES)
                .filter(|&leaf| get(&maps.dirty, leaf))
                .all(|leaf| protect(start + leaf * LEAF_BYTES, LEAF_BYTES, writable))
    }

    fn keep(range: &Range, maps: &Maps, start: usize, leaf: usize) {
        if get(&maps.zero, leaf) {
            return;
        }
        // Only the memory's owner writes to it, so nobody else asks for a place at this time; and
        // a leaf is kept once at most, so there is one for each.
        let place = range.kept.fetch_add(1, Ordering::Relaxed);
        maps.place[leaf].store(place as u32, Ordering::Relaxed);
        let to = range.shadow.load(Ordering::Relaxed) + place * LEAF_BYTES;
        // SAFETY: the leaf lies in the watched memory, which can be read, and its place in the
        // shadow belongs to it alone.
        unsafe {
            let from = (start + leaf * LEAF_BYTES) as *const u8;
            ptr::copy_nonoverlapping(from, to as *mut u8, LEAF_BYTES);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod nowhere {
    use super::Before;

    /// There is none here.
    #[derive(Debug)]
    pub enum Tracker {}

    impl Tracker {
        pub fn new(_: *const u8, _: usize) -> Option<Tracker> {
            None
        }

        pub fn base(&self) -> usize {
            match *self {}
        }

        pub fn leaves(&self) -> usize {
            match *self {}
        }

        pub fn is_dirty(&self, _: usize) -> bool {
            match *self {}
        }

        pub fn before(&self, _: usize) -> Before<'_> {
            match *self {}
        }

        pub fn settle(&mut self, _: usize, _: impl Fn(usize) -> bool) -> bool {
            match *self {}
        }

        pub fn hide(&mut self, _: impl Fn(usize) -> bool) -> bool {
            match *self {}
        }

        pub fn lacked(&self) -> Option<usize> {
            match *self {}
        }

        pub fn is_touched(&self, _: usize) -> bool {
            match *self {}
        }
    }
}
