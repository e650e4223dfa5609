//! The processor's sticky invalid-operation flag: set by the operation that makes a NaN out of
//! numbers. While it stays clear, the fast build of a module has computed the truth.

/// Clears the flag.
pub fn clear_invalid() {
    arch::clear();
}

/// Whether a NaN was born since [`clear_invalid`]. On processors for which nobody has written
/// this down it is always true, and every task runs in the canonical build.
pub fn invalid() -> bool {
    arch::read()
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    const INVALID: u32 = 1;
    const FLAGS: u32 = 0x3f;

    fn get() -> u32 {
        let mut mxcsr = 0u32;
        // SAFETY: stores the 4-byte control register to a 4-byte local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack, preserves_flags)) };
        mxcsr
    }

    pub fn clear() {
        let mxcsr = get() & !FLAGS;
        // SAFETY: writes back what was read with only status flags cleared; rounding and
        // masks stay as Rust expects them.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &mxcsr, options(nostack, preserves_flags)) };
    }

    pub fn read() -> bool {
        get() & INVALID != 0
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    const INVALID: u64 = 1;

    pub fn clear() {
        // SAFETY: FPSR holds status flags only.
        unsafe { asm!("msr fpsr, xzr", options(nomem, nostack, preserves_flags)) };
    }

    pub fn read() -> bool {
        let fpsr: u64;
        // SAFETY: reads a status register.
        unsafe { asm!("mrs {}, fpsr", out(reg) fpsr, options(nomem, nostack, preserves_flags)) };
        fpsr & INVALID != 0
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub fn clear() {}

    pub fn read() -> bool {
        true
    }
}
