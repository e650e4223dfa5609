//! Reading, writing, seeking, sizes and times.

use std::sync::Arc;

use super::abi::{fdflags, fstflags, rights};
use super::descriptor::{Descriptor, Target};
use super::memory::{BUFFERS_MAX, Memory};
use super::tree::{Inode, Kind, Node, Tree};
use super::{Errno, ITEM_BYTES, World};

/// Largest offset: POSIX's `off_t` is signed.
const OFFSET_MAX: u64 = i64::MAX as u64;

impl World {
    pub(super) fn fd_read(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let offset = self.descriptors.get(fd)?.offset;
        let read = self.read_at(memory, fd, buffers, count, offset, out)?;
        self.descriptors.get_mut(fd)?.offset += read;
        Ok(())
    }

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<(), Errno> {
        self.descriptors.get(fd)?;
        if offset > OFFSET_MAX {
            return Err(Errno::Inval);
        }
        self.read_at(memory, fd, buffers, count, offset, out).map(|_| ())
    }

    fn read_at(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<u64, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        // A handle instead of a borrow, where there is one to be had for nothing.
        let shared: Arc<[u8]>;
        let content: &[u8] = match descriptor.target {
            Target::Stdin => {
                shared = self.config.stdin.clone();
                &shared
            }
            Target::Stdout | Target::Stderr => return Err(Errno::BadF),
            Target::Preopen => return Err(Errno::IsDir),
            Target::Node(inode) => match &self.tree.node(inode)?.kind {
                Kind::Directory(_) => return Err(Errno::IsDir),
                Kind::Input(content) => content,
                Kind::File(content) => content,
            },
        };
        if descriptor.rights & rights::FD_READ == 0 {
            return Err(Errno::BadF);
        }
        // Charged for whether or not all of them are good.
        self.bytes += u64::from(count.min(BUFFERS_MAX)) * ITEM_BYTES;
        let buffers = memory.buffers(buffers, count)?;
        memory.check(out, 4)?;
        let mut rest = content.get(offset.min(usize::MAX as u64) as usize..).unwrap_or(&[]);
        // What fits the guest's 32-bit count.
        rest = &rest[..rest.len().min(u32::MAX as usize)];
        let mut read = 0;
        for (at, len) in &buffers {
            let len = rest.len().min(*len as usize);
            memory.write(*at, &rest[..len])?;
            rest = &rest[len..];
            read += len as u64;
        }
        memory.write_u32(out, read as u32)?;
        self.bytes += read;
        Ok(read)
    }

    pub(super) fn fd_write(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let mut offset = descriptor.offset;
        if descriptor.flags & fdflags::APPEND != 0
            && let Some(inode) = descriptor.inode()
        {
            offset = self.tree.node(inode)?.size();
        }
        let written = self.write_at(memory, fd, buffers, count, offset, out)?;
        let descriptor = self.descriptors.get_mut(fd)?;
        if descriptor.inode().is_some() {
            descriptor.offset = offset + written;
        }
        Ok(())
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        if matches!(descriptor.target, Target::Stdout | Target::Stderr) {
            return Err(Errno::SPipe);
        }
        if offset > OFFSET_MAX {
            return Err(Errno::Inval);
        }
        self.write_at(memory, fd, buffers, count, offset, out).map(|_| ())
    }

    /// Writes as much as there is room for. `ENOSPC` when there is room for nothing.
    fn write_at(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        buffers: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<u64, Errno> {
        let descriptor = *self.descriptors.get(fd)?;
        if descriptor.rights & rights::FD_WRITE == 0 {
            return Err(Errno::BadF);
        }
        // Charged for whether or not all of them are good.
        self.bytes += u64::from(count.min(BUFFERS_MAX)) * ITEM_BYTES;
        let buffers = memory.buffers(buffers, count)?;
        memory.check(out, 4)?;
        let total: u64 = buffers.iter().map(|(_, len)| u64::from(*len)).sum();
        let total = total.min(u64::from(u32::MAX));
        let now = self.realtime();
        let (content, position, added) = match descriptor.target {
            Target::Stdin | Target::Preopen => return Err(Errno::BadF),
            Target::Stdout => (&mut self.stdout, None, total),
            Target::Stderr => (&mut self.stderr, None, total),
            Target::Node(inode) => {
                let size = self.tree.node(inode)?.size();
                if total == 0 {
                    memory.write_u32(out, 0)?;
                    return Ok(0);
                }
                if offset >= self.tree.max {
                    return Err(if self.tree.max == 0 { Errno::NoSpc } else { Errno::FBig });
                }
                let added = (offset + total).saturating_sub(size);
                let Some(Node { kind: Kind::File(content), .. }) = self.tree.nodes.get_mut(&inode)
                else {
                    return Err(Errno::BadF);
                };
                (content, Some(offset), added)
            }
        };
        let room = self.tree.max - self.tree.used;
        let over = added.saturating_sub(room);
        if over >= total && total > 0 {
            return Err(Errno::NoSpc);
        }
        let mut left = total - over;
        let before = content.len();
        let mut position = match position {
            None => before,
            Some(position) => {
                let position = position as usize;
                if position > before {
                    content.resize(position, 0);
                    self.bytes += (position - before) as u64;
                }
                position
            }
        };
        for (at, len) in &buffers {
            let len = left.min(u64::from(*len)) as u32;
            let bytes = memory.bytes(*at, len)?;
            let overwritten = bytes.len().min(content.len() - position);
            content[position..position + overwritten].copy_from_slice(&bytes[..overwritten]);
            content.extend_from_slice(&bytes[overwritten..]);
            position += bytes.len();
            left -= u64::from(len);
        }
        self.tree.used += (content.len() - before) as u64;
        if let Some(inode) = descriptor.inode() {
            self.tree.touch(inode, now);
        }
        let written = total - over;
        self.bytes += written;
        memory.write_u32(out, written as u32)?;
        Ok(written)
    }

    pub(super) fn fd_seek(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        offset: i64,
        whence: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let size = match descriptor.target {
            Target::Stdin => self.config.stdin.len() as u64,
            Target::Stdout | Target::Stderr => return Err(Errno::SPipe),
            Target::Preopen => 0,
            Target::Node(inode) => self.tree.node(inode)?.size(),
        };
        let from = match whence {
            0 => 0,
            1 => descriptor.offset,
            2 => size,
            _ => return Err(Errno::Inval),
        };
        let to = i128::from(from) + i128::from(offset);
        let to = u64::try_from(to).map_err(|_| Errno::Inval)?;
        if to > OFFSET_MAX {
            return Err(Errno::Overflow);
        }
        // A directory can be rewound, nothing else: its position is `fd_readdir`'s cookie.
        if let Some(inode) = descriptor.inode()
            && self.tree.node(inode)?.is_directory()
            && to != 0
        {
            return Err(Errno::IsDir);
        }
        memory.write_u64(out, to)?;
        self.descriptors.get_mut(fd)?.offset = to;
        Ok(())
    }

    pub(super) fn fd_tell(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        if matches!(descriptor.target, Target::Stdout | Target::Stderr) {
            return Err(Errno::SPipe);
        }
        memory.write_u64(out, descriptor.offset)
    }

    pub(super) fn fd_advise(
        &mut self,
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        if matches!(descriptor.target, Target::Stdout | Target::Stderr) {
            return Err(Errno::SPipe);
        }
        if advice > 5 || offset > OFFSET_MAX || len > OFFSET_MAX {
            return Err(Errno::Inval);
        }
        Ok(())
    }

    /// Bytes between a descriptor's position and the end.
    pub(super) fn readable_bytes(&self, descriptor: &Descriptor) -> u64 {
        let size = match descriptor.target {
            Target::Stdin => self.config.stdin.len() as u64,
            Target::Stdout | Target::Stderr | Target::Preopen => 0,
            Target::Node(inode) => self.tree.nodes.get(&inode).map_or(0, |node| node.size()),
        };
        size.saturating_sub(descriptor.offset)
    }

    /// The node of a file that a descriptor may write to.
    fn writable(&self, fd: u32) -> Result<Inode, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let inode = match descriptor.target {
            Target::Stdin | Target::Stdout | Target::Stderr => return Err(Errno::Inval),
            Target::Preopen => return Err(Errno::IsDir),
            Target::Node(inode) => inode,
        };
        if self.tree.node(inode)?.is_directory() {
            return Err(Errno::IsDir);
        }
        if descriptor.rights & rights::FD_WRITE == 0 {
            return Err(Errno::BadF);
        }
        Ok(inode)
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd)?;
        if descriptor.inode().is_none() {
            return Err(Errno::SPipe);
        }
        let inode = self.writable(fd)?;
        if len == 0 || offset > OFFSET_MAX || len > OFFSET_MAX {
            return Err(Errno::Inval);
        }
        let end = offset + len;
        if end > OFFSET_MAX {
            return Err(Errno::FBig);
        }
        if end > self.tree.node(inode)?.size() {
            self.resize(inode, end)?;
        }
        Ok(())
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        let inode = self.writable(fd)?;
        if size > OFFSET_MAX {
            return Err(Errno::Inval);
        }
        self.resize(inode, size)
    }

    pub(super) fn resize(&mut self, inode: Inode, size: u64) -> Result<(), Errno> {
        let now = self.realtime();
        self.bytes += self.tree.resize(inode, size, now)?;
        Ok(())
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let inode = self.descriptors.get(fd)?.inode().ok_or(Errno::RoFs)?;
        let now = self.realtime();
        set_times(&mut self.tree, inode, accessed, modified, flags, now)
    }
}

pub(super) fn set_times(
    tree: &mut Tree,
    inode: Inode,
    accessed: u64,
    modified: u64,
    flags: u32,
    now: u64,
) -> Result<(), Errno> {
    let choose = |given: u32, current: u32, value: u64| match (flags & given, flags & current) {
        (0, 0) => Ok(None),
        (_, 0) => Ok(Some(value)),
        (0, _) => Ok(Some(now)),
        _ => Err(Errno::Inval),
    };
    if flags & !fstflags::ALL != 0 {
        return Err(Errno::Inval);
    }
    let accessed = choose(fstflags::ATIM, fstflags::ATIM_NOW, accessed)?;
    let modified = choose(fstflags::MTIM, fstflags::MTIM_NOW, modified)?;
    if tree.is_read_only(inode) {
        return Err(Errno::RoFs);
    }
    let node = tree.nodes.get_mut(&inode).ok_or(Errno::NoEnt)?;
    node.times.accessed = accessed.unwrap_or(node.times.accessed);
    node.times.modified = modified.unwrap_or(node.times.modified);
    Ok(())
}
