//! The world from a program's side: each test makes the calls that a program makes.

mod files;
mod kinds;
mod model;
mod paths;
mod process;
mod property;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Digest;

use super::abi::rights;
use super::{Answer, Errno, Function, Reply, World, WorldConfig};

/// Where the harness puts things in the guest's memory.
const OUT: u32 = 0;
const BUFFERS: u32 = 64;
const PATH: u32 = 0x1000;
const OTHER_PATH: u32 = 0x3000;
const DATA: u32 = 0x5000;
const MEMORY_BYTES: usize = 0x20000;

const ROOT_FD: u32 = 3;
const READ: u64 = rights::FD_READ;
const WRITE: u64 = rights::FD_WRITE;
const CREAT: u32 = super::abi::oflags::CREAT;
const DIRECTORY: u32 = super::abi::oflags::DIRECTORY;
const EXCL: u32 = super::abi::oflags::EXCL;
const TRUNC: u32 = super::abi::oflags::TRUNC;
const APPEND: u16 = super::abi::fdflags::APPEND;

fn config() -> WorldConfig {
    let inputs =
        [("a.txt", "alpha"), ("deep/er/b.txt", "beta"), ("deep/c.txt", "gamma"), ("empty", "")];
    WorldConfig {
        args: vec!["prog".into(), "-x".into(), "größe".into()],
        env: vec![("HOME".into(), "/".into()), ("EMPTY".into(), "".into())],
        stdin: Arc::from(&b"line one\nline two\n"[..]),
        inputs: Arc::new(
            inputs.iter().map(|(path, text)| ((*path).into(), text.as_bytes().into())).collect(),
        ),
        output_max_bytes: 1000,
        seed: Digest::of(b"seed"),
        clock_start_ms: 1_767_225_600_000,
    }
}

struct Guest {
    world: World,
    memory: Vec<u8>,
    fuel: u64,
}

impl Guest {
    fn new() -> Self {
        Guest::with(config())
    }

    fn with(config: WorldConfig) -> Self {
        Guest { world: World::new(config).unwrap(), memory: vec![0; MEMORY_BYTES], fuel: 0 }
    }

    fn answer(&mut self, function: Function, args: &[u64]) -> Answer {
        assert_eq!(args.len(), function.signature().params.len(), "{function:?}");
        self.world.call(function, args, &mut self.memory, self.fuel)
    }

    fn call(&mut self, function: Function, args: &[u64]) -> Result<(), Errno> {
        match self.answer(function, args).reply {
            Reply::Errno(Errno::Success) => Ok(()),
            Reply::Errno(errno) => Err(errno),
            Reply::Exit(status) => panic!("exit {status}"),
        }
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> [u64; 2] {
        self.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        [u64::from(at), bytes.len() as u64]
    }

    fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..at as usize + 4].try_into().unwrap())
    }

    fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..at as usize + 8].try_into().unwrap())
    }

    fn open_with(
        &mut self,
        path: &str,
        oflags: u32,
        rights: u64,
        flags: u16,
    ) -> Result<u32, Errno> {
        let [at, len] = self.put(PATH, path.as_bytes());
        let (oflags, flags) = (u64::from(oflags), u64::from(flags));
        let args = [3, 1, at, len, oflags, rights, rights::ALL, flags, OUT.into()];
        self.call(Function::PathOpen, &args)?;
        Ok(self.u32(OUT))
    }

    fn open(&mut self, path: &str, oflags: u32, rights: u64) -> Result<u32, Errno> {
        self.open_with(path, oflags, rights, 0)
    }

    /// One call whose only parameters are a descriptor and a path.
    fn at_path(&mut self, function: Function, path: &str) -> Result<(), Errno> {
        let [at, len] = self.put(PATH, path.as_bytes());
        self.call(function, &[ROOT_FD.into(), at, len])
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        self.at_path(Function::PathCreateDirectory, path)
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        self.at_path(Function::PathRemoveDirectory, path)
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        self.at_path(Function::PathUnlinkFile, path)
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let [old, old_len] = self.put(PATH, old.as_bytes());
        let [new, new_len] = self.put(OTHER_PATH, new.as_bytes());
        self.call(Function::PathRename, &[3, old, old_len, 3, new, new_len])
    }

    /// Type and size.
    fn stat(&mut self, path: &str) -> Result<(u8, u64), Errno> {
        let [at, len] = self.put(PATH, path.as_bytes());
        self.call(Function::PathFilestatGet, &[3, 1, at, len, OUT.into()])?;
        Ok((self.memory[OUT as usize + 16], self.u64(OUT + 32)))
    }

    fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.call(Function::FdClose, &[fd.into()])
    }

    fn buffer(&mut self, at: u32, len: u32) -> u64 {
        let pair = [at.to_le_bytes(), len.to_le_bytes()].concat();
        self.put(BUFFERS, &pair)[0]
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        self.put(DATA, bytes);
        let buffers = self.buffer(DATA, bytes.len() as u32);
        self.call(Function::FdWrite, &[fd.into(), buffers, 1, OUT.into()])?;
        Ok(self.u32(OUT))
    }

    fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Result<u32, Errno> {
        self.put(DATA, bytes);
        let buffers = self.buffer(DATA, bytes.len() as u32);
        self.call(Function::FdPwrite, &[fd.into(), buffers, 1, offset, OUT.into()])?;
        Ok(self.u32(OUT))
    }

    fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let buffers = self.buffer(DATA, len);
        self.call(Function::FdRead, &[fd.into(), buffers, 1, OUT.into()])?;
        Ok(self.memory[DATA as usize..][..self.u32(OUT) as usize].to_vec())
    }

    fn pread(&mut self, fd: u32, len: u32, offset: u64) -> Result<Vec<u8>, Errno> {
        let buffers = self.buffer(DATA, len);
        self.call(Function::FdPread, &[fd.into(), buffers, 1, offset, OUT.into()])?;
        Ok(self.memory[DATA as usize..][..self.u32(OUT) as usize].to_vec())
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Result<u64, Errno> {
        self.call(Function::FdSeek, &[fd.into(), offset as u64, whence, OUT.into()])?;
        Ok(self.u64(OUT))
    }

    /// The file's whole content, by a descriptor of its own.
    fn content(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let fd = self.open(path, 0, READ)?;
        let content = self.read(fd, 0x10000)?;
        self.close(fd)?;
        Ok(content)
    }

    fn create(&mut self, path: &str, content: &[u8]) {
        let fd = self.open(path, CREAT | TRUNC, WRITE).unwrap();
        assert_eq!(self.write(fd, content), Ok(content.len() as u32));
        self.close(fd).unwrap();
    }

    /// Names from `cookie` on and the cookie after each, as many as a buffer of `len` holds.
    fn list_from(&mut self, fd: u32, cookie: u64, len: u32) -> Result<Vec<(String, u64)>, Errno> {
        let args = [fd.into(), DATA.into(), len.into(), cookie, OUT.into()];
        self.call(Function::FdReaddir, &args)?;
        let used = self.u32(OUT) as usize;
        let mut bytes = &self.memory[DATA as usize..][..used];
        let mut names = Vec::new();
        while bytes.len() >= 24 {
            let name_len = super::memory::u32_at(bytes, 16) as usize;
            let Some(name) = bytes.get(24..24 + name_len) else { break };
            let name = String::from_utf8(name.to_vec()).unwrap();
            names.push((name, super::memory::u64_at(bytes, 0)));
            bytes = &bytes[24 + name_len..];
        }
        Ok(names)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        let fd = self.open(path, DIRECTORY, 0)?;
        let names = self.list_from(fd, 0, 0x10000)?;
        self.close(fd)?;
        Ok(names.into_iter().map(|(name, _)| name).collect())
    }

    /// The same world after a save and a restore.
    fn moved(self, config: WorldConfig) -> Self {
        let state = self.world.state();
        let contents = state.contents.iter().map(|content| content.to_vec()).collect();
        let world = World::restore(config, &state.meta, contents).unwrap();
        assert_eq!(world.state(), state);
        Guest { world, memory: self.memory, fuel: self.fuel }
    }
}

#[test]
fn all_functions_have_names_and_types() {
    assert_eq!(Function::ALL.len(), 46);
    for function in Function::ALL {
        assert_eq!(Function::from_name(function.name()), Some(*function));
    }
    assert_eq!(Function::from_name("fd_dup"), None);
    assert_eq!(Function::ProcExit.signature().results, []);
    assert_eq!(Function::PathOpen.signature().params.len(), 9);
}

#[test]
fn no_pointer_traps_and_no_call_panics() {
    let mut guest = Guest::new();
    for function in Function::ALL {
        for arg in [0, 1, 2, 3, 4, 5, 0xffff_ffff, 0x1fff8, 0x20000, u64::MAX, 1 << 63] {
            let args = vec![arg; function.signature().params.len()];
            guest.answer(*function, &args);
        }
    }
    // Without any memory, everything that moves something is refused.
    let mut world = World::new(config()).unwrap();
    use Function as F;
    for function in [
        F::ArgsGet,
        F::ArgsSizesGet,
        F::ClockTimeGet,
        F::FdFdstatGet,
        F::FdFilestatGet,
        F::FdPrestatGet,
        F::FdReaddir,
        F::PathOpen,
        F::PathUnlinkFile,
        F::RandomGet,
    ] {
        let args = [3, 1, 0, 1, 0, 0, 0, 0, 0];
        let params = function.signature().params.len();
        let reply = world.call(function, &args[..params], &mut [], 0).reply;
        assert_eq!(reply, Reply::Errno(Errno::Fault), "{function:?}");
    }
}
