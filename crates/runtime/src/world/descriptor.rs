//! File descriptors: the table, and the calls that only look at or change a descriptor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::abi::{fdflags, filetype, rights};
use super::memory::Memory;
use super::tree::{Inode, Kind, ROOT, Times, Tree};
use super::{Errno, World};

/// Most descriptors that may be open at one time.
pub(super) const DESCRIPTORS_MAX: usize = 1024;

/// What a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Target {
    Stdin,
    Stdout,
    Stderr,
    /// The root, as it was given to the program.
    Preopen,
    Node(Inode),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub target: Target,
    pub offset: u64,
    pub flags: u16,
    /// Reading and writing are enforced (`EBADF`, as in POSIX); the others are only reported.
    pub rights: u64,
    pub inheriting: u64,
}

impl Descriptor {
    /// The node in the tree; `None` for a stream.
    pub fn inode(&self) -> Option<Inode> {
        match self.target {
            Target::Stdin | Target::Stdout | Target::Stderr => None,
            Target::Preopen => Some(ROOT),
            Target::Node(inode) => Some(inode),
        }
    }

    /// The node of a directory to resolve paths from.
    pub fn base(&self, tree: &Tree) -> Result<Inode, Errno> {
        let inode = self.inode().ok_or(Errno::NotDir)?;
        tree.directory(inode).map(|_| inode)
    }
}

#[derive(Debug)]
pub(super) struct Descriptors(pub BTreeMap<u32, Descriptor>);

impl Descriptors {
    pub fn new() -> Self {
        let open = |target, rights, inheriting| Descriptor {
            target,
            offset: 0,
            flags: 0,
            rights,
            inheriting,
        };
        Descriptors(BTreeMap::from([
            (0, open(Target::Stdin, rights::STDIN, 0)),
            (1, open(Target::Stdout, rights::STDOUT, 0)),
            (2, open(Target::Stderr, rights::STDOUT, 0)),
            (3, open(Target::Preopen, rights::DIRECTORY, rights::ALL)),
        ]))
    }

    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(&fd).ok_or(Errno::BadF)
    }

    pub fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.0.get_mut(&fd).ok_or(Errno::BadF)
    }

    /// The lowest free number, as POSIX has it.
    pub fn free(&self) -> Result<u32, Errno> {
        if self.0.len() >= DESCRIPTORS_MAX {
            return Err(Errno::MFile);
        }
        let mut free = 0;
        for fd in self.0.keys() {
            if *fd != free {
                break;
            }
            free += 1;
        }
        Ok(free)
    }
}

/// What `filestat` tells of a node or stream.
struct Stat {
    device: u64,
    inode: u64,
    filetype: u8,
    size: u64,
    links: u64,
    times: Times,
}

impl World {
    /// Works out anew how many descriptors each node has.
    pub(super) fn count_opens(&mut self) {
        for node in self.tree.nodes.values_mut() {
            node.opens = 0;
        }
        for inode in self.descriptors.0.values().filter_map(Descriptor::inode) {
            if let Some(node) = self.tree.nodes.get_mut(&inode) {
                node.opens += 1;
            }
        }
    }

    /// What a descriptor leaves when it is gone.
    pub(super) fn release(&mut self, descriptor: Descriptor) {
        if let Some(inode) = descriptor.inode()
            && let Some(node) = self.tree.nodes.get_mut(&inode)
        {
            node.opens -= 1;
            self.tree.drop_if_unused(inode);
        }
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Result<(), Errno> {
        let descriptor = self.descriptors.0.remove(&fd).ok_or(Errno::BadF)?;
        self.release(descriptor);
        Ok(())
    }

    pub(super) fn fd_renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let moved = *self.descriptors.get(from)?;
        self.descriptors.get(to)?;
        if from != to {
            self.descriptors.0.remove(&from);
            if let Some(closed) = self.descriptors.0.insert(to, moved) {
                self.release(closed);
            }
        }
        Ok(())
    }

    pub(super) fn fd_fdstat_get(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = *self.descriptors.get(fd)?;
        let mut record = [0; 24];
        record[0] = self.stat(&descriptor).filetype;
        record[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
        record[8..16].copy_from_slice(&descriptor.rights.to_le_bytes());
        record[16..24].copy_from_slice(&descriptor.inheriting.to_le_bytes());
        memory.write(out, &record)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Result<(), Errno> {
        let descriptor = self.descriptors.get_mut(fd)?;
        if flags & !u32::from(fdflags::ALL) != 0 {
            return Err(Errno::Inval);
        }
        // Only APPEND has an effect: nothing here blocks, and nothing is ever unsynced.
        descriptor.flags = flags as u16;
        Ok(())
    }

    pub(super) fn fd_fdstat_set_rights(
        &mut self,
        fd: u32,
        rights: u64,
        inheriting: u64,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptors.get_mut(fd)?;
        if rights & !descriptor.rights != 0 || inheriting & !descriptor.inheriting != 0 {
            return Err(Errno::NotCapable);
        }
        descriptor.rights = rights;
        descriptor.inheriting = inheriting;
        Ok(())
    }

    fn stat(&self, descriptor: &Descriptor) -> Stat {
        match descriptor.inode() {
            Some(inode) => self.stat_node(inode),
            None => {
                let (inode, filetype, size) = match descriptor.target {
                    Target::Stdin => (1, filetype::REGULAR_FILE, self.config.stdin.len() as u64),
                    Target::Stdout => (2, filetype::UNKNOWN, 0),
                    _ => (3, filetype::UNKNOWN, 0),
                };
                let start = super::process::nanoseconds(self.config.clock_start_ms);
                let times = Times { accessed: start, modified: start };
                Stat { device: 2, inode, filetype, size, links: 1, times }
            }
        }
    }

    fn stat_node(&self, inode: Inode) -> Stat {
        let node = self.tree.nodes.get(&inode);
        let (filetype, links) = match node.map(|node| (&node.kind, node.parent)) {
            Some((Kind::Directory(_), _)) => (filetype::DIRECTORY, 1),
            Some((_, super::tree::NOWHERE)) => (filetype::REGULAR_FILE, 0),
            _ => (filetype::REGULAR_FILE, 1),
        };
        let times = node.map_or(Times { accessed: 0, modified: 0 }, |node| node.times);
        Stat { device: 1, inode, filetype, size: node.map_or(0, |n| n.size()), links, times }
    }

    pub(super) fn fd_filestat_get(
        &mut self,
        memory: &mut Memory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = *self.descriptors.get(fd)?;
        write_stat(memory, out, &self.stat(&descriptor))
    }

    pub(super) fn write_stat_of_node(
        &self,
        memory: &mut Memory<'_>,
        out: u32,
        inode: Inode,
    ) -> Result<(), Errno> {
        write_stat(memory, out, &self.stat_node(inode))
    }

    pub(super) fn filetype(&self, inode: Inode) -> u8 {
        self.stat_node(inode).filetype
    }
}

fn write_stat(memory: &mut Memory<'_>, out: u32, stat: &Stat) -> Result<(), Errno> {
    let fields = [
        stat.device,
        stat.inode,
        u64::from(stat.filetype),
        stat.links,
        stat.size,
        stat.times.accessed,
        stat.times.modified,
        stat.times.modified,
    ];
    let mut record = [0; 64];
    for (to, field) in record.chunks_exact_mut(8).zip(fields) {
        to.copy_from_slice(&field.to_le_bytes());
    }
    memory.write(out, &record)
}
