//! From a path to a node. Nothing leads out of the root: as in POSIX, the root's parent is the
//! root, and a path that begins with `/` starts there whatever its directory descriptor.

use super::Errno;
use super::tree::{Inode, NAME_MAX, NOWHERE, ROOT, Tree};

/// Longest path, in bytes (PATH_MAX on Linux).
pub(super) const PATH_MAX: usize = 4096;

/// Where a path leads, its last part not yet looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The directory that the last part is in, or the directory itself for `Here` and `Parent`.
    pub directory: Inode,
    pub last: Last<'a>,
    /// The path ends in `/`: only a directory will do.
    pub slash: bool,
}

/// The last part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last<'a> {
    Name(&'a str),
    /// `.`, or the path was `/`.
    Here,
    /// `..`
    Parent,
}

/// Walks `path` from the directory `base`.
pub(super) fn resolve<'a>(tree: &Tree, base: Inode, path: &'a str) -> Result<Place<'a>, Errno> {
    tree.directory(base)?;
    if path.is_empty() {
        return Err(Errno::NoEnt);
    }
    if path.len() > PATH_MAX {
        return Err(Errno::NameTooLong);
    }
    if path.contains('\0') {
        return Err(Errno::Inval);
    }
    let mut directory = if path.starts_with('/') { ROOT } else { base };
    let slash = path.ends_with('/');
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if part.len() > NAME_MAX {
            return Err(Errno::NameTooLong);
        }
        let is_last = parts.peek().is_none();
        match part {
            "." if is_last => return Ok(Place { directory, last: Last::Here, slash }),
            "." => {}
            ".." => {
                directory = tree.node(directory)?.parent;
                if directory == NOWHERE {
                    return Err(Errno::NoEnt);
                }
                if is_last {
                    return Ok(Place { directory, last: Last::Parent, slash });
                }
            }
            name if is_last => return Ok(Place { directory, last: Last::Name(name), slash }),
            name => {
                directory = tree.child(directory, name).ok_or(Errno::NoEnt)?;
                tree.directory(directory)?;
            }
        }
    }
    Ok(Place { directory, last: Last::Here, slash })
}

impl<'a> Place<'a> {
    /// The node that is there, if one is.
    pub fn find(&self, tree: &Tree) -> Result<Option<Inode>, Errno> {
        let inode = match self.last {
            Last::Name(name) => tree.child(self.directory, name),
            Last::Here | Last::Parent => Some(self.directory),
        };
        if let Some(inode) = inode
            && self.slash
        {
            tree.directory(inode)?;
        }
        Ok(inode)
    }

    /// The node that must be there.
    pub fn existing(&self, tree: &Tree) -> Result<Inode, Errno> {
        self.find(tree)?.ok_or(Errno::NoEnt)
    }

    /// The last part as a name that can be created, removed or renamed; else `otherwise`.
    pub fn name(&self, otherwise: Errno) -> Result<&'a str, Errno> {
        match self.last {
            Last::Name(name) => Ok(name),
            Last::Here | Last::Parent => Err(otherwise),
        }
    }
}
