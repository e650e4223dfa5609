//! `poll_oneoff`: waiting, without taking any time.

use super::memory::{Memory, u32_at, u64_at};
use super::{Errno, World};

/// Most subscriptions in one call.
const SUBSCRIPTIONS_MAX: u32 = 4096;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: usize = 32;

const TAG_CLOCK: u8 = 0;
const TAG_FD_READ: u8 = 1;
const TAG_FD_WRITE: u8 = 2;
const FLAG_ABSOLUTE: u32 = 1;

/// What a subscription waits for.
enum Wait {
    /// Nothing: it is ready, or it is refused.
    Now { error: Errno, ready_bytes: u64 },
    /// So many nanoseconds from now.
    Clock(u64),
}

impl World {
    /// Descriptors are always ready. When only clocks are waited for, the earliest deadline is
    /// reached by moving the clock, which is what sleeping is here.
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut Memory<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(Errno::Inval);
        }
        // Charged also when the last of them turns out to be no subscription.
        self.bytes += u64::from(count) * (u64::from(SUBSCRIPTION_BYTES) + EVENT_BYTES as u64);
        memory.check(events, u64::from(count) * EVENT_BYTES as u64)?;
        memory.check(out, 4)?;
        let records = memory.bytes(subscriptions, count * SUBSCRIPTION_BYTES)?;
        let waits = records
            .chunks_exact(SUBSCRIPTION_BYTES as usize)
            .map(|record| Ok((u64_at(record, 0), record[8], self.wait(record)?)))
            .collect::<Result<Vec<_>, Errno>>()?;
        let shortest = waits.iter().map(|(.., wait)| match wait {
            Wait::Now { .. } => 0,
            Wait::Clock(ns) => *ns,
        });
        let slept = shortest.min().unwrap_or(0);
        self.slept_ns = self.slept_ns.saturating_add(slept);
        let mut at = events;
        let mut fired = 0;
        for (userdata, tag, wait) in &waits {
            let (error, ready_bytes) = match wait {
                Wait::Now { error, ready_bytes } => (*error, *ready_bytes),
                Wait::Clock(ns) if *ns <= slept => (Errno::Success, 0),
                Wait::Clock(_) => continue,
            };
            let mut event = [0; EVENT_BYTES];
            event[..8].copy_from_slice(&userdata.to_le_bytes());
            event[8..10].copy_from_slice(&error.code().to_le_bytes());
            event[10] = *tag;
            event[16..24].copy_from_slice(&ready_bytes.to_le_bytes());
            memory.write(at, &event)?;
            at = at.wrapping_add(EVENT_BYTES as u32);
            fired += 1;
        }
        memory.write_u32(out, fired)
    }

    fn wait(&self, record: &[u8]) -> Result<Wait, Errno> {
        let now = |error, ready_bytes| Ok(Wait::Now { error, ready_bytes });
        match record[8] {
            TAG_CLOCK => {
                let (id, timeout) = (u32_at(record, 16), u64_at(record, 24));
                let flags = u32::from(record[40]) | u32::from(record[41]) << 8;
                if flags & !FLAG_ABSOLUTE != 0 {
                    return now(Errno::Inval, 0);
                }
                let time = match self.time(id) {
                    // A sleeping program computes nothing: this wait would never end.
                    Ok(_) if id > super::abi::clock::MONOTONIC => return now(Errno::NotSup, 0),
                    Ok(time) => time,
                    Err(error) => return now(error, 0),
                };
                let absolute = flags & FLAG_ABSOLUTE != 0;
                Ok(Wait::Clock(if absolute { timeout.saturating_sub(time) } else { timeout }))
            }
            TAG_FD_READ => match self.descriptors.get(u32_at(record, 16)) {
                Ok(descriptor) => now(Errno::Success, self.readable_bytes(descriptor)),
                Err(error) => now(error, 0),
            },
            TAG_FD_WRITE => match self.descriptors.get(u32_at(record, 16)) {
                Ok(_) => now(Errno::Success, self.tree.room()),
                Err(error) => now(error, 0),
            },
            _ => Err(Errno::Inval),
        }
    }
}
