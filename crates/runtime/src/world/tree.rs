//! The file tree: read-only inputs below `/in`, writable files in memory below `/out` and
//! `/tmp`. A node is known by its inode number, which is stable: the four directories that are
//! always there, then the inputs in the order of their paths, then what the program creates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Errno, WorldError};

pub(super) type Inode = u64;

/// The parent of a node that was unlinked while open.
pub(super) const NOWHERE: Inode = 0;
pub(super) const ROOT: Inode = 1;
pub(super) const IN: Inode = 2;
pub(super) const OUT: Inode = 3;
pub(super) const TMP: Inode = 4;
const FIRST_INPUT: Inode = 5;

/// Longest name of a file, in bytes.
pub(super) const NAME_MAX: usize = 255;
/// Most directories above a file.
pub(super) const DEPTH_MAX: usize = 128;
/// Most files and directories that a program may have at one time.
pub(super) const NODES_MAX: usize = 65_536;

/// Nanoseconds UTC of the last access (as set by the program; reading doesn't change it) and
/// the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Times {
    pub accessed: u64,
    pub modified: u64,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory(Directory),
    Input(Arc<[u8]>),
    File(Vec<u8>),
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub entries: BTreeMap<String, Inode>,
    /// The same by inode: the order of `fd_readdir`. Its cookies are inode numbers, so that
    /// entries may be removed and added between two calls without any other being skipped.
    pub order: BTreeSet<Inode>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub parent: Inode,
    pub name: String,
    pub times: Times,
    /// Descriptors that refer to it. Not part of the state: it follows from the descriptors.
    pub opens: u32,
    pub kind: Kind,
}

impl Node {
    pub fn new(parent: Inode, name: &str, now: u64, kind: Kind) -> Self {
        let times = Times { accessed: now, modified: now };
        Node { parent, name: name.to_owned(), times, opens: 0, kind }
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// Bytes of a file; 0 for a directory.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::Directory(_) => 0,
            Kind::Input(content) => content.len() as u64,
            Kind::File(content) => content.len() as u64,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub nodes: BTreeMap<Inode, Node>,
    /// The number of the next node to be created.
    pub next: Inode,
    /// The number of the first node that the program created.
    pub first_created: Inode,
    /// Bytes in standard output, standard error and all writable files.
    pub used: u64,
    /// Most that `used` may become.
    pub max: u64,
}

impl Tree {
    pub fn new(
        inputs: &BTreeMap<String, Arc<[u8]>>,
        now: u64,
        max: u64,
    ) -> Result<Tree, WorldError> {
        let directory = || Kind::Directory(Directory::default());
        let mut tree =
            Tree { nodes: BTreeMap::new(), next: FIRST_INPUT, first_created: 0, used: 0, max };
        tree.nodes.insert(ROOT, Node::new(ROOT, "", now, directory()));
        for (inode, name) in [(IN, "in"), (OUT, "out"), (TMP, "tmp")] {
            tree.attach(inode, Node::new(ROOT, name, now, directory()));
        }
        // By parts, so that in each directory the order of inodes is that of names.
        let mut inputs: Vec<_> = inputs.iter().collect();
        inputs.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
        for (path, content) in inputs {
            let refused = |why| WorldError::InputPath { path: path.to_owned(), why };
            let mut parent = IN;
            let mut names = path.split('/').peekable();
            let mut depth = 1;
            while let Some(name) = names.next() {
                depth += 1;
                match name {
                    "" => return Err(refused("it has an empty part")),
                    "." | ".." => return Err(refused("it has the part `.` or `..`")),
                    _ if name.len() > NAME_MAX => return Err(refused("a part is too long")),
                    _ if name.contains('\0') => return Err(refused("it has a zero byte")),
                    _ if depth > DEPTH_MAX => return Err(refused("it is nested too deeply")),
                    _ => {}
                }
                let is_last = names.peek().is_none();
                match tree.child(parent, name) {
                    Some(child) if !is_last && tree.nodes[&child].is_directory() => parent = child,
                    Some(_) => return Err(refused("it is both a file and a directory")),
                    None => {
                        let kind = if is_last { Kind::Input(content.clone()) } else { directory() };
                        let inode = tree.next;
                        tree.next += 1;
                        tree.attach(inode, Node::new(parent, name, now, kind));
                        parent = inode;
                    }
                }
            }
        }
        tree.first_created = tree.next;
        Ok(tree)
    }

    pub fn node(&self, inode: Inode) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::NoEnt)
    }

    pub fn directory(&self, inode: Inode) -> Result<&Directory, Errno> {
        match &self.node(inode)?.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NotDir),
        }
    }

    pub fn child(&self, parent: Inode, name: &str) -> Option<Inode> {
        self.directory(parent).ok()?.entries.get(name).copied()
    }

    /// Whether the content, the entries or the times may not be changed.
    pub fn is_read_only(&self, inode: Inode) -> bool {
        inode <= IN || (FIRST_INPUT..self.first_created).contains(&inode)
    }

    /// Whether it is one of the directories that are always there.
    pub fn is_fixed(&self, inode: Inode) -> bool {
        inode < FIRST_INPUT
    }

    /// Puts a node under its number, and under its name into its parent.
    pub fn attach(&mut self, inode: Inode, node: Node) {
        if let Some(Node { kind: Kind::Directory(parent), .. }) = self.nodes.get_mut(&node.parent) {
            parent.entries.insert(node.name.clone(), inode);
            parent.order.insert(inode);
        }
        self.nodes.insert(inode, node);
    }

    /// Takes a node out of its parent, and away altogether unless it is open.
    pub fn detach(&mut self, inode: Inode) {
        let Some(node) = self.nodes.get_mut(&inode) else { return };
        let parent = std::mem::replace(&mut node.parent, NOWHERE);
        let name = std::mem::take(&mut node.name);
        if let Some(Node { kind: Kind::Directory(parent), .. }) = self.nodes.get_mut(&parent) {
            parent.entries.remove(&name);
            parent.order.remove(&inode);
        }
        self.drop_if_unused(inode);
    }

    /// Moves a node to another name, or gives it its first one.
    pub fn rename(&mut self, inode: Inode, parent: Inode, name: &str) {
        let Some(mut node) = self.nodes.remove(&inode) else { return };
        if let Some(Node { kind: Kind::Directory(old), .. }) = self.nodes.get_mut(&node.parent)
            && old.order.remove(&inode)
        {
            old.entries.remove(&node.name);
        }
        node.parent = parent;
        node.name = name.to_owned();
        self.attach(inode, node);
    }

    /// Forgets a node that has neither a name nor a descriptor.
    pub fn drop_if_unused(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get(&inode)
            && node.parent == NOWHERE
            && node.opens == 0
        {
            self.used -= node.size();
            self.nodes.remove(&inode);
        }
    }

    /// The directories from a node up to the root, itself not counted.
    pub fn depth(&self, inode: Inode) -> usize {
        let mut depth = 0;
        let mut at = inode;
        while at != ROOT && at != NOWHERE && depth <= DEPTH_MAX {
            at = self.nodes.get(&at).map_or(NOWHERE, |node| node.parent);
            depth += 1;
        }
        depth
    }

    /// Creates a file or directory in a directory that may be written to.
    pub fn create(
        &mut self,
        parent: Inode,
        name: &str,
        kind: Kind,
        now: u64,
    ) -> Result<Inode, Errno> {
        if self.is_read_only(parent) {
            return Err(Errno::RoFs);
        }
        if self.node(parent)?.parent == NOWHERE {
            return Err(Errno::NoEnt);
        }
        if self.depth(parent) >= DEPTH_MAX {
            return Err(Errno::NameTooLong);
        }
        if self.created() >= NODES_MAX {
            return Err(Errno::NoSpc);
        }
        let inode = self.next;
        self.next += 1;
        self.attach(inode, Node::new(parent, name, now, kind));
        self.touch(parent, now);
        Ok(inode)
    }

    /// How many nodes the program has created and not removed.
    pub fn created(&self) -> usize {
        self.nodes.len() - (self.first_created as usize - 1)
    }

    /// Says that a node was changed now.
    pub fn touch(&mut self, inode: Inode, now: u64) {
        if !self.is_read_only(inode)
            && let Some(node) = self.nodes.get_mut(&inode)
        {
            node.times.modified = now;
        }
    }

    /// Bytes that may still be written anywhere.
    pub fn room(&self) -> u64 {
        self.max - self.used
    }

    /// Gives a file another size, cutting it or adding zeros. Answers how many were added.
    pub fn resize(&mut self, inode: Inode, size: u64, now: u64) -> Result<u64, Errno> {
        if self.is_read_only(inode) {
            return Err(Errno::RoFs);
        }
        let (room, max) = (self.room(), self.max);
        let Some(Node { kind: Kind::File(content), .. }) = self.nodes.get_mut(&inode) else {
            return Err(Errno::IsDir);
        };
        let old = content.len() as u64;
        let added = size.saturating_sub(old);
        if added > room {
            return Err(if size > max { Errno::FBig } else { Errno::NoSpc });
        }
        content.resize(size as usize, 0);
        // A cut file gives its memory back: the limit is on what is there, not on what was.
        if content.capacity() > 2 * content.len() + 65_536 {
            content.shrink_to_fit();
        }
        self.used = self.used - old + size;
        self.touch(inode, now);
        Ok(added)
    }

    /// The path of a node below `ancestor`; `None` when it isn't below.
    pub fn path_below(&self, ancestor: Inode, inode: Inode) -> Option<String> {
        let mut names = Vec::new();
        let mut at = inode;
        while at != ancestor {
            if at == ROOT || at == NOWHERE || names.len() > DEPTH_MAX {
                return None;
            }
            let node = self.nodes.get(&at)?;
            names.push(node.name.as_str());
            at = node.parent;
        }
        names.reverse();
        Some(names.join("/"))
    }
}
