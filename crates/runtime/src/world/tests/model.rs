//! The file system against a naive one: paths as strings in one map, contents that are shared
//! by reference, everything worked out anew for each call. Random calls get the same answers
//! from both, with saves and restores in between.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

type Content = Rc<RefCell<Vec<u8>>>;

#[derive(Clone)]
enum Entry {
    /// Directories are told apart by a number, so that an open one is found again when renamed.
    Directory(u64),
    File(Content),
}

#[derive(Clone)]
struct Open {
    entry: Entry,
    offset: u64,
    append: bool,
    read: bool,
    write: bool,
}

/// The naive file system. Its root is the path "".
struct Model {
    entries: BTreeMap<String, Entry>,
    open: BTreeMap<u32, Open>,
    directories: u64,
    max: u64,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether what is at `path` may not be changed.
fn is_read_only(path: &str) -> bool {
    path.is_empty() || path == "in" || path.starts_with("in/")
}

fn is_fixed(path: &str) -> bool {
    matches!(path, "" | "in" | "out" | "tmp")
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    fn new(config: &WorldConfig) -> Model {
        let max = config.output_max_bytes;
        let mut model =
            Model { entries: BTreeMap::new(), open: BTreeMap::new(), directories: 0, max };
        for path in ["", "in", "out", "tmp", "in/deep", "in/deep/er"] {
            let directory = model.new_directory();
            model.entries.insert(path.to_owned(), directory);
        }
        for (path, content) in config.inputs.iter() {
            let content = Rc::new(RefCell::new(content.to_vec()));
            model.entries.insert(format!("in/{path}"), Entry::File(content));
        }
        let standing = Open {
            entry: Entry::Directory(0),
            offset: 0,
            append: false,
            read: false,
            write: false,
        };
        // Streams and the preopened directory only keep their numbers taken.
        model.open.extend((0..4).map(|fd| (fd, standing.clone())));
        model
    }

    fn new_directory(&mut self) -> Entry {
        self.directories += 1;
        Entry::Directory(self.directories)
    }

    /// What is at `path`, below directories that are all there.
    fn find(&self, path: &str) -> Result<Option<Entry>, Errno> {
        for (at, _) in path.match_indices('/') {
            match self.entries.get(&path[..at]) {
                None => return Err(Errno::NoEnt),
                Some(Entry::File(_)) => return Err(Errno::NotDir),
                Some(Entry::Directory(_)) => {}
            }
        }
        Ok(self.entries.get(path).cloned())
    }

    fn children(&self, path: &str) -> BTreeSet<String> {
        let below = self.entries.keys().filter(|child| !child.is_empty() && parent(child) == path);
        below.map(|child| child.rsplit('/').next().unwrap_or(child).to_owned()).collect()
    }

    /// Bytes in all files that have a name or are open; inputs don't count.
    fn room(&self) -> u64 {
        let inputs: Vec<_> = self
            .entries
            .iter()
            .filter(|(path, _)| is_read_only(path))
            .filter_map(|(_, entry)| match entry {
                Entry::File(content) => Some(Rc::as_ptr(content)),
                Entry::Directory(_) => None,
            })
            .collect();
        let mut seen = BTreeMap::new();
        let open = self.open.values().map(|open| &open.entry);
        for entry in self.entries.values().chain(open) {
            if let Entry::File(content) = entry
                && !inputs.contains(&Rc::as_ptr(content))
            {
                seen.insert(Rc::as_ptr(content), content.borrow().len() as u64);
            }
        }
        self.max - seen.values().sum::<u64>()
    }

    fn open(&mut self, path: &str, oflags: u32, rights: u64, append: bool) -> Result<u32, Errno> {
        let (read, write) = (rights & READ != 0, rights & WRITE != 0);
        let entry = match self.find(path)? {
            Some(_) if oflags & CREAT != 0 && oflags & EXCL != 0 => return Err(Errno::Exist),
            Some(Entry::Directory(_)) if write && oflags & DIRECTORY == 0 => {
                return Err(Errno::IsDir);
            }
            Some(Entry::Directory(_)) if oflags & (CREAT | TRUNC) != 0 => {
                return Err(Errno::IsDir);
            }
            Some(directory @ Entry::Directory(_)) => directory,
            Some(Entry::File(_)) if oflags & DIRECTORY != 0 => return Err(Errno::NotDir),
            Some(Entry::File(_)) if is_read_only(path) && (write || oflags & TRUNC != 0) => {
                return Err(Errno::RoFs);
            }
            Some(Entry::File(content)) => {
                if oflags & TRUNC != 0 {
                    content.borrow_mut().clear();
                }
                Entry::File(content)
            }
            None if oflags & CREAT == 0 => return Err(Errno::NoEnt),
            None if oflags & DIRECTORY != 0 => return Err(Errno::Inval),
            None if is_read_only(parent(path)) => return Err(Errno::RoFs),
            None => {
                let file = Entry::File(Content::default());
                self.entries.insert(path.to_owned(), file.clone());
                file
            }
        };
        let is_file = matches!(entry, Entry::File(_));
        let fd = (0..).find(|fd| !self.open.contains_key(fd)).unwrap();
        let write = write && is_file;
        self.open.insert(fd, Open { entry, offset: 0, append, read: read && is_file, write });
        Ok(fd)
    }

    fn get(&mut self, fd: u32) -> Result<&mut Open, Errno> {
        self.open.get_mut(&fd).ok_or(Errno::BadF)
    }

    fn read(&mut self, fd: u32, len: u32, at: Option<u64>) -> Result<Vec<u8>, Errno> {
        let open = self.get(fd)?;
        let Entry::File(content) = &open.entry else { return Err(Errno::IsDir) };
        if !open.read {
            return Err(Errno::BadF);
        }
        let from = at.unwrap_or(open.offset);
        let bytes: Vec<u8> =
            content.borrow().iter().skip(from as usize).take(len as usize).copied().collect();
        if at.is_none() {
            open.offset += bytes.len() as u64;
        }
        Ok(bytes)
    }

    fn write(&mut self, fd: u32, bytes: &[u8], at: Option<u64>) -> Result<u32, Errno> {
        let (room, max) = (self.room(), self.max);
        let open = self.get(fd)?;
        let Entry::File(content) = &open.entry else { return Err(Errno::BadF) };
        if !open.write {
            return Err(Errno::BadF);
        }
        let mut content = content.borrow_mut();
        let size = content.len() as u64;
        let from = at.unwrap_or(if open.append { size } else { open.offset });
        if bytes.is_empty() {
            if at.is_none() {
                open.offset = from;
            }
            return Ok(0);
        }
        if from >= max {
            return Err(Errno::FBig);
        }
        // One byte after the other, until there is no room for the next.
        let mut written = 0;
        for (place, byte) in (from..).zip(bytes) {
            let needed = (place + 1).saturating_sub(size);
            if needed > room {
                break;
            }
            if content.len() as u64 <= place {
                content.resize(place as usize + 1, 0);
            }
            content[place as usize] = *byte;
            written += 1;
        }
        if written == 0 {
            return Err(Errno::NoSpc);
        }
        if at.is_none() {
            open.offset = from + u64::from(written);
        }
        Ok(written)
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Result<u64, Errno> {
        let open = self.get(fd)?;
        let size = match &open.entry {
            Entry::File(content) => content.borrow().len() as i64,
            Entry::Directory(_) => 0,
        };
        let from = [0, open.offset as i64, size][whence as usize];
        let to = u64::try_from(from + offset).map_err(|_| Errno::Inval)?;
        if matches!(open.entry, Entry::Directory(_)) && to != 0 {
            return Err(Errno::IsDir);
        }
        open.offset = to;
        Ok(to)
    }

    /// `ftruncate`, or `posix_fallocate` when it may only grow.
    fn resize(&mut self, fd: u32, size: u64, only_grow: bool) -> Result<(), Errno> {
        let (room, max) = (self.room(), self.max);
        let open = self.get(fd)?;
        let Entry::File(content) = &open.entry else { return Err(Errno::IsDir) };
        if !open.write {
            return Err(Errno::BadF);
        }
        if only_grow && size == 0 {
            return Err(Errno::Inval);
        }
        let mut content = content.borrow_mut();
        let old = content.len() as u64;
        if only_grow && size <= old {
            return Ok(());
        }
        if size.saturating_sub(old) > room {
            return Err(if size > max { Errno::FBig } else { Errno::NoSpc });
        }
        content.resize(size as usize, 0);
        Ok(())
    }

    fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        let open = self.get(from)?.clone();
        self.open.remove(&from);
        self.open.insert(to, open);
        Ok(())
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        if self.find(path)?.is_some() {
            return Err(Errno::Exist);
        }
        if is_read_only(parent(path)) {
            return Err(Errno::RoFs);
        }
        let directory = self.new_directory();
        self.entries.insert(path.to_owned(), directory);
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        match self.find(path)? {
            None => Err(Errno::NoEnt),
            Some(_) if is_fixed(path) => Err(Errno::Busy),
            Some(Entry::File(_)) => Err(Errno::NotDir),
            Some(_) if is_read_only(path) => Err(Errno::RoFs),
            Some(_) if !self.children(path).is_empty() => Err(Errno::NotEmpty),
            Some(_) => {
                self.entries.remove(path);
                Ok(())
            }
        }
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        match self.find(path)? {
            None => Err(Errno::NoEnt),
            Some(Entry::Directory(_)) => Err(Errno::IsDir),
            Some(_) if is_read_only(path) => Err(Errno::RoFs),
            Some(_) => {
                self.entries.remove(path);
                Ok(())
            }
        }
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let (moved, replaced) = (self.find(old)?, self.find(new)?);
        let moved = moved.ok_or(Errno::NoEnt)?;
        if is_fixed(old) || is_fixed(new) {
            return Err(Errno::Busy);
        }
        if is_read_only(old) || is_read_only(parent(new)) {
            return Err(Errno::RoFs);
        }
        if old == new {
            return Ok(());
        }
        let is_directory = matches!(moved, Entry::Directory(_));
        if is_directory && is_below(new, old) {
            return Err(Errno::Inval);
        }
        match replaced {
            Some(Entry::Directory(_)) if !is_directory => return Err(Errno::IsDir),
            Some(Entry::File(_)) if is_directory => return Err(Errno::NotDir),
            Some(Entry::Directory(_)) if !self.children(new).is_empty() => {
                return Err(Errno::NotEmpty);
            }
            _ => {}
        }
        self.entries.remove(new);
        let entries = std::mem::take(&mut self.entries).into_iter();
        let renamed = entries.map(|(path, entry)| {
            let below = path == old || is_below(&path, old);
            (if below { format!("{new}{}", &path[old.len()..]) } else { path }, entry)
        });
        self.entries = renamed.collect();
        Ok(())
    }

    fn stat(&self, path: &str) -> Result<(u8, u64), Errno> {
        match self.find(path)?.ok_or(Errno::NoEnt)? {
            Entry::Directory(_) => Ok((3, 0)),
            Entry::File(content) => Ok((4, content.borrow().len() as u64)),
        }
    }

    /// The names in an open directory, wherever it is now.
    fn list(&mut self, fd: u32) -> Result<BTreeSet<String>, Errno> {
        let Entry::Directory(number) = self.get(fd)?.entry else { return Err(Errno::NotDir) };
        let is_it = |entry: &Entry| matches!(entry, Entry::Directory(other) if *other == number);
        let path = self.entries.iter().find(|(_, entry)| is_it(entry)).map(|(path, _)| path);
        Ok(path.map(|path| self.children(path)).unwrap_or_default())
    }
}

#[derive(Debug, Clone)]
enum Call {
    Open { path: String, oflags: u32, rights: u64, append: bool },
    Close { fd: u32 },
    Read { fd: u32, len: u32, at: Option<u64> },
    Write { fd: u32, byte: u8, len: usize, at: Option<u64> },
    Seek { fd: u32, offset: i64, whence: u64 },
    Resize { fd: u32, size: u64, only_grow: bool },
    Renumber { from: u32, to: u32 },
    Mkdir { path: String },
    Rmdir { path: String },
    Unlink { path: String },
    Rename { old: String, new: String },
    Stat { path: String },
    List { fd: u32 },
    SaveAndRestore,
}

/// Few, so that calls meet; deep enough for trees to be moved.
fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        8 => (prop::sample::select(vec!["out", "tmp"]), prop::collection::vec(name(), 1..4))
            .prop_map(|(top, names)| format!("{top}/{}", names.join("/"))),
        1 => prop::sample::select(vec![
            "in", "out", "tmp", "in/a.txt", "in/deep", "in/deep/c.txt", "in/x", "x", "in/a.txt/x",
        ]).prop_map(str::to_owned),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    // Those from 4 on are the program's own.
    let fd = || 4..9u32;
    let at = || prop::option::weighted(0.4, 0..1100u64);
    let flags = prop::sample::select(vec![
        0,
        CREAT,
        CREAT,
        CREAT | EXCL,
        TRUNC,
        CREAT | TRUNC,
        DIRECTORY,
        CREAT | DIRECTORY,
    ]);
    let rights = prop::sample::select(vec![READ, WRITE, READ | WRITE, READ | WRITE]);
    prop_oneof![
        6 => (path(), flags, rights, prop::bool::weighted(0.2)).prop_map(
            |(path, oflags, rights, append)| Call::Open { path, oflags, rights, append }
        ),
        2 => fd().prop_map(|fd| Call::Close { fd }),
        3 => (fd(), 0..400u32, at()).prop_map(|(fd, len, at)| Call::Read { fd, len, at }),
        5 => (fd(), any::<u8>(), 0..300usize, at())
            .prop_map(|(fd, byte, len, at)| Call::Write { fd, byte, len, at }),
        2 => (fd(), -300..300i64, 0..3u64)
            .prop_map(|(fd, offset, whence)| Call::Seek { fd, offset, whence }),
        2 => (fd(), 0..1100u64, any::<bool>())
            .prop_map(|(fd, size, only_grow)| Call::Resize { fd, size, only_grow }),
        1 => (fd(), fd()).prop_map(|(from, to)| Call::Renumber { from, to }),
        4 => path().prop_map(|path| Call::Mkdir { path }),
        1 => path().prop_map(|path| Call::Rmdir { path }),
        2 => path().prop_map(|path| Call::Unlink { path }),
        4 => (path(), path()).prop_map(|(old, new)| Call::Rename { old, new }),
        2 => path().prop_map(|path| Call::Stat { path }),
        2 => fd().prop_map(|fd| Call::List { fd }),
        2 => Just(Call::SaveAndRestore),
    ]
}

/// Makes the call in both and compares their answers.
fn make(guest: &mut Guest, model: &mut Model, call: &Call) -> Result<(), TestCaseError> {
    match call.clone() {
        Call::Open { path, oflags, rights, append } => {
            let flags = if append { APPEND } else { 0 };
            let answer = guest.open_with(&path, oflags, rights, flags);
            prop_assert_eq!(answer, model.open(&path, oflags, rights, append));
        }
        Call::Close { fd } => {
            let expected = model.open.remove(&fd).map(|_| ()).ok_or(Errno::BadF);
            prop_assert_eq!(guest.close(fd), expected);
        }
        Call::Read { fd, len, at } => {
            let answer = match at {
                Some(at) => guest.pread(fd, len, at),
                None => guest.read(fd, len),
            };
            prop_assert_eq!(answer, model.read(fd, len, at));
        }
        Call::Write { fd, byte, len, at } => {
            let bytes: Vec<u8> = (0..len).map(|index| byte.wrapping_add(index as u8)).collect();
            let answer = match at {
                Some(at) => guest.pwrite(fd, &bytes, at),
                None => guest.write(fd, &bytes),
            };
            prop_assert_eq!(answer, model.write(fd, &bytes, at));
        }
        Call::Seek { fd, offset, whence } => {
            prop_assert_eq!(guest.seek(fd, offset, whence), model.seek(fd, offset, whence));
        }
        Call::Resize { fd, size, only_grow } => {
            let answer = match only_grow {
                true => guest.call(Function::FdAllocate, &[fd.into(), 0, size]),
                false => guest.call(Function::FdFilestatSetSize, &[fd.into(), size]),
            };
            prop_assert_eq!(answer, model.resize(fd, size, only_grow));
        }
        Call::Renumber { from, to } => {
            let answer = guest.call(Function::FdRenumber, &[from.into(), to.into()]);
            prop_assert_eq!(answer, model.renumber(from, to));
        }
        Call::Mkdir { path } => prop_assert_eq!(guest.mkdir(&path), model.mkdir(&path)),
        Call::Rmdir { path } => prop_assert_eq!(guest.rmdir(&path), model.rmdir(&path)),
        Call::Unlink { path } => prop_assert_eq!(guest.unlink(&path), model.unlink(&path)),
        Call::Rename { old, new } => {
            prop_assert_eq!(guest.rename(&old, &new), model.rename(&old, &new));
        }
        Call::Stat { path } => prop_assert_eq!(guest.stat(&path), model.stat(&path)),
        Call::List { fd } => {
            let answer = guest.list_from(fd, 0, 0x8000).map(|names| {
                let names = names.into_iter().map(|(name, _)| name);
                names.filter(|name| name != "." && name != "..").collect::<BTreeSet<_>>()
            });
            prop_assert_eq!(answer, model.list(fd));
        }
        Call::SaveAndRestore => {
            let lived = std::mem::replace(guest, Guest::new());
            *guest = lived.moved(config());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("JUSHA_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400),
    ))]

    #[test]
    fn the_file_system_is_as_a_naive_one(calls in prop::collection::vec(call(), 1..120)) {
        let mut guest = Guest::new();
        let mut model = Model::new(&config());
        for call in &calls {
            make(&mut guest, &mut model, call)?;
            prop_assert_eq!(guest.world.tree.room(), model.room());
        }
        let files = model.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(content) => {
                Some((path.strip_prefix("out/")?.to_owned(), content.borrow().clone()))
            }
            Entry::Directory(_) => None,
        });
        prop_assert_eq!(guest.world.outputs(), files.collect::<BTreeMap<_, _>>());
    }
}
