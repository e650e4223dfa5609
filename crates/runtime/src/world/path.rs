//! Calls that take paths.

use super::abi::{LOOKUPFLAGS_ALL, fdflags, oflags, rights};
use super::descriptor::{Descriptor, Target};
use super::memory::Memory;
use super::resolve::{Last, PATH_MAX, Place, resolve};
use super::tree::{DEPTH_MAX, Directory, Inode, Kind, NOWHERE, ROOT};
use super::{Errno, World};

/// What is charged for each part of a path and for each node looked at, as if so many bytes
/// had been moved.
const VISIT_BYTES: u64 = 64;

/// What is charged for each open descriptor that is passed on the way to a free number.
const DESCRIPTOR_BYTES: u64 = 8;

/// A string of the guest: where it is and its length.
pub(super) type Text = (u32, u32);

impl World {
    /// The path as text. It is charged for whether or not it leads anywhere.
    fn path(&mut self, memory: &Memory<'_>, (at, len): Text) -> Result<String, Errno> {
        if len as usize > PATH_MAX {
            return Err(Errno::NameTooLong);
        }
        let bytes = memory.bytes(at, len)?;
        let parts = bytes.split(|byte| *byte == b'/').count() as u64;
        self.bytes += u64::from(len) + parts * VISIT_BYTES;
        String::from_utf8(bytes.to_vec()).map_err(|_| Errno::IlSeq)
    }

    fn base(&self, fd: u32) -> Result<Inode, Errno> {
        self.descriptors.get(fd)?.base(&self.tree)
    }

    pub(super) fn path_open(
        &mut self,
        memory: &mut Memory<'_>,
        args: &[u64; 9],
    ) -> Result<(), Errno> {
        let [fd, lookup, at, len, oflags, wanted, inheriting, flags, out] = *args;
        let (oflags, flags, out) = (oflags as u32, flags as u32, out as u32);
        let base = self.base(fd as u32)?;
        if lookup as u32 & !LOOKUPFLAGS_ALL != 0
            || oflags & !oflags::ALL != 0
            || flags & !u32::from(fdflags::ALL) != 0
        {
            return Err(Errno::Inval);
        }
        let path = self.path(memory, (at as u32, len as u32))?;
        memory.check(out, 4)?;
        let number = self.descriptors.free()?;
        // All lower numbers were looked at.
        self.bytes += u64::from(number) * DESCRIPTOR_BYTES;
        let place = resolve(&self.tree, base, &path)?;
        let (inode, possible) = match place.find(&self.tree)? {
            Some(inode) => (inode, self.open_existing(inode, oflags, wanted)?),
            None => (self.open_new(&place, oflags)?, rights::FILE),
        };
        if let Some(node) = self.tree.nodes.get_mut(&inode) {
            node.opens += 1;
        }
        let descriptor = Descriptor {
            target: Target::Node(inode),
            offset: 0,
            flags: flags as u16,
            rights: wanted & possible,
            inheriting: inheriting & rights::ALL,
        };
        self.descriptors.0.insert(number, descriptor);
        memory.write_u32(out, number)
    }

    /// Checks, and cuts if asked to, a file or directory that is there. Answers the rights that
    /// a descriptor of it may have.
    fn open_existing(&mut self, inode: Inode, oflags: u32, wanted: u64) -> Result<u64, Errno> {
        if oflags & oflags::CREAT != 0 && oflags & oflags::EXCL != 0 {
            return Err(Errno::Exist);
        }
        let is_directory = self.tree.node(inode)?.is_directory();
        let must_be_directory = oflags & oflags::DIRECTORY != 0;
        if is_directory {
            // With the DIRECTORY flag, rights that only files have are asked for in passing.
            let as_file = wanted & rights::FD_WRITE != 0 && !must_be_directory;
            if as_file || oflags & (oflags::CREAT | oflags::TRUNC) != 0 {
                return Err(Errno::IsDir);
            }
            return Ok(rights::DIRECTORY);
        }
        if must_be_directory {
            return Err(Errno::NotDir);
        }
        let truncate = oflags & oflags::TRUNC != 0;
        if self.tree.is_read_only(inode) {
            if truncate || wanted & rights::FD_WRITE != 0 {
                return Err(Errno::RoFs);
            }
            return Ok(rights::FILE & !rights::MODIFY);
        }
        if truncate {
            self.resize(inode, 0)?;
        }
        Ok(rights::FILE)
    }

    fn open_new(&mut self, place: &Place<'_>, oflags: u32) -> Result<Inode, Errno> {
        if oflags & oflags::CREAT == 0 {
            return Err(Errno::NoEnt);
        }
        if oflags & oflags::DIRECTORY != 0 {
            return Err(Errno::Inval);
        }
        if place.slash {
            return Err(Errno::IsDir);
        }
        let now = self.realtime();
        let name = place.name(Errno::IsDir)?;
        self.charge_depth(place.directory);
        self.tree.create(place.directory, name, Kind::File(Vec::new()), now)
    }

    /// The way up from a directory is walked to see that nothing is nested too deeply.
    fn charge_depth(&mut self, directory: Inode) {
        self.bytes += self.tree.depth(directory) as u64 * VISIT_BYTES;
    }

    pub(super) fn path_create_directory(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let base = self.base(fd)?;
        let path = self.path(memory, (at, len))?;
        let place = resolve(&self.tree, base, &path)?;
        let name = place.name(Errno::Exist)?;
        if self.tree.child(place.directory, name).is_some() {
            return Err(Errno::Exist);
        }
        let now = self.realtime();
        let directory = Kind::Directory(Directory::default());
        self.charge_depth(place.directory);
        self.tree.create(place.directory, name, directory, now).map(|_| ())
    }

    pub(super) fn path_filestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        lookup: u32,
        at: u32,
        len: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let inode = self.lookup(memory, fd, lookup, (at, len))?;
        self.write_stat_of_node(memory, out, inode)
    }

    #[expect(clippy::too_many_arguments)] // They are WASI's.
    pub(super) fn path_filestat_set_times(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        lookup: u32,
        path: Text,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let inode = self.lookup(memory, fd, lookup, path)?;
        let now = self.realtime();
        super::file::set_times(&mut self.tree, inode, accessed, modified, flags, now)
    }

    /// The node that must be at a path.
    fn lookup(
        &mut self,
        memory: &Memory<'_>,
        fd: u32,
        lookup: u32,
        path: Text,
    ) -> Result<Inode, Errno> {
        let base = self.base(fd)?;
        if lookup & !LOOKUPFLAGS_ALL != 0 {
            return Err(Errno::Inval);
        }
        let path = self.path(memory, path)?;
        resolve(&self.tree, base, &path)?.existing(&self.tree)
    }

    /// As on a file system without links: `EPERM`, once the paths are right.
    pub(super) fn path_link(
        &mut self,
        memory: &mut Memory<'_>,
        old_fd: u32,
        old: Text,
        new_fd: u32,
        new: Text,
    ) -> Result<(), Errno> {
        self.lookup(memory, old_fd, 0, old)?;
        self.no_link(memory, new_fd, new)
    }

    /// As on a file system without links: `EPERM`, once the paths are right.
    pub(super) fn path_symlink(
        &mut self,
        memory: &mut Memory<'_>,
        old: Text,
        fd: u32,
        new: Text,
    ) -> Result<(), Errno> {
        self.path(memory, old)?;
        self.no_link(memory, fd, new)
    }

    fn no_link(&mut self, memory: &Memory<'_>, fd: u32, new: Text) -> Result<(), Errno> {
        let base = self.base(fd)?;
        let new = self.path(memory, new)?;
        let place = resolve(&self.tree, base, &new)?;
        if place.find(&self.tree)?.is_some() {
            return Err(Errno::Exist);
        }
        let read_only = self.tree.is_read_only(place.directory);
        Err(if read_only { Errno::RoFs } else { Errno::Perm })
    }

    /// Nothing is a symbolic link.
    pub(super) fn path_readlink(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        self.lookup(memory, fd, 0, (at, len)).and(Err(Errno::Inval))
    }

    pub(super) fn path_remove_directory(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let base = self.base(fd)?;
        let path = self.path(memory, (at, len))?;
        let place = resolve(&self.tree, base, &path)?;
        let inode = place.existing(&self.tree)?;
        if self.tree.is_fixed(inode) {
            return Err(Errno::Busy);
        }
        place.name(if place.last == Last::Here { Errno::Inval } else { Errno::NotEmpty })?;
        let is_empty = self.tree.directory(inode)?.entries.is_empty();
        self.remove(inode, is_empty)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let base = self.base(fd)?;
        let path = self.path(memory, (at, len))?;
        let inode = resolve(&self.tree, base, &path)?.existing(&self.tree)?;
        if self.tree.node(inode)?.is_directory() {
            return Err(Errno::IsDir);
        }
        self.remove(inode, true)
    }

    fn remove(&mut self, inode: Inode, is_empty: bool) -> Result<(), Errno> {
        if self.tree.is_read_only(inode) {
            return Err(Errno::RoFs);
        }
        if !is_empty {
            return Err(Errno::NotEmpty);
        }
        let now = self.realtime();
        let parent = self.tree.node(inode)?.parent;
        self.tree.detach(inode);
        self.tree.touch(parent, now);
        Ok(())
    }

    pub(super) fn path_rename(
        &mut self,
        memory: &mut Memory<'_>,
        old_fd: u32,
        old: Text,
        new_fd: u32,
        new: Text,
    ) -> Result<(), Errno> {
        let (old_base, new_base) = (self.base(old_fd)?, self.base(new_fd)?);
        let (old, new) = (self.path(memory, old)?, self.path(memory, new)?);
        let from = resolve(&self.tree, old_base, &old)?;
        let to = resolve(&self.tree, new_base, &new)?;
        let inode = from.existing(&self.tree)?;
        if self.tree.is_fixed(inode) {
            return Err(Errno::Busy);
        }
        from.name(Errno::Inval)?;
        let replaced = to.find(&self.tree)?;
        if replaced.is_some_and(|replaced| self.tree.is_fixed(replaced)) {
            return Err(Errno::Busy);
        }
        let name = to.name(Errno::Inval)?;
        if self.tree.is_read_only(inode) || self.tree.is_read_only(to.directory) {
            return Err(Errno::RoFs);
        }
        if self.tree.node(to.directory)?.parent == NOWHERE {
            return Err(Errno::NoEnt);
        }
        if replaced == Some(inode) {
            return Ok(());
        }
        let is_directory = self.tree.node(inode)?.is_directory();
        self.charge_depth(to.directory);
        if is_directory {
            self.check_move(inode, to.directory)?;
        } else if to.slash {
            return Err(Errno::NotDir);
        } else if self.tree.depth(to.directory) >= DEPTH_MAX {
            return Err(Errno::NameTooLong);
        }
        if let Some(replaced) = replaced {
            match (is_directory, &self.tree.node(replaced)?.kind) {
                (true, Kind::Directory(target)) if !target.entries.is_empty() => {
                    return Err(Errno::NotEmpty);
                }
                (true, Kind::Directory(_)) => {}
                (true, _) => return Err(Errno::NotDir),
                (false, Kind::Directory(_)) => return Err(Errno::IsDir),
                (false, _) => {}
            }
            self.tree.detach(replaced);
        }
        let now = self.realtime();
        self.tree.touch(from.directory, now);
        self.tree.touch(to.directory, now);
        self.tree.rename(inode, to.directory, name);
        Ok(())
    }

    /// Whether a directory may move into another one: not into itself, and not so deep that
    /// what is in it would be nested too deeply.
    fn check_move(&mut self, inode: Inode, into: Inode) -> Result<(), Errno> {
        let mut at = into;
        while at != ROOT && at != NOWHERE {
            if at == inode {
                return Err(Errno::Inval);
            }
            at = self.tree.node(at)?.parent;
        }
        let mut height = 0;
        let mut level = vec![inode];
        while !level.is_empty() {
            height += 1;
            self.bytes += level.len() as u64 * VISIT_BYTES;
            let directories = level.iter().filter_map(|inode| self.tree.directory(*inode).ok());
            level = directories.flat_map(|directory| directory.order.iter().copied()).collect();
        }
        if self.tree.depth(into) + height > DEPTH_MAX {
            return Err(Errno::NameTooLong);
        }
        Ok(())
    }
}
