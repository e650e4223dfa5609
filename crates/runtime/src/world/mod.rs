//! The virtual world of a task: all of WASI preview 1, deterministic and serialisable.
//!
//! There are no host files, no host clock, no network and no randomness here. What a program
//! sees is a function of its [`WorldConfig`], of what it did before and of its fuel:
//!
//! - **Files.** One preopened directory, descriptor 3, is the root `/`. Below it are `/in` (the
//!   inputs, read-only), `/out` (writable; its files are the result) and `/tmp` (writable, not
//!   part of the result). There are no links.
//! - **Streams.** Standard input is a file that can be read and seeked; standard output and
//!   error are captured and look like pipes.
//! - **Limits.** Standard output, error, `/out` and `/tmp` together hold at most
//!   `output_max_bytes`; beyond that, `ENOSPC`. Other limits are constants, each with its errno.
//! - **Clock.** `clock_start_ms` + a third of a nanosecond for each unit of fuel + all that was
//!   slept. Sleeping takes no time.
//! - **Randomness.** A BLAKE3 stream of the seed; the position in it is part of the state.
//!
//! No call traps: pointers outside the memory are `EFAULT`, and every other misuse has its
//! errno. Nothing is allocated that isn't bounded by the job's limits or by a constant.
//!
//! The state is [`World::state`]: a canonical description and the bulk contents apart from it.
//! [`World::restore`] takes it back and believes nothing.

mod abi;
mod descriptor;
mod directory;
mod errno;
mod file;
mod function;
mod memory;
mod path;
mod poll;
mod process;
mod resolve;
mod state;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Digest;

pub use errno::Errno;
pub use function::{Function, ValueType};

use descriptor::Descriptors;
use memory::Memory;
use tree::{OUT, Tree};

/// The module name under which programs import WASI preview 1.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// Most bytes of arguments and environment together, with their terminating zeros.
const STRINGS_MAX: usize = 4 << 20;

/// What is charged for each buffer, string or directory entry of a call that names many, as if
/// so many bytes had been moved on top of its own.
const ITEM_BYTES: u64 = 128;

/// Largest limit on output that a job may have.
const OUTPUT_BYTES_MAX: u64 = 1 << 32;

/// All that decides what a program finds in its world.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// Arguments; the first is the program's name.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Arc<[u8]>,
    /// Read-only files under `/in`, by path below it.
    pub inputs: Arc<BTreeMap<String, Arc<[u8]>>>,
    /// Limit on the bytes of standard output, standard error and writable files together.
    pub output_max_bytes: u64,
    /// What random numbers derive from.
    pub seed: Digest,
    /// The clock at fuel 0, in milliseconds UTC.
    pub clock_start_ms: i64,
}

/// Why there can be no such world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// An input's path isn't one.
    #[error("the input path `{path}` can't be used: {why}")]
    InputPath {
        /// The path below `/in`.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An argument or environment variable can't be handed to a program.
    #[error("the {what} `{text}` can't be used: {why}")]
    Text {
        /// `argument` or `environment variable`.
        what: &'static str,
        /// As it was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Arguments and environment are too long.
    #[error("arguments and environment take {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// How many they take.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The limit on output is no limit.
    #[error(
        "an output limit of {bytes} bytes is too large; at most {OUTPUT_BYTES_MAX} are allowed"
    )]
    OutputLimit {
        /// The limit that was asked for.
        bytes: u64,
    },
    /// A saved state that no world of this configuration has.
    #[error("the saved world is damaged or of another task: {why}")]
    State {
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What the guest gets.
    pub reply: Reply,
    /// To be charged: the bytes that were moved, and an equivalent in bytes for other work that
    /// grows with what the guest asked for. The same for the same call in the same state.
    pub bytes: u64,
}

/// What the guest gets from a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The function returns this.
    Errno(Errno),
    /// The program ends with this status.
    Exit(i32),
}

/// The world of one task.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tree: Tree,
    descriptors: Descriptors,
    /// What sleeping has added to the clock.
    slept_ns: u64,
    /// Bytes drawn from the random stream.
    random_position: u64,
    /// The task's fuel at the current call; not part of the state.
    fuel: u64,
    /// [`Answer::bytes`] of the current call; not part of the state.
    bytes: u64,
}

impl World {
    /// The world of a task that has not begun.
    pub fn new(config: WorldConfig) -> Result<World, WorldError> {
        process::check_strings(&config)?;
        if config.output_max_bytes > OUTPUT_BYTES_MAX {
            return Err(WorldError::OutputLimit { bytes: config.output_max_bytes });
        }
        let start = process::nanoseconds(config.clock_start_ms);
        let tree = Tree::new(&config.inputs, start, config.output_max_bytes)?;
        let mut world = World {
            config,
            stdout: Vec::new(),
            stderr: Vec::new(),
            tree,
            descriptors: Descriptors::new(),
            slept_ns: 0,
            random_position: 0,
            fuel: 0,
            bytes: 0,
        };
        world.count_opens();
        Ok(world)
    }

    /// A call of the guest. `args` are the parameters in order, 32-bit ones in the low half;
    /// `fuel` is the task's cumulative fuel at the call, which the clock shows.
    pub fn call(
        &mut self,
        function: Function,
        args: &[u64],
        memory: &mut [u8],
        fuel: u64,
    ) -> Answer {
        self.fuel = fuel;
        self.bytes = 0;
        let mut padded = [0; 9];
        for (to, from) in padded.iter_mut().zip(args) {
            *to = *from;
        }
        let reply = match function {
            Function::ProcExit => Reply::Exit(padded[0] as i32),
            Function::ProcRaise => self.proc_raise(padded[0] as u32),
            _ => {
                let mut memory = Memory(memory);
                Reply::Errno(match self.dispatch(function, padded, &mut memory) {
                    Ok(()) => Errno::Success,
                    Err(errno) => errno,
                })
            }
        };
        Answer { reply, bytes: self.bytes }
    }

    fn dispatch(
        &mut self,
        function: Function,
        args: [u64; 9],
        memory: &mut Memory<'_>,
    ) -> Result<(), Errno> {
        use Function as F;
        let w = |index: usize| args[index] as u32;
        let l = |index: usize| args[index];
        match function {
            F::ArgsGet => self.args_get(memory, w(0), w(1)),
            F::ArgsSizesGet => self.args_sizes_get(memory, w(0), w(1)),
            F::EnvironGet => self.environ_get(memory, w(0), w(1)),
            F::EnvironSizesGet => self.environ_sizes_get(memory, w(0), w(1)),
            F::ClockResGet => self.clock_res_get(memory, w(0), w(1)),
            F::ClockTimeGet => self.clock_time_get(memory, w(0), w(2)),
            F::FdAdvise => self.fd_advise(w(0), l(1), l(2), w(3)),
            F::FdAllocate => self.fd_allocate(w(0), l(1), l(2)),
            F::FdClose => self.fd_close(w(0)),
            F::FdDatasync | F::FdSync => self.descriptors.get(w(0)).map(|_| ()),
            F::FdFdstatGet => self.fd_fdstat_get(memory, w(0), w(1)),
            F::FdFdstatSetFlags => self.fd_fdstat_set_flags(w(0), w(1)),
            F::FdFdstatSetRights => self.fd_fdstat_set_rights(w(0), l(1), l(2)),
            F::FdFilestatGet => self.fd_filestat_get(memory, w(0), w(1)),
            F::FdFilestatSetSize => self.fd_filestat_set_size(w(0), l(1)),
            F::FdFilestatSetTimes => self.fd_filestat_set_times(w(0), l(1), l(2), w(3)),
            F::FdPread => self.fd_pread(memory, w(0), w(1), w(2), l(3), w(4)),
            F::FdPrestatDirName => self.fd_prestat_dir_name(memory, w(0), w(1), w(2)),
            F::FdPrestatGet => self.fd_prestat_get(memory, w(0), w(1)),
            F::FdPwrite => self.fd_pwrite(memory, w(0), w(1), w(2), l(3), w(4)),
            F::FdRead => self.fd_read(memory, w(0), w(1), w(2), w(3)),
            F::FdReaddir => self.fd_readdir(memory, w(0), w(1), w(2), l(3), w(4)),
            F::FdRenumber => self.fd_renumber(w(0), w(1)),
            F::FdSeek => self.fd_seek(memory, w(0), l(1) as i64, w(2), w(3)),
            F::FdTell => self.fd_tell(memory, w(0), w(1)),
            F::FdWrite => self.fd_write(memory, w(0), w(1), w(2), w(3)),
            F::PathCreateDirectory => self.path_create_directory(memory, w(0), w(1), w(2)),
            F::PathFilestatGet => self.path_filestat_get(memory, w(0), w(1), w(2), w(3), w(4)),
            F::PathFilestatSetTimes => {
                self.path_filestat_set_times(memory, w(0), w(1), (w(2), w(3)), l(4), l(5), w(6))
            }
            F::PathLink => self.path_link(memory, w(0), (w(2), w(3)), w(4), (w(5), w(6))),
            F::PathOpen => self.path_open(memory, &args),
            F::PathReadlink => self.path_readlink(memory, w(0), w(1), w(2)),
            F::PathRemoveDirectory => self.path_remove_directory(memory, w(0), w(1), w(2)),
            F::PathRename => self.path_rename(memory, w(0), (w(1), w(2)), w(3), (w(4), w(5))),
            F::PathSymlink => self.path_symlink(memory, (w(0), w(1)), w(2), (w(3), w(4))),
            F::PathUnlinkFile => self.path_unlink_file(memory, w(0), w(1), w(2)),
            F::PollOneoff => self.poll_oneoff(memory, w(0), w(1), w(2), w(3)),
            F::RandomGet => self.random_get(memory, w(0), w(1)),
            F::SchedYield | F::ProcExit | F::ProcRaise => Ok(()),
            F::SockAccept | F::SockRecv | F::SockSend | F::SockShutdown => {
                self.descriptors.get(w(0)).and(Err(Errno::NotSock))
            }
        }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// Standard error so far.
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// The files under `/out`, by path below it. Directories without files are left out.
    pub fn outputs(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.tree.nodes.iter().filter_map(|(inode, node)| match &node.kind {
            tree::Kind::File(content) => {
                Some((self.tree.path_below(OUT, *inode)?, content.clone()))
            }
            _ => None,
        });
        files.collect()
    }
}
