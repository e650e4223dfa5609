//! Arguments, environment, clock, randomness, signals.

use super::abi::clock;
use super::memory::Memory;
use super::{Errno, ITEM_BYTES, Reply, STRINGS_MAX, World, WorldConfig, WorldError};

/// Units of fuel in a nanosecond of the guest's clock.
pub(super) const FUEL_PER_NS: u64 = 3;

/// Where in the random stream no program gets to: the limit for a restored state.
pub(super) const RANDOM_POSITION_MAX: u64 = 1 << 62;

/// Milliseconds as WASI's nanoseconds, which have no sign.
pub(super) fn nanoseconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}

/// Whether arguments and environment can be handed to a program.
pub(super) fn check_strings(config: &WorldConfig) -> Result<(), WorldError> {
    let refused =
        |what, text: &str, why| Err(WorldError::Text { what, text: text.to_owned(), why });
    for arg in &config.args {
        if arg.contains('\0') {
            return refused("argument", arg, "it has a zero byte");
        }
    }
    for (key, value) in &config.env {
        if key.is_empty() || key.contains('=') {
            return refused("environment variable", key, "its name is empty or has a `=`");
        }
        if key.contains('\0') || value.contains('\0') {
            return refused("environment variable", key, "it has a zero byte");
        }
    }
    let args = config.args.iter().map(|arg| arg.len() + 1);
    let env = config.env.iter().map(|(key, value)| key.len() + value.len() + 2);
    let bytes = args.chain(env).sum();
    if bytes > STRINGS_MAX {
        return Err(WorldError::TooLong { bytes, max: STRINGS_MAX });
    }
    Ok(())
}

impl World {
    fn args(&self) -> Vec<Vec<u8>> {
        self.config.args.iter().map(|arg| [arg.as_bytes(), b"\0"].concat()).collect()
    }

    fn environ(&self) -> Vec<Vec<u8>> {
        let env = self.config.env.iter();
        env.map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect()
    }

    fn strings_sizes(
        &mut self,
        memory: &mut Memory<'_>,
        strings: &[Vec<u8>],
        count: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        let total: usize = strings.iter().map(Vec::len).sum();
        self.bytes += total as u64 + strings.len() as u64 * ITEM_BYTES;
        memory.write_u32(count, strings.len() as u32)?;
        memory.write_u32(bytes, total as u32)
    }

    fn strings_get(
        &mut self,
        memory: &mut Memory<'_>,
        strings: &[Vec<u8>],
        mut pointers: u32,
        mut buffer: u32,
    ) -> Result<(), Errno> {
        // They were put together, whether or not there is a place for them.
        self.bytes += strings.iter().map(|string| ITEM_BYTES + string.len() as u64).sum::<u64>();
        for string in strings {
            memory.write_u32(pointers, buffer)?;
            memory.write(buffer, string)?;
            pointers = pointers.checked_add(4).ok_or(Errno::Fault)?;
            buffer = buffer.checked_add(string.len() as u32).ok_or(Errno::Fault)?;
        }
        Ok(())
    }

    pub(super) fn args_get(
        &mut self,
        memory: &mut Memory<'_>,
        pointers: u32,
        buffer: u32,
    ) -> Result<(), Errno> {
        self.strings_get(memory, &self.args(), pointers, buffer)
    }

    pub(super) fn args_sizes_get(
        &mut self,
        memory: &mut Memory<'_>,
        count: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        self.strings_sizes(memory, &self.args(), count, bytes)
    }

    pub(super) fn environ_get(
        &mut self,
        memory: &mut Memory<'_>,
        pointers: u32,
        buffer: u32,
    ) -> Result<(), Errno> {
        self.strings_get(memory, &self.environ(), pointers, buffer)
    }

    pub(super) fn environ_sizes_get(
        &mut self,
        memory: &mut Memory<'_>,
        count: u32,
        bytes: u32,
    ) -> Result<(), Errno> {
        self.strings_sizes(memory, &self.environ(), count, bytes)
    }

    /// Nanoseconds that the program has computed for.
    fn computed(&self) -> u64 {
        self.fuel / FUEL_PER_NS
    }

    pub(super) fn monotonic(&self) -> u64 {
        self.computed().saturating_add(self.slept_ns)
    }

    pub(super) fn realtime(&self) -> u64 {
        nanoseconds(self.config.clock_start_ms).saturating_add(self.monotonic())
    }

    /// The time on a clock.
    pub(super) fn time(&self, id: u32) -> Result<u64, Errno> {
        match id {
            clock::REALTIME => Ok(self.realtime()),
            clock::MONOTONIC => Ok(self.monotonic()),
            clock::PROCESS_CPUTIME | clock::THREAD_CPUTIME => Ok(self.computed()),
            _ => Err(Errno::Inval),
        }
    }

    pub(super) fn clock_res_get(
        &mut self,
        memory: &mut Memory<'_>,
        id: u32,
        out: u32,
    ) -> Result<(), Errno> {
        self.time(id)?;
        memory.write_u64(out, 1)
    }

    pub(super) fn clock_time_get(
        &mut self,
        memory: &mut Memory<'_>,
        id: u32,
        out: u32,
    ) -> Result<(), Errno> {
        memory.write_u64(out, self.time(id)?)
    }

    pub(super) fn random_get(
        &mut self,
        memory: &mut Memory<'_>,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let bytes = memory.bytes_mut(at, len)?;
        let mut hasher = blake3::Hasher::new_derive_key("jusha random v1");
        hasher.update(&self.config.seed.0);
        let mut stream = hasher.finalize_xof();
        stream.set_position(self.random_position);
        stream.fill(bytes);
        // Within the stream's length even for a program that draws without end.
        self.random_position = (self.random_position + u64::from(len)).min(RANDOM_POSITION_MAX);
        self.bytes += u64::from(len);
        Ok(())
    }

    /// A signal has no handlers here, so it has its default effect: it ends the program with
    /// the status that a shell would show, or nothing happens. None stops a program.
    pub(super) fn proc_raise(&mut self, signal: u32) -> Reply {
        match signal {
            // None; SIGCHLD, SIGCONT, SIGURG, SIGWINCH are ignored by default.
            0 | 16 | 17 | 22 | 27 => Reply::Errno(Errno::Success),
            // SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
            18..=21 => Reply::Errno(Errno::NotSup),
            1..=30 => Reply::Exit(128 + signal as i32),
            _ => Reply::Errno(Errno::Inval),
        }
    }
}
