//! Listing directories, and the preopened one.

use super::abi::filetype;
use super::descriptor::Target;
use super::memory::Memory;
use super::{Errno, ITEM_BYTES, World};

/// The preopened directory's name.
const PREOPEN: &[u8] = b"/";

/// Bytes of a directory entry before its name.
const ENTRY_BYTES: usize = 24;

impl World {
    pub(super) fn fd_prestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        self.preopen(fd)?;
        memory.write_u64(out, (PREOPEN.len() as u64) << 32)
    }

    pub(super) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        self.preopen(fd)?;
        if (len as usize) < PREOPEN.len() {
            return Err(Errno::NameTooLong);
        }
        memory.write(at, PREOPEN)
    }

    fn preopen(&self, fd: u32) -> Result<(), Errno> {
        match self.descriptors.get(fd)?.target {
            Target::Preopen => Ok(()),
            _ => Err(Errno::BadF),
        }
    }

    /// Entries from `cookie` on, the last one cut off where the buffer ends: `.`, `..`, then the
    /// others by inode. The cookie after `.` is 1, after `..` 2, after an entry its inode + 1.
    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffer: u32,
        len: u32,
        cookie: u64,
        out: u32,
    ) -> Result<(), Errno> {
        let inode = self.descriptors.get(fd)?.inode().ok_or(Errno::NotDir)?;
        let directory = self.tree.directory(inode)?;
        memory.check(buffer, u64::from(len))?;
        memory.check(out, 4)?;
        let parent = match self.tree.node(inode)?.parent {
            super::tree::NOWHERE => inode,
            parent => parent,
        };
        let dots = [(0, inode, "."), (1, parent, "..")];
        let dots = dots.into_iter().filter(|(index, ..)| cookie <= *index);
        let entries = directory.order.range(cookie..).map(|child| {
            (*child, *child, self.tree.nodes.get(child).map_or("", |node| node.name.as_str()))
        });
        let buffer = memory.bytes_mut(buffer, len)?;
        let mut used = 0;
        for (position, child, name) in dots.chain(entries) {
            if used == buffer.len() {
                break;
            }
            self.bytes += ITEM_BYTES;
            let mut record = [0; ENTRY_BYTES];
            record[..8].copy_from_slice(&(position + 1).to_le_bytes());
            record[8..16].copy_from_slice(&child.to_le_bytes());
            record[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
            record[20] =
                if matches!(name, "." | "..") { filetype::DIRECTORY } else { self.filetype(child) };
            for bytes in [&record[..], name.as_bytes()] {
                let fits = bytes.len().min(buffer.len() - used);
                buffer[used..used + fits].copy_from_slice(&bytes[..fits]);
                used += fits;
            }
        }
        self.bytes += used as u64;
        memory.write_u32(out, used as u32)
    }
}
