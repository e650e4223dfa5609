//! Reading, writing, seeking, sizes, times, descriptors.

use super::*;
use crate::world::ITEM_BYTES;

#[test]
fn input_is_read_and_nothing_else() {
    let mut guest = Guest::new();
    assert_eq!(guest.content("in/a.txt").unwrap(), b"alpha");
    assert_eq!(guest.content("/in/deep/er/b.txt").unwrap(), b"beta");
    assert_eq!(guest.open("in/a.txt", 0, READ | WRITE), Err(Errno::RoFs));
    assert_eq!(guest.open("in/a.txt", TRUNC, READ), Err(Errno::RoFs));
    assert_eq!(guest.open("in/new", CREAT, WRITE), Err(Errno::RoFs));
    let fd = guest.open("in/a.txt", CREAT, READ).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(Errno::BadF));
    assert_eq!(guest.call(Function::FdFilestatSetSize, &[fd.into(), 0]), Err(Errno::BadF));
    assert_eq!(guest.call(Function::FdFilestatSetTimes, &[fd.into(), 0, 0, 5]), Err(Errno::RoFs));
    assert_eq!(guest.read(fd, 2).unwrap(), b"al");
    assert_eq!(guest.read(fd, 9).unwrap(), b"pha");
    assert_eq!(guest.read(fd, 9).unwrap(), b"");
    assert_eq!(guest.pread(fd, 3, 1).unwrap(), b"lph");
    assert_eq!(guest.pread(fd, 3, 99).unwrap(), b"");
    assert_eq!(guest.pread(fd, 3, u64::MAX), Err(Errno::Inval));
}

#[test]
fn standard_streams() {
    let mut guest = Guest::new();
    assert_eq!(guest.read(0, 5).unwrap(), b"line ");
    assert_eq!(guest.seek(0, -4, 2), Ok(14));
    assert_eq!(guest.read(0, 9).unwrap(), b"two\n");
    assert_eq!(guest.write(0, b"x"), Err(Errno::BadF));
    assert_eq!(guest.write(1, b"out"), Ok(3));
    assert_eq!(guest.write(2, b"err"), Ok(3));
    assert_eq!(guest.write(1, b"put"), Ok(3));
    for fd in [1, 2] {
        assert_eq!(guest.read(fd, 1), Err(Errno::BadF));
        assert_eq!(guest.seek(fd, 0, 1), Err(Errno::SPipe));
        assert_eq!(guest.pwrite(fd, b"x", 0), Err(Errno::SPipe));
        assert_eq!(guest.call(Function::FdTell, &[fd.into(), 0]), Err(Errno::SPipe));
    }
    assert_eq!(guest.world.stdout(), b"output");
    assert_eq!(guest.world.stderr(), b"err");
    guest.close(1).unwrap();
    assert_eq!(guest.write(1, b"x"), Err(Errno::BadF));
}

#[test]
fn several_buffers_are_one_read_or_write() {
    let mut guest = Guest::new();
    guest.put(DATA, b"onetwothree");
    let mut buffers = Vec::new();
    for (at, len) in [(0u32, 3u32), (6, 5), (3, 0), (3, 3)] {
        buffers.extend((DATA + at).to_le_bytes());
        buffers.extend(len.to_le_bytes());
    }
    let at = guest.put(BUFFERS, &buffers)[0];
    guest.call(Function::FdWrite, &[1, at, 4, OUT.into()]).unwrap();
    assert_eq!((guest.world.stdout(), guest.u32(OUT)), (&b"onethreetwo"[..], 11));
    guest.call(Function::FdRead, &[0, at, 4, OUT.into()]).unwrap();
    assert_eq!(&guest.memory[DATA as usize..][..11], b"lin\nlie one");
    // One bad buffer, and nothing is moved.
    guest.put(BUFFERS + 28, &u32::MAX.to_le_bytes());
    assert_eq!(guest.call(Function::FdWrite, &[1, at, 4, OUT.into()]), Err(Errno::Fault));
    assert_eq!(guest.world.stdout().len(), 11);
    assert_eq!(guest.call(Function::FdWrite, &[1, at, 1 << 29, OUT.into()]), Err(Errno::Fault));
    assert_eq!(guest.call(Function::FdWrite, &[1, at, 3, 0x1ffff]), Err(Errno::Fault));
    assert_eq!(guest.world.stdout().len(), 11);
}

#[test]
fn of_too_many_buffers_the_first_are_used() {
    let mut guest = Guest::with(WorldConfig { output_max_bytes: 5000, ..config() });
    let buffers: Vec<u8> =
        (0..3000u32).flat_map(|index| [DATA + index, 1]).flat_map(u32::to_le_bytes).collect();
    let content: Vec<u8> = (0..3000u32).map(|index| index as u8).collect();
    let at = guest.put(0x8000, &buffers)[0];
    guest.put(DATA, &content);
    let fd = guest.open("out/f", CREAT, READ | WRITE).unwrap();
    // As a program does: the rest again, until all is written.
    let mut written = 0;
    while written < 3000 {
        let rest = [fd.into(), at + 8 * written, 3000 - written, OUT.into()];
        let answer = guest.answer(Function::FdWrite, &rest);
        let now = u64::from(guest.u32(OUT));
        assert_eq!((answer.reply, now), (Reply::Errno(Errno::Success), 1024.min(3000 - written)));
        assert_eq!(answer.bytes, (1 + ITEM_BYTES) * now);
        written += now;
    }
    guest.put(DATA, &[0; 3000]);
    guest.call(Function::FdPread, &[fd.into(), at, 3000, 0, OUT.into()]).unwrap();
    assert_eq!(guest.u32(OUT), 1024);
    assert!(guest.memory[DATA as usize..][..1024] == content[..1024]);
    assert!(guest.memory[DATA as usize..][1024..3000].iter().all(|byte| *byte == 0));
}

#[test]
fn what_comes_to_nothing_is_charged_for() {
    let mut guest = Guest::new();
    let last = MEMORY_BYTES as u64 - 8;
    let mut bytes = |function, args: &[u64]| guest.answer(function, args).bytes;
    // A place for the pointers, none for the strings.
    assert_eq!(bytes(Function::ArgsGet, &[0, last]), 3 * ITEM_BYTES + 5 + 3 + 8);
    assert_eq!(bytes(Function::EnvironGet, &[0, last]), 2 * ITEM_BYTES + 7 + 7);
    assert_eq!(bytes(Function::PollOneoff, &[0, last, 100, 0]), 100 * 80);
    assert_eq!(bytes(Function::FdWrite, &[1, DATA.into(), 50, last + 5]), 50 * ITEM_BYTES);
    assert_eq!(bytes(Function::FdRead, &[0, DATA.into(), 50, last + 5]), 50 * ITEM_BYTES);
    assert_eq!(bytes(Function::FdRead, &[0, last, 1, 0]), ITEM_BYTES);
    let [at, len] = guest.put(PATH, b"in/x");
    let args = [3, 0, at, len, CREAT.into(), WRITE, 0, 0, OUT.into()];
    // Two parts, two directories above, four descriptors.
    assert_eq!(guest.answer(Function::PathOpen, &args).bytes, 4 + 2 * 64 + 64 + 4 * 8);
}

#[test]
fn files_are_written_at_offsets() {
    let mut guest = Guest::new();
    let fd = guest.open("out/f", CREAT | EXCL, READ | WRITE).unwrap();
    assert_eq!(guest.open("out/f", CREAT | EXCL, WRITE), Err(Errno::Exist));
    assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
    assert_eq!(guest.seek(fd, 4, 0), Ok(4));
    assert_eq!(guest.write(fd, b"xy"), Ok(2));
    assert_eq!(guest.seek(fd, 2, 2), Ok(12));
    assert_eq!(guest.write(fd, b"z"), Ok(1));
    assert_eq!(guest.seek(fd, -1, 1), Ok(12));
    assert_eq!(guest.seek(fd, -13, 1), Err(Errno::Inval));
    assert_eq!(guest.seek(fd, 0, 3), Err(Errno::Inval));
    assert_eq!(guest.seek(fd, i64::MAX, 1), Err(Errno::Overflow));
    assert_eq!(guest.pwrite(fd, b"AB", 8), Ok(2));
    assert_eq!(guest.content("out/f").unwrap(), b"0123xy67AB\0\0z");
    assert_eq!(guest.seek(fd, 0, 1), Ok(12));
    assert_eq!(guest.world.outputs()["f"], b"0123xy67AB\0\0z");
    // Appending goes to the end, wherever the position is; flags can change later.
    let append = guest.open_with("out/f", 0, READ | WRITE, APPEND).unwrap();
    assert_eq!(guest.write(append, b"!"), Ok(1));
    assert_eq!(guest.seek(append, 0, 0), Ok(0));
    assert_eq!(guest.write(append, b"?"), Ok(1));
    assert_eq!(guest.seek(append, 0, 1), Ok(15));
    guest.call(Function::FdFdstatSetFlags, &[append.into(), 0]).unwrap();
    assert_eq!(guest.seek(append, 0, 0), Ok(0));
    assert_eq!(guest.write(append, b"#"), Ok(1));
    assert_eq!(guest.content("out/f").unwrap(), b"#123xy67AB\0\0z!?");
    assert_eq!(guest.call(Function::FdFdstatSetFlags, &[append.into(), 32]), Err(Errno::Inval));
}

#[test]
fn sizes_change() {
    let mut guest = Guest::new();
    guest.create("out/f", b"12345");
    let fd = guest.open("out/f", 0, READ | WRITE).unwrap();
    let mut set_size = |size| guest.call(Function::FdFilestatSetSize, &[fd.into(), size]);
    assert_eq!(set_size(2), Ok(()));
    assert_eq!(set_size(4), Ok(()));
    assert_eq!(set_size(1001), Err(Errno::FBig));
    assert_eq!(set_size(u64::MAX), Err(Errno::Inval));
    assert_eq!(guest.content("out/f").unwrap(), b"12\0\0");
    let mut allocate = |at, len| guest.call(Function::FdAllocate, &[fd.into(), at, len]);
    assert_eq!(allocate(0, 3), Ok(()));
    assert_eq!(allocate(4, 2), Ok(()));
    assert_eq!(allocate(0, 0), Err(Errno::Inval));
    assert_eq!(allocate(i64::MAX as u64, 2), Err(Errno::FBig));
    assert_eq!(guest.content("out/f").unwrap(), b"12\0\0\0\0");
    assert_eq!(guest.call(Function::FdAllocate, &[1, 0, 1]), Err(Errno::SPipe));
    assert_eq!(guest.call(Function::FdAllocate, &[3, 0, 1]), Err(Errno::IsDir));
    let fd = guest.open("out/f", TRUNC, READ | WRITE).unwrap();
    assert_eq!(guest.read(fd, 9).unwrap(), b"");
}

#[test]
fn output_is_limited_in_all() {
    let mut guest = Guest::new();
    assert_eq!(guest.write(1, &[b'o'; 400]), Ok(400));
    guest.create("out/f", &[b'f'; 300]);
    guest.create("tmp/t", &[b't'; 200]);
    // What fits is written, then nothing is.
    assert_eq!(guest.write(2, &[b'e'; 150]), Ok(100));
    assert_eq!(guest.write(2, b"e"), Err(Errno::NoSpc));
    assert_eq!(guest.write(1, b""), Ok(0));
    let fd = guest.open("out/f", 0, READ | WRITE).unwrap();
    assert_eq!(guest.write(fd, &[b'g'; 300]), Ok(300));
    assert_eq!(guest.write(fd, b"g"), Err(Errno::NoSpc));
    assert_eq!(guest.pwrite(fd, b"gg", 299), Ok(1));
    assert_eq!(guest.pwrite(fd, b"g", 1000), Err(Errno::FBig));
    assert_eq!(guest.call(Function::FdFilestatSetSize, &[fd.into(), 301]), Err(Errno::NoSpc));
    // Cutting and removing give room back; a removed file only when it is closed.
    let open = guest.open("tmp/t", 0, READ).unwrap();
    guest.unlink("tmp/t").unwrap();
    assert_eq!(guest.write(2, b"e"), Err(Errno::NoSpc));
    guest.close(open).unwrap();
    assert_eq!(guest.write(2, &[b'e'; 500]), Ok(200));
    guest.open("out/f", TRUNC, WRITE).unwrap();
    assert_eq!(guest.write(1, &[b'o'; 500]), Ok(300));
    assert_eq!(guest.world.stdout().len() + guest.world.stderr().len(), 1000);
    // A world without any output.
    let mut guest = Guest::with(WorldConfig { output_max_bytes: 0, ..config() });
    assert_eq!(guest.write(1, b"x"), Err(Errno::NoSpc));
    let fd = guest.open("out/f", CREAT, WRITE).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(Errno::NoSpc));
}

#[test]
fn far_offsets_allocate_nothing() {
    let output_max_bytes = super::super::OUTPUT_BYTES_MAX;
    let mut guest = Guest::with(WorldConfig { output_max_bytes, ..config() });
    let fd = guest.open("out/f", CREAT, READ | WRITE).unwrap();
    assert_eq!(guest.seek(fd, i64::MAX, 0), Ok(i64::MAX as u64));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::FBig));
    assert_eq!(guest.read(fd, 1).unwrap(), b"");
    let config = WorldConfig { output_max_bytes: u64::MAX, ..config() };
    assert!(World::new(config).unwrap_err().to_string().contains("too large"));
}

#[test]
fn bytes_moved_are_told() {
    let mut guest = Guest::new();
    guest.put(DATA, &[b'x'; 100]);
    let buffers = guest.buffer(DATA, 100);
    assert_eq!(guest.answer(Function::FdWrite, &[1, buffers, 1, 0]).bytes, 100 + 128);
    let fd = guest.open("out/f", CREAT, WRITE).unwrap();
    let gap = guest.answer(Function::FdPwrite, &[fd.into(), buffers, 1, 500, 0]);
    assert_eq!(gap.bytes, 600 + 128);
    assert_eq!(guest.answer(Function::RandomGet, &[DATA.into(), 77]).bytes, 77);
    assert_eq!(guest.answer(Function::SchedYield, &[]).bytes, 0);
    let [at, len] = guest.put(PATH, b"a/b/c");
    let missing = guest.answer(Function::PathUnlinkFile, &[3, at, len]);
    assert_eq!((missing.reply, missing.bytes), (Reply::Errno(Errno::NoEnt), 5 + 3 * 64));
}

#[test]
fn descriptors_are_the_lowest_free() {
    let mut guest = Guest::new();
    assert_eq!(guest.open("in/a.txt", 0, READ), Ok(4));
    assert_eq!(guest.open("in/a.txt", 0, READ), Ok(5));
    guest.close(4).unwrap();
    guest.close(0).unwrap();
    assert_eq!(guest.close(0), Err(Errno::BadF));
    assert_eq!(guest.open("in/empty", 0, READ), Ok(0));
    assert_eq!(guest.open("in/empty", 0, READ), Ok(4));
    assert_eq!(guest.call(Function::FdRenumber, &[5, 9]), Err(Errno::BadF));
    assert_eq!(guest.call(Function::FdRenumber, &[9, 5]), Err(Errno::BadF));
    assert_eq!(guest.call(Function::FdRenumber, &[5, 5]), Ok(()));
    assert_eq!(guest.call(Function::FdRenumber, &[5, 0]), Ok(()));
    assert_eq!(guest.read(0, 9).unwrap(), b"alpha");
    assert_eq!(guest.read(5, 9), Err(Errno::BadF));
    let opened = (0..).take_while(|_| guest.open("in/empty", 0, READ).is_ok()).count();
    assert_eq!(opened, super::super::descriptor::DESCRIPTORS_MAX - 5);
    assert_eq!(guest.open("out/f", CREAT, WRITE), Err(Errno::MFile));
    assert_eq!(guest.stat("out/f"), Err(Errno::NoEnt));
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    let mut guest = Guest::new();
    let fd = guest.open("tmp/f", CREAT, READ | WRITE).unwrap();
    guest.write(fd, b"still").unwrap();
    guest.unlink("tmp/f").unwrap();
    assert_eq!(guest.stat("tmp/f"), Err(Errno::NoEnt));
    guest.create("tmp/f", b"other");
    let mut guest = guest.moved(config());
    assert_eq!(guest.pread(fd, 9, 0).unwrap(), b"still");
    guest.call(Function::FdFilestatGet, &[fd.into(), OUT.into()]).unwrap();
    assert_eq!((guest.u64(OUT + 24), guest.u64(OUT + 32)), (0, 5));
    guest.call(Function::FdRenumber, &[3, u64::from(fd)]).unwrap();
    assert_eq!(guest.world.state().contents.len(), 3);
}

#[test]
fn rights_are_reported_and_shrink() {
    let mut guest = Guest::new();
    let mut fdstat = |fd: u32| {
        guest
            .call(Function::FdFdstatGet, &[fd.into(), OUT.into()])
            .map(|()| (guest.memory[OUT as usize], guest.u64(OUT + 8), guest.u64(OUT + 16)))
    };
    // isatty() says no to each: none is a character device.
    assert_eq!(fdstat(0).unwrap().0, 4);
    assert_eq!(fdstat(1).unwrap().0, 0);
    assert_eq!(fdstat(1).unwrap().1 & (rights::FD_SEEK | rights::FD_TELL), 0);
    assert_eq!(fdstat(3), Ok((3, rights::DIRECTORY, rights::ALL)));
    assert_eq!(fdstat(99), Err(Errno::BadF));
    let fd = guest.open("out/f", CREAT, READ | WRITE).unwrap();
    let set = Function::FdFdstatSetRights;
    assert_eq!(guest.call(set, &[fd.into(), READ, 0]), Ok(()));
    assert_eq!(guest.call(set, &[fd.into(), READ | WRITE, 0]), Err(Errno::NotCapable));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::BadF));
    assert_eq!(guest.read(fd, 1).unwrap(), b"");
}

#[test]
fn times_are_those_of_the_virtual_clock() {
    let mut guest = Guest::new();
    let start = 1_767_225_600_000_000_000;
    guest.fuel = 3_000;
    guest.create("out/f", b"x");
    let times = |guest: &mut Guest, path: &str| {
        guest.stat(path).unwrap();
        [guest.u64(OUT + 40), guest.u64(OUT + 48), guest.u64(OUT + 56)]
    };
    assert_eq!(times(&mut guest, "in/a.txt"), [start; 3]);
    assert_eq!(times(&mut guest, "out/f"), [start + 1000; 3]);
    assert_eq!(times(&mut guest, "out")[1], start + 1000);
    guest.fuel = 6_000;
    let fd = guest.open("out/f", 0, WRITE).unwrap();
    guest.write(fd, b"y").unwrap();
    assert_eq!(times(&mut guest, "out/f"), [start + 1000, start + 2000, start + 2000]);
    let mut set = |flags| guest.call(Function::FdFilestatSetTimes, &[fd.into(), 7, 8, flags]);
    assert_eq!(set(3), Err(Errno::Inval));
    assert_eq!(set(12), Err(Errno::Inval));
    assert_eq!(set(16), Err(Errno::Inval));
    assert_eq!(set(1 | 8), Ok(()));
    assert_eq!(times(&mut guest, "out/f"), [7, start + 2000, start + 2000]);
    let [at, len] = guest.put(PATH, b"out/f");
    guest.call(Function::PathFilestatSetTimes, &[3, 1, at, len, 7, 8, 4]).unwrap();
    assert_eq!(times(&mut guest, "out/f"), [7, 8, 8]);
}
