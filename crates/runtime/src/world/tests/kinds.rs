//! Every call that takes a descriptor, on every kind of descriptor: one table of answers.

use super::*;

/// In the order of the table's columns.
const KINDS: [&str; 9] =
    ["stdin", "stdout", "root", "dir", "input", "read", "write", "removed", "closed"];

/// A descriptor of that kind in a world of its own.
fn of_kind(kind: &str) -> (Guest, u32) {
    let mut guest = Guest::new();
    guest.create("out/f", b"content");
    guest.mkdir("out/d").unwrap();
    let fd = match kind {
        "stdin" => 0,
        "stdout" => 1,
        "root" => ROOT_FD,
        "dir" => guest.open("out/d", DIRECTORY, rights::ALL).unwrap(),
        "input" => guest.open("in/a.txt", 0, READ).unwrap(),
        "read" => guest.open("out/f", 0, READ).unwrap(),
        "write" => guest.open("out/f", 0, READ | WRITE).unwrap(),
        "removed" => {
            let fd = guest.open("out/f", 0, READ | WRITE).unwrap();
            guest.unlink("out/f").unwrap();
            fd
        }
        "closed" => 77,
        other => panic!("{other}"),
    };
    (guest, fd)
}

/// The parameters after the descriptor, all in order.
fn rest(guest: &mut Guest, function: Function, fd: u64) -> Vec<u64> {
    use Function as F;
    let buffers = guest.buffer(DATA, 3);
    let out = u64::from(OUT);
    let [at, len] = guest.put(PATH, b"new");
    let rest: &[u64] = match function {
        F::FdAdvise => &[0, 10, 0],
        F::FdAllocate => &[0, 9],
        F::FdFdstatSetFlags => &[1],
        F::FdFdstatSetRights => &[0, 0],
        F::FdFilestatSetSize => &[3],
        F::FdFilestatSetTimes => &[1, 2, 5],
        F::FdPread | F::FdPwrite => &[buffers, 1, 0, out],
        F::FdPrestatDirName => &[DATA.into(), 10],
        F::FdRead | F::FdWrite => &[buffers, 1, out],
        F::FdReaddir => &[DATA.into(), 500, 0, out],
        F::FdRenumber => &[fd],
        F::FdSeek => &[0, 0, out],
        F::PathCreateDirectory => &[at, len],
        F::PathFilestatGet => &[0, at, len, out],
        F::PathOpen => &[0, at, len, CREAT as u64, WRITE, 0, 0, out],
        F::PathReadlink => &[at, len, DATA.into(), 100, out],
        F::PathRename => &[at, len, fd, at, len],
        F::SockAccept => &[0, out],
        F::SockRecv => &[buffers, 1, 0, out, out],
        F::SockSend => &[buffers, 1, 0, out],
        F::SockShutdown => &[0],
        _ => &[out],
    };
    let params = function.signature().params.len();
    rest.iter().copied().take(params - 1).collect()
}

/// Each line: the call, then the answer for each of [`KINDS`].
const ANSWERS: &str = "
fd_advise            ok      SPipe   ok      ok      ok      ok      ok      ok      BadF
fd_allocate          SPipe   SPipe   IsDir   IsDir   BadF    BadF    ok      ok      BadF
fd_datasync          ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_fdstat_get        ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_fdstat_set_flags  ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_fdstat_set_rights ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_filestat_get      ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_filestat_set_size Inval   Inval   IsDir   IsDir   BadF    BadF    ok      ok      BadF
fd_filestat_set_times RoFs   RoFs    RoFs    ok      RoFs    ok      ok      ok      BadF
fd_pread             ok      BadF    IsDir   IsDir   ok      ok      ok      ok      BadF
fd_prestat_dir_name  BadF    BadF    ok      BadF    BadF    BadF    BadF    BadF    BadF
fd_prestat_get       BadF    BadF    ok      BadF    BadF    BadF    BadF    BadF    BadF
fd_pwrite            BadF    SPipe   BadF    BadF    BadF    BadF    ok      ok      BadF
fd_read              ok      BadF    IsDir   IsDir   ok      ok      ok      ok      BadF
fd_readdir           NotDir  NotDir  ok      ok      NotDir  NotDir  NotDir  NotDir  BadF
fd_renumber          ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_seek              ok      SPipe   ok      ok      ok      ok      ok      ok      BadF
fd_sync              ok      ok      ok      ok      ok      ok      ok      ok      BadF
fd_tell              ok      SPipe   ok      ok      ok      ok      ok      ok      BadF
fd_write             BadF    ok      BadF    BadF    BadF    BadF    ok      ok      BadF
path_create_directory NotDir NotDir  RoFs    ok      NotDir  NotDir  NotDir  NotDir  BadF
path_filestat_get    NotDir  NotDir  NoEnt   NoEnt   NotDir  NotDir  NotDir  NotDir  BadF
path_open            NotDir  NotDir  RoFs    ok      NotDir  NotDir  NotDir  NotDir  BadF
path_readlink        NotDir  NotDir  NoEnt   NoEnt   NotDir  NotDir  NotDir  NotDir  BadF
path_remove_directory NotDir NotDir  NoEnt   NoEnt   NotDir  NotDir  NotDir  NotDir  BadF
path_rename          NotDir  NotDir  NoEnt   NoEnt   NotDir  NotDir  NotDir  NotDir  BadF
path_unlink_file     NotDir  NotDir  NoEnt   NoEnt   NotDir  NotDir  NotDir  NotDir  BadF
sock_accept          NotSock NotSock NotSock NotSock NotSock NotSock NotSock NotSock BadF
sock_recv            NotSock NotSock NotSock NotSock NotSock NotSock NotSock NotSock BadF
sock_send            NotSock NotSock NotSock NotSock NotSock NotSock NotSock NotSock BadF
sock_shutdown        NotSock NotSock NotSock NotSock NotSock NotSock NotSock NotSock BadF
fd_close             ok      ok      ok      ok      ok      ok      ok      ok      BadF
";

#[test]
fn every_call_on_every_kind_of_descriptor() {
    let mut different = Vec::new();
    for line in ANSWERS.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let function = Function::from_name(words.next().unwrap()).unwrap();
        for (kind, expected) in KINDS.iter().zip(words) {
            let (mut guest, fd) = of_kind(kind);
            let mut args = vec![u64::from(fd)];
            args.extend(match function {
                Function::PathRemoveDirectory | Function::PathUnlinkFile => {
                    guest.put(PATH, b"new").to_vec()
                }
                _ => rest(&mut guest, function, fd.into()),
            });
            let answer = match guest.call(function, &args) {
                Ok(()) => "ok".to_owned(),
                Err(errno) => format!("{errno:?}"),
            };
            if answer != expected {
                different.push(format!("{} of {kind}: {answer}", function.name()));
            }
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    // Those that take no descriptor first have tests of their own.
    let elsewhere = [
        "args",
        "environ",
        "clock",
        "path_filestat_set_times",
        "path_link",
        "path_symlink",
        "poll",
        "proc",
        "random",
        "sched",
    ];
    for function in Function::ALL {
        let in_table = ANSWERS.lines().any(|line| line.split(' ').next() == Some(function.name()));
        let is_elsewhere = elsewhere.iter().any(|name| function.name().starts_with(name));
        assert!(in_table != is_elsewhere, "{}", function.name());
    }
}
