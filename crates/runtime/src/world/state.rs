//! The world as bytes, and back.
//!
//! A state is canonical: one world has one state, however often it was saved and restored. The
//! description is the postcard encoding of [`Meta`]; what follows from the configuration (the
//! inputs, the directories that are always there) or from other parts isn't in it.

use serde::{Deserialize, Serialize};

use super::abi::{fdflags, rights};
use super::descriptor::{DESCRIPTORS_MAX, Descriptor, Descriptors, Target};
use super::process::{FUEL_PER_NS, RANDOM_POSITION_MAX};
use super::tree::{
    DEPTH_MAX, Directory, Inode, Kind, NAME_MAX, NODES_MAX, NOWHERE, Node, OUT, ROOT, TMP, Times,
    Tree,
};
use super::{World, WorldConfig, WorldError};

/// The state of a [`World`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldState<'a> {
    /// Everything but the bulk contents.
    pub meta: Vec<u8>,
    /// Standard output, standard error, then each writable file by inode.
    pub contents: Vec<&'a [u8]>,
}

/// Most bytes that a description can have: far above what the limits on nodes, names and
/// descriptors allow.
const META_BYTES_MAX: usize = 64 << 20;

/// Inode numbers stay below: no program creates so many.
const INODE_MAX: Inode = 1 << 60;

#[derive(Serialize, Deserialize)]
struct Meta {
    slept_ns: u64,
    random_position: u64,
    next_inode: Inode,
    stdout_bytes: u64,
    stderr_bytes: u64,
    descriptors: Vec<(u32, Descriptor)>,
    /// `/out`, `/tmp`.
    fixed: [Times; 2],
    created: Vec<Created>,
}

/// A node that the program created.
#[derive(Serialize, Deserialize)]
struct Created {
    inode: Inode,
    parent: Inode,
    name: String,
    times: Times,
    /// The file's size; `None` for a directory.
    bytes: Option<u64>,
}

fn damaged(why: &'static str) -> WorldError {
    WorldError::State { why }
}

impl World {
    /// The state between two calls.
    pub fn state(&self) -> WorldState<'_> {
        let created = || self.tree.nodes.range(self.tree.first_created..);
        let times = |inode| {
            let node: Option<&Node> = self.tree.nodes.get(&inode);
            node.map_or(Times { accessed: 0, modified: 0 }, |node| node.times)
        };
        let meta = Meta {
            slept_ns: self.slept_ns,
            random_position: self.random_position,
            next_inode: self.tree.next,
            stdout_bytes: self.stdout.len() as u64,
            stderr_bytes: self.stderr.len() as u64,
            descriptors: self.descriptors.0.iter().map(|(fd, open)| (*fd, *open)).collect(),
            fixed: [times(OUT), times(TMP)],
            created: created()
                .map(|(inode, node)| Created {
                    inode: *inode,
                    parent: node.parent,
                    name: node.name.clone(),
                    times: node.times,
                    bytes: (!node.is_directory()).then(|| node.size()),
                })
                .collect(),
        };
        let files = created().filter_map(|(_, node)| match &node.kind {
            Kind::File(content) => Some(content.as_slice()),
            _ => None,
        });
        WorldState {
            meta: encode(&meta),
            contents: [self.stdout.as_slice(), self.stderr.as_slice()]
                .into_iter()
                .chain(files)
                .collect(),
        }
    }

    /// The world that had this state. The configuration must be the one it had; bytes that are
    /// no state of such a world are refused.
    pub fn restore(
        config: WorldConfig,
        meta: &[u8],
        contents: Vec<Vec<u8>>,
    ) -> Result<World, WorldError> {
        if meta.len() > META_BYTES_MAX {
            return Err(damaged("its description is too long"));
        }
        let parsed: Meta =
            postcard::from_bytes(meta).map_err(|_| damaged("its description can't be read"))?;
        if encode(&parsed) != meta {
            return Err(damaged("its description isn't in its canonical form"));
        }
        if parsed.random_position > RANDOM_POSITION_MAX {
            return Err(damaged("its random stream has ended"));
        }
        let mut world = World::new(config)?;
        let mut contents = contents.into_iter();
        for (stream, bytes) in
            [(&mut world.stdout, parsed.stdout_bytes), (&mut world.stderr, parsed.stderr_bytes)]
        {
            *stream = contents.next().ok_or(damaged("a content is missing"))?;
            if stream.len() as u64 != bytes {
                return Err(damaged("a stream has another length"));
            }
            world.tree.used = world.tree.used.saturating_add(bytes);
        }
        for (inode, times) in [OUT, TMP].into_iter().zip(parsed.fixed) {
            if let Some(node) = world.tree.nodes.get_mut(&inode) {
                node.times = times;
            }
        }
        restore_nodes(&mut world.tree, &parsed.created, parsed.next_inode, &mut contents)?;
        if contents.next().is_some() {
            return Err(damaged("a content belongs to nothing"));
        }
        if world.tree.used > world.tree.max {
            return Err(damaged("its files are over the limit"));
        }
        world.descriptors = restore_descriptors(&world.tree, &parsed.descriptors)?;
        world.count_opens();
        check_unlinked(&world.tree)?;
        world.slept_ns = parsed.slept_ns;
        world.random_position = parsed.random_position;
        Ok(world)
    }
}

impl World {
    /// The world of a task that goes on from a base ([`crate::base_state`]): its own, at its
    /// beginning, but for the clocks, which `elapsed` fuel and what the base slept have moved.
    pub fn after(config: WorldConfig, meta: &[u8], elapsed: u64) -> Result<World, WorldError> {
        let parsed: Meta =
            postcard::from_bytes(meta).map_err(|_| damaged("its description can't be read"))?;
        let mut world = World::new(config)?;
        if parsed.stdout_bytes + parsed.stderr_bytes > 0 || !parsed.created.is_empty() {
            return Err(damaged("a base may not have written anything"));
        }
        let open = |descriptors: &Descriptors| -> Vec<(u32, Descriptor)> {
            descriptors.0.iter().map(|(fd, open)| (*fd, *open)).collect()
        };
        let before = postcard::to_stdvec(&open(&world.descriptors)).unwrap_or_default();
        if postcard::to_stdvec(&parsed.descriptors).unwrap_or_default() != before {
            return Err(damaged("a base may have nothing open but the standard streams"));
        }
        world.slept_ns = parsed.slept_ns.saturating_add(elapsed / FUEL_PER_NS);
        Ok(world)
    }
}

fn encode(meta: &Meta) -> Vec<u8> {
    // Writing to a vector doesn't fail, and no field of `Meta` refuses to be written.
    postcard::to_stdvec(meta).unwrap_or_default()
}

fn restore_nodes(
    tree: &mut Tree,
    created: &[Created],
    next: Inode,
    contents: &mut impl Iterator<Item = Vec<u8>>,
) -> Result<(), WorldError> {
    if created.len() > NODES_MAX {
        return Err(damaged("it has too many files"));
    }
    let mut lowest = tree.first_created;
    for node in created {
        if node.inode < lowest {
            return Err(damaged("its inodes aren't in order"));
        }
        lowest = node.inode.saturating_add(1);
        let kind = match node.bytes {
            None => Kind::Directory(Directory::default()),
            Some(bytes) => {
                let content = contents.next().ok_or(damaged("a content is missing"))?;
                if content.len() as u64 != bytes {
                    return Err(damaged("a file has another length"));
                }
                tree.used = tree.used.saturating_add(bytes);
                Kind::File(content)
            }
        };
        let times = node.times;
        let opens = 0;
        let name = node.name.clone();
        tree.nodes.insert(node.inode, Node { parent: node.parent, name, times, opens, kind });
    }
    if next < lowest || next > INODE_MAX {
        return Err(damaged("its next inode is wrong"));
    }
    tree.next = next;
    for node in created.iter().filter(|node| node.parent != NOWHERE) {
        let name = node.name.as_str();
        if matches!(name, "" | "." | "..")
            || name.len() > NAME_MAX
            || name.contains(['/', '\0'])
            || tree.is_read_only(node.parent)
            || tree.directory(node.parent).is_err()
            || tree.child(node.parent, name).is_some()
        {
            return Err(damaged("a name or its directory is wrong"));
        }
        tree.rename(node.inode, node.parent, name);
    }
    for node in created.iter().filter(|node| node.parent != NOWHERE) {
        // Also finds circles, and trees below what was unlinked.
        if tree.depth(node.inode) > DEPTH_MAX || tree.path_below(ROOT, node.inode).is_none() {
            return Err(damaged("a file is in no directory, or nested too deeply"));
        }
    }
    Ok(())
}

fn restore_descriptors(
    tree: &Tree,
    saved: &[(u32, Descriptor)],
) -> Result<Descriptors, WorldError> {
    if saved.len() > DESCRIPTORS_MAX {
        return Err(damaged("it has too many descriptors"));
    }
    let mut descriptors = Descriptors(Default::default());
    let mut lowest = 0;
    for (fd, descriptor) in saved {
        if u64::from(*fd) < lowest || *fd as usize >= DESCRIPTORS_MAX {
            return Err(damaged("its descriptors aren't in order"));
        }
        lowest = u64::from(*fd) + 1;
        let possible = match (descriptor.target, descriptor.inode()) {
            (Target::Stdin, _) => rights::STDIN,
            (Target::Stdout | Target::Stderr, _) => rights::STDOUT,
            (_, inode) => {
                let inode = inode.unwrap_or(NOWHERE);
                let read_only = tree.is_read_only(inode);
                let node = tree.nodes.get(&inode).ok_or(damaged("an open file is missing"))?;
                match node.kind {
                    Kind::Directory(_) => rights::DIRECTORY,
                    _ if read_only => rights::FILE & !rights::MODIFY,
                    _ => rights::FILE,
                }
            }
        };
        if descriptor.rights & !possible != 0
            || descriptor.inheriting & !rights::ALL != 0
            || descriptor.flags & !fdflags::ALL != 0
            || descriptor.offset > i64::MAX as u64
        {
            return Err(damaged("a descriptor is wrong"));
        }
        descriptors.0.insert(*fd, *descriptor);
    }
    Ok(descriptors)
}

/// What has no name any more must be open, and empty if it is a directory.
fn check_unlinked(tree: &Tree) -> Result<(), WorldError> {
    for node in tree.nodes.values().filter(|node| node.parent == NOWHERE) {
        let has_entries = matches!(&node.kind, Kind::Directory(d) if !d.entries.is_empty());
        if node.opens == 0 || has_entries || !node.name.is_empty() {
            return Err(damaged("an unlinked file isn't open"));
        }
    }
    Ok(())
}
