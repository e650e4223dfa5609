//! Paths: where they lead, and what may be made, removed and renamed.

use super::*;

const FILE: u8 = 4;
const DIR: u8 = 3;

#[test]
fn paths_lead_where_posix_says() {
    let mut guest = Guest::new();
    guest.mkdir("out/d").unwrap();
    for (path, expected) in [
        ("/", Ok((DIR, 0))),
        (".", Ok((DIR, 0))),
        ("..", Ok((DIR, 0))),
        ("//in//a.txt", Ok((FILE, 5))),
        ("in/./deep/../a.txt", Ok((FILE, 5))),
        ("../../../in/a.txt", Ok((FILE, 5))),
        ("out/d/../../in/deep/er/../c.txt", Ok((FILE, 5))),
        ("in/deep/", Ok((DIR, 0))),
        ("in/deep/.", Ok((DIR, 0))),
        ("in/a.txt/", Err(Errno::NotDir)),
        ("in/a.txt/.", Err(Errno::NotDir)),
        ("in/a.txt/x", Err(Errno::NotDir)),
        ("in/a.txt/..", Err(Errno::NotDir)),
        ("in/nothing/x", Err(Errno::NoEnt)),
        ("in/nothing/../a.txt", Err(Errno::NoEnt)),
        ("", Err(Errno::NoEnt)),
        ("in/A.TXT", Err(Errno::NoEnt)),
        ("in/a\0", Err(Errno::Inval)),
        ("etc/passwd", Err(Errno::NoEnt)),
        ("dev/null", Err(Errno::NoEnt)),
    ] {
        assert_eq!(guest.stat(path), expected, "{path}");
    }
    assert_eq!(guest.stat(&"x".repeat(256)), Err(Errno::NameTooLong));
    assert_eq!(guest.stat(&"x".repeat(255)), Err(Errno::NoEnt));
    assert_eq!(guest.stat(&"./".repeat(2048)), Ok((DIR, 0)));
    assert_eq!(guest.stat(&"./".repeat(2049)), Err(Errno::NameTooLong));
    guest.put(PATH, b"in/\xff");
    let args = [3, 0, PATH.into(), 4, OUT.into()];
    assert_eq!(guest.call(Function::PathFilestatGet, &args), Err(Errno::IlSeq));
    // From a descriptor of a directory; one of a file or stream is none.
    let directory = guest.open("in/deep", DIRECTORY, 0).unwrap();
    let file = guest.open("in/a.txt", 0, READ).unwrap();
    let [at, len] = guest.put(PATH, b"../a.txt");
    for (fd, expected) in [
        (directory, Ok(())),
        (file, Err(Errno::NotDir)),
        (0, Err(Errno::NotDir)),
        (99, Err(Errno::BadF)),
    ] {
        let args = [fd.into(), 1, at, len, OUT.into()];
        assert_eq!(guest.call(Function::PathFilestatGet, &args), expected);
    }
    let args = [3, 2, at, len, OUT.into()];
    assert_eq!(guest.call(Function::PathFilestatGet, &args), Err(Errno::Inval));
}

#[test]
fn opening() {
    let mut guest = Guest::new();
    guest.create("out/f", b"f");
    for (path, oflags, rights, expected) in [
        ("out/x", 0, READ, Errno::NoEnt),
        ("out/x/", CREAT, WRITE, Errno::IsDir),
        ("out/x", CREAT | DIRECTORY, WRITE, Errno::Inval),
        ("out/f", DIRECTORY, READ, Errno::NotDir),
        ("out/f/", 0, READ, Errno::NotDir),
        ("out/f/x", CREAT, WRITE, Errno::NotDir),
        ("out/x/y", CREAT, WRITE, Errno::NoEnt),
        ("out", 0, WRITE, Errno::IsDir),
        ("out", CREAT, READ, Errno::IsDir),
        ("out", TRUNC, READ, Errno::IsDir),
        ("out", CREAT | EXCL, READ, Errno::Exist),
        (".", CREAT, WRITE, Errno::IsDir),
        ("x", CREAT, WRITE, Errno::RoFs),
        ("in/deep/x", CREAT, WRITE, Errno::RoFs),
        ("out/x", 16, READ, Errno::Inval),
    ] {
        assert_eq!(guest.open(path, oflags, rights), Err(expected), "{path} {oflags}");
    }
    // Rights of files that are asked for on the way to a directory are not granted.
    let fd = guest.open("out", DIRECTORY, rights::ALL).unwrap();
    assert_eq!(guest.read(fd, 1), Err(Errno::IsDir));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::BadF));
    assert_eq!(guest.seek(fd, 0, 0), Ok(0));
    assert_eq!(guest.seek(fd, 1, 0), Err(Errno::IsDir));
    assert_eq!(guest.world.outputs().keys().collect::<Vec<_>>(), ["f"]);
}

#[test]
fn making_and_removing() {
    use Errno::*;
    let mut guest = Guest::new();
    guest.mkdir("out/d").unwrap();
    guest.mkdir("out/d/e/").unwrap();
    guest.create("out/f", b"f");
    type Verb = fn(&mut Guest, &str) -> Result<(), Errno>;
    let (mkdir, rmdir, unlink): (Verb, Verb, Verb) = (Guest::mkdir, Guest::rmdir, Guest::unlink);
    for (verb, path, expected) in [
        (mkdir, "out/d", Err(Exist)),
        (mkdir, "out/f", Err(Exist)),
        (mkdir, "/", Err(Exist)),
        (mkdir, "out/d/..", Err(Exist)),
        (mkdir, "in", Err(Exist)),
        (mkdir, "new", Err(RoFs)),
        (mkdir, "in/new", Err(RoFs)),
        (mkdir, "out/x/y", Err(NoEnt)),
        (mkdir, "out/f/y", Err(NotDir)),
        (rmdir, "out/d", Err(NotEmpty)),
        (rmdir, "out/d/.", Err(Inval)),
        (rmdir, "out/d/e/..", Err(NotEmpty)),
        (rmdir, "out/f", Err(NotDir)),
        (rmdir, "out/x", Err(NoEnt)),
        (rmdir, "out", Err(Busy)),
        (rmdir, "tmp", Err(Busy)),
        (rmdir, "/", Err(Busy)),
        (rmdir, "in/deep", Err(RoFs)),
        (rmdir, "in/a.txt", Err(NotDir)),
        (unlink, "out/d", Err(IsDir)),
        (unlink, "out", Err(IsDir)),
        (unlink, "out/f/", Err(NotDir)),
        (unlink, "out/x", Err(NoEnt)),
        (unlink, "in/a.txt", Err(RoFs)),
        (unlink, "out/f", Ok(())),
        (rmdir, "out/d/e", Ok(())),
        (rmdir, "out/d/", Ok(())),
        (unlink, "out/f", Err(NoEnt)),
    ] {
        assert_eq!(verb(&mut guest, path), expected, "{path}");
    }
    assert_eq!(guest.list("out").unwrap(), [".", ".."]);
}

#[test]
fn renaming() {
    use Errno::*;
    let mut guest = Guest::new();
    for directory in ["out/d", "out/d/e", "out/empty", "tmp/g"] {
        guest.mkdir(directory).unwrap();
    }
    guest.create("out/f", b"f");
    guest.create("out/h", b"h");
    for (old, new, expected) in [
        ("out/x", "out/y", Err(NoEnt)),
        ("out/f", "out/x/y", Err(NoEnt)),
        ("out/f", "out/h/y", Err(NotDir)),
        ("out/f", "out/d", Err(IsDir)),
        ("out/f", "out/y/", Err(NotDir)),
        ("out/f/", "out/y", Err(NotDir)),
        ("out/f", "in/y", Err(RoFs)),
        ("out/f", "y", Err(RoFs)),
        ("in/a.txt", "out/y", Err(RoFs)),
        ("out/d", "out/f", Err(NotDir)),
        ("out/empty", "out/d", Err(NotEmpty)),
        ("out/d", "out/d/e/z", Err(Inval)),
        ("out/d", "out/d/z", Err(Inval)),
        ("out/d/.", "out/z", Err(Inval)),
        ("out", "tmp/out", Err(Busy)),
        ("out/d", "tmp", Err(Busy)),
        ("out/d", "/", Err(Busy)),
        ("/", "out/z", Err(Busy)),
        ("out/f", "out/f", Ok(())),
        ("out/d", "out/d/", Ok(())),
        ("out/f", "out/h", Ok(())),
        ("out/d", "out/empty", Ok(())),
        ("out/empty", "tmp/g/moved/", Ok(())),
        ("tmp/g/moved/e", "out/e", Ok(())),
    ] {
        assert_eq!(guest.rename(old, new), expected, "{old} to {new}");
    }
    assert_eq!(guest.list("out").unwrap(), [".", "..", "e", "h"]);
    assert_eq!(guest.list("tmp/g").unwrap(), [".", "..", "moved"]);
    assert_eq!(guest.world.outputs(), BTreeMap::from([("h".into(), b"f".to_vec())]));
    // The node is the same one under its new name, also to who has it open.
    let fd = guest.open("out/h", 0, READ | WRITE).unwrap();
    guest.rename("out/h", "out/e/i").unwrap();
    guest.write(fd, b"changed").unwrap();
    assert_eq!(guest.content("out/e/i").unwrap(), b"changed");
    assert_eq!(guest.world.outputs().keys().collect::<Vec<_>>(), ["e/i"]);
}

#[test]
fn a_removed_directory_holds_nothing() {
    let mut guest = Guest::new();
    guest.mkdir("tmp/d").unwrap();
    let fd = guest.open("tmp/d", DIRECTORY, 0).unwrap();
    guest.rmdir("tmp/d").unwrap();
    let mut guest = guest.moved(config());
    let names = guest.list_from(fd, 0, 1000).unwrap();
    assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [".", ".."]);
    let [at, len] = guest.put(PATH, b"x");
    let args = [fd.into(), at, len];
    assert_eq!(guest.call(Function::PathCreateDirectory, &args), Err(Errno::NoEnt));
    let args = [3, at, len, fd.into(), at, len];
    assert_eq!(guest.call(Function::PathRename, &args), Err(Errno::NoEnt));
    let [at, len] = guest.put(PATH, b"..");
    let args = [fd.into(), 0, at, len, OUT.into()];
    assert_eq!(guest.call(Function::PathFilestatGet, &args), Err(Errno::NoEnt));
    guest.close(fd).unwrap();
    assert_eq!(guest.world.tree.created(), 0);
}

#[test]
fn there_are_no_links() {
    let mut guest = Guest::new();
    guest.create("out/f", b"f");
    let mut link = |old: &str, new: &str| {
        let [old, old_len] = guest.put(PATH, old.as_bytes());
        let [new, new_len] = guest.put(OTHER_PATH, new.as_bytes());
        let hard = guest.call(Function::PathLink, &[3, 0, old, old_len, 3, new, new_len]);
        let soft = guest.call(Function::PathSymlink, &[old, old_len, 3, new, new_len]);
        (hard, soft)
    };
    assert_eq!(link("out/f", "out/g"), (Err(Errno::Perm), Err(Errno::Perm)));
    assert_eq!(link("out/x", "out/g"), (Err(Errno::NoEnt), Err(Errno::Perm)));
    assert_eq!(link("out/f", "out/f"), (Err(Errno::Exist), Err(Errno::Exist)));
    assert_eq!(link("out/f", "in/g"), (Err(Errno::RoFs), Err(Errno::RoFs)));
    for (path, expected) in [("out/f", Errno::Inval), ("out/x", Errno::NoEnt)] {
        let [at, len] = guest.put(PATH, path.as_bytes());
        let args = [3, at, len, DATA.into(), 100, OUT.into()];
        assert_eq!(guest.call(Function::PathReadlink, &args), Err(expected));
    }
}

#[test]
fn listing_is_sorted_and_goes_on_from_a_cookie() {
    let mut guest = Guest::new();
    assert_eq!(guest.list("/").unwrap(), [".", "..", "in", "out", "tmp"]);
    assert_eq!(guest.list("in").unwrap(), [".", "..", "a.txt", "deep", "empty"]);
    assert_eq!(guest.list("in/deep").unwrap(), [".", "..", "c.txt", "er"]);
    for index in 0..50 {
        guest.create(&format!("out/file {index}"), b"");
    }
    let fd = guest.open("out", DIRECTORY, 0).unwrap();
    // In small steps, each entry removed as it is seen: none is skipped, none comes twice.
    let (mut cookie, mut seen) = (0, Vec::new());
    loop {
        let batch = guest.list_from(fd, cookie, 100).unwrap();
        let Some((_, last)) = batch.last() else { break };
        cookie = *last;
        for (name, _) in batch {
            if name.starts_with("file") {
                guest.unlink(&format!("out/{name}")).unwrap();
            }
            seen.push(name);
        }
    }
    assert_eq!(seen.len(), 52);
    assert_eq!(seen[2..], (0..50).map(|index| format!("file {index}")).collect::<Vec<_>>());
    assert_eq!(guest.list("out").unwrap(), [".", ".."]);
    // An entry that doesn't fit is cut off and fills the buffer.
    guest.create("out/name", b"");
    let args = [fd.into(), DATA.into(), 70, 0, OUT.into()];
    guest.call(Function::FdReaddir, &args).unwrap();
    assert_eq!(guest.u32(OUT), 70);
    let file = guest.open("out/name", 0, READ).unwrap();
    assert_eq!(guest.list_from(file, 0, 100), Err(Errno::NotDir));
    assert_eq!(guest.list_from(0, 0, 100), Err(Errno::NotDir));
    assert_eq!(guest.list_from(fd, u64::MAX, 100), Ok(Vec::new()));
}

#[test]
fn the_preopened_directory_is_the_root() {
    let mut guest = Guest::new();
    guest.call(Function::FdPrestatGet, &[3, OUT.into()]).unwrap();
    assert_eq!(guest.u64(OUT), 1 << 32);
    guest.call(Function::FdPrestatDirName, &[3, DATA.into(), 1]).unwrap();
    assert_eq!(guest.memory[DATA as usize], b'/');
    let name = Function::FdPrestatDirName;
    assert_eq!(guest.call(name, &[3, DATA.into(), 0]), Err(Errno::NameTooLong));
    for fd in [0, 4] {
        assert_eq!(guest.call(Function::FdPrestatGet, &[fd, OUT.into()]), Err(Errno::BadF));
    }
}

#[test]
fn depth_and_number_of_files_are_limited() {
    use super::super::tree::{DEPTH_MAX, NODES_MAX};
    let mut guest = Guest::new();
    let mut path = "out".to_owned();
    for _ in 1..DEPTH_MAX {
        path.push_str("/d");
        guest.mkdir(&path).unwrap();
    }
    assert_eq!(guest.mkdir(&format!("{path}/d")), Err(Errno::NameTooLong));
    assert_eq!(guest.open(&format!("{path}/f"), CREAT, WRITE), Err(Errno::NameTooLong));
    guest.mkdir("out/a").unwrap();
    assert_eq!(guest.rename("out/d", "out/a/d"), Err(Errno::NameTooLong));
    guest.create("out/f", b"");
    assert_eq!(guest.rename("out/f", &format!("{path}/f")), Err(Errno::NameTooLong));
    guest.rename("out/d/d", "out/b").unwrap();
    let already = guest.world.tree.created();
    for index in already..NODES_MAX {
        guest.mkdir(&format!("tmp/{index}")).unwrap();
    }
    assert_eq!(guest.mkdir("tmp/more"), Err(Errno::NoSpc));
    assert_eq!(guest.open("out/more", CREAT, WRITE), Err(Errno::NoSpc));
    guest.unlink("out/f").unwrap();
    assert_eq!(guest.mkdir("tmp/more"), Ok(()));
    guest.moved(config());
}

#[test]
fn inputs_must_be_files_in_a_tree() {
    for (path, why) in [
        ("", "empty part"),
        ("/x", "empty part"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("../x", "`..`"),
        ("a/./b", "`.`"),
        ("a\0", "zero byte"),
        ("file/x", "both a file and a directory"),
    ] {
        let mut config = config();
        let inputs = [("file", "f"), (path, "x")];
        config.inputs =
            Arc::new(inputs.iter().map(|(k, v)| ((*k).into(), v.as_bytes().into())).collect());
        let error = World::new(config).unwrap_err().to_string();
        assert!(error.contains(why), "{path:?}: {error}");
    }
}
