//! Checked access to the guest's memory. Whatever lies outside is [`Errno::Fault`].

use super::Errno;

/// Most buffers that one read or write may name (POSIX's IOV_MAX on Linux).
pub(super) const BUFFERS_MAX: u32 = 1024;

/// The guest's linear memory during one call.
pub(super) struct Memory<'a>(pub &'a mut [u8]);

impl Memory<'_> {
    fn range(&self, at: u32, len: u64) -> Result<std::ops::Range<usize>, Errno> {
        let end = u64::from(at).checked_add(len).ok_or(Errno::Fault)?;
        if end > self.0.len() as u64 {
            return Err(Errno::Fault);
        }
        Ok(at as usize..end as usize)
    }

    /// Whether `len` bytes from `at` lie inside.
    pub fn check(&self, at: u32, len: u64) -> Result<(), Errno> {
        self.range(at, len).map(|_| ())
    }

    pub fn bytes(&self, at: u32, len: u32) -> Result<&[u8], Errno> {
        Ok(&self.0[self.range(at, u64::from(len))?])
    }

    pub fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Errno> {
        let range = self.range(at, u64::from(len))?;
        Ok(&mut self.0[range])
    }

    pub fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let range = self.range(at, bytes.len() as u64)?;
        self.0[range].copy_from_slice(bytes);
        Ok(())
    }

    pub fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    /// The buffers of a read or write, each inside the memory.
    pub fn buffers(&self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        if count > BUFFERS_MAX {
            return Err(Errno::Inval);
        }
        let (pairs, _) = self.bytes(at, count * 8)?.as_chunks::<8>();
        pairs
            .iter()
            .map(|pair| {
                let (start, len) = (u32_at(pair, 0), u32_at(pair, 4));
                self.check(start, u64::from(len)).map(|()| (start, len))
            })
            .collect()
    }
}

/// The little-endian number at an offset of a record.
pub(super) fn u32_at(record: &[u8], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

/// The little-endian number at an offset of a record.
pub(super) fn u64_at(record: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}
