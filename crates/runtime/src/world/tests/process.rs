//! Arguments, environment, clock, randomness, polling, signals.

use super::*;

fn strings(guest: &mut Guest, sizes: Function, get: Function) -> Vec<String> {
    guest.call(sizes, &[OUT.into(), u64::from(OUT + 4)]).unwrap();
    let (count, bytes) = (guest.u32(OUT), guest.u32(OUT + 4));
    guest.call(get, &[PATH.into(), DATA.into()]).unwrap();
    let strings = (0..count).map(|index| {
        let text = &guest.memory[guest.u32(PATH + 4 * index) as usize..];
        let len = text.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    });
    let strings: Vec<String> = strings.collect();
    assert_eq!(strings.iter().map(|text| text.len() + 1).sum::<usize>(), bytes as usize);
    strings
}

#[test]
fn arguments_and_environment() {
    let mut guest = Guest::new();
    let args = strings(&mut guest, Function::ArgsSizesGet, Function::ArgsGet);
    assert_eq!(args, ["prog", "-x", "größe"]);
    let env = strings(&mut guest, Function::EnvironSizesGet, Function::EnvironGet);
    assert_eq!(env, ["HOME=/", "EMPTY="]);
    assert_eq!(guest.call(Function::ArgsGet, &[0, 0x1fffe]), Err(Errno::Fault));
    for (args, env) in [
        (vec!["a\0b".to_owned()], vec![]),
        (vec![], vec![("A=".to_owned(), "".to_owned())]),
        (vec![], vec![("".to_owned(), "".to_owned())]),
        (vec![], vec![("A".to_owned(), "\0".to_owned())]),
        (vec!["x".repeat(5 << 20)], vec![]),
    ] {
        assert!(World::new(WorldConfig { args, env, ..config() }).is_err());
    }
}

const START: u64 = 1_767_225_600_000_000_000;

fn time(guest: &mut Guest, clock: u64) -> Result<u64, Errno> {
    guest.call(Function::ClockTimeGet, &[clock, 0, OUT.into()])?;
    Ok(guest.u64(OUT))
}

#[test]
fn clocks_show_fuel_and_sleep() {
    let mut guest = Guest::new();
    assert_eq!(time(&mut guest, 0), Ok(START));
    assert_eq!(time(&mut guest, 1), Ok(0));
    guest.fuel = 3_000_000_001;
    assert_eq!(time(&mut guest, 0), Ok(START + 1_000_000_000));
    assert_eq!(poll(&mut guest, &[clock(7, 1, 5_000, 0)]), Ok(vec![(7, 0, 0)]));
    assert_eq!(time(&mut guest, 0), Ok(START + 1_000_005_000));
    assert_eq!(time(&mut guest, 1), Ok(1_000_005_000));
    assert_eq!(time(&mut guest, 2), Ok(1_000_000_000));
    assert_eq!(time(&mut guest, 3), Ok(1_000_000_000));
    assert_eq!(time(&mut guest, 4), Err(Errno::Inval));
    assert_eq!(guest.call(Function::ClockResGet, &[1, OUT.into()]), Ok(()));
    assert_eq!(guest.u64(OUT), 1);
    assert_eq!(guest.call(Function::ClockResGet, &[9, OUT.into()]), Err(Errno::Inval));
    let config = WorldConfig { clock_start_ms: -5, ..config() };
    assert_eq!(time(&mut Guest::with(config), 0), Ok(0));
}

fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> Vec<u8> {
    let mut record = vec![0; 48];
    record[..8].copy_from_slice(&userdata.to_le_bytes());
    record[16..20].copy_from_slice(&id.to_le_bytes());
    record[24..32].copy_from_slice(&timeout.to_le_bytes());
    record[40..42].copy_from_slice(&flags.to_le_bytes());
    record
}

fn ready(userdata: u64, tag: u8, fd: u32) -> Vec<u8> {
    let mut record = clock(userdata, fd, 0, 0);
    record[8] = tag;
    record
}

/// Userdata, error and ready bytes of each event.
fn poll(guest: &mut Guest, subscriptions: &[Vec<u8>]) -> Result<Vec<(u64, u16, u64)>, Errno> {
    let at = guest.put(PATH, &subscriptions.concat())[0];
    let count = subscriptions.len() as u64;
    guest.call(Function::PollOneoff, &[at, DATA.into(), count, OUT.into()])?;
    let events = (0..guest.u32(OUT)).map(|index| {
        let event = DATA + index * 32;
        (guest.u64(event), guest.u32(event + 8) as u16, guest.u64(event + 16))
    });
    Ok(events.collect())
}

#[test]
fn polling() {
    let mut guest = Guest::new();
    let now = |guest: &mut Guest| time(guest, 1).unwrap();
    // The earliest of several deadlines; those at the same time come together.
    let several = [clock(1, 0, 300, 0), clock(2, 1, 100, 0), clock(3, 0, START + 100, 1)];
    assert_eq!(poll(&mut guest, &several), Ok(vec![(2, 0, 0), (3, 0, 0)]));
    assert_eq!(now(&mut guest), 100);
    // A deadline in the past, and one that is absolute.
    assert_eq!(poll(&mut guest, &[clock(4, 1, 50, 1)]), Ok(vec![(4, 0, 0)]));
    assert_eq!(poll(&mut guest, &[clock(5, 1, 150, 1)]), Ok(vec![(5, 0, 0)]));
    assert_eq!(now(&mut guest), 150);
    // A descriptor is ready, so that nothing is slept.
    let mixed = [clock(6, 1, 10, 0), ready(7, 1, 0), ready(8, 2, 1), ready(9, 1, 77)];
    let events = vec![(7, 0, 18), (8, 0, 1000), (9, Errno::BadF.code(), 0)];
    assert_eq!(poll(&mut guest, &mixed), Ok(events));
    assert_eq!(now(&mut guest), 150);
    let inval = Errno::Inval.code();
    assert_eq!(poll(&mut guest, &[clock(1, 9, 1, 0)]), Ok(vec![(1, inval, 0)]));
    assert_eq!(poll(&mut guest, &[clock(1, 1, 1, 2)]), Ok(vec![(1, inval, 0)]));
    assert_eq!(poll(&mut guest, &[clock(1, 2, 1, 0)]), Ok(vec![(1, Errno::NotSup.code(), 0)]));
    assert_eq!(poll(&mut guest, &[ready(1, 3, 0)]), Err(Errno::Inval));
    assert_eq!(poll(&mut guest, &[]), Err(Errno::Inval));
    let many = [PATH.into(), DATA.into(), 4097, OUT.into()];
    assert_eq!(guest.call(Function::PollOneoff, &many), Err(Errno::Inval));
    // Forever is long, and no overflow.
    assert_eq!(poll(&mut guest, &[clock(1, 1, u64::MAX, 0)]), Ok(vec![(1, 0, 0)]));
    assert_eq!(time(&mut guest, 0), Ok(u64::MAX));
    assert_eq!(poll(&mut guest, &[clock(1, 1, 5, 0)]), Ok(vec![(1, 0, 0)]));
}

#[test]
fn randomness_is_one_stream_of_the_seed() {
    let draw = |guest: &mut Guest, len: u64| {
        guest.call(Function::RandomGet, &[DATA.into(), len]).unwrap();
        guest.memory[DATA as usize..][..len as usize].to_vec()
    };
    let mut whole = Guest::new();
    let expected = draw(&mut whole, 1000);
    let mut parts = Guest::new();
    let mut drawn = Vec::new();
    for len in [1, 63, 64, 65, 0, 7, 800] {
        drawn.extend(draw(&mut parts, len));
        parts = parts.moved(config());
    }
    assert_eq!(drawn, expected);
    let mut other = Guest::with(WorldConfig { seed: Digest::of(b"other"), ..config() });
    assert_ne!(draw(&mut other, 1000), expected);
    assert_eq!(whole.call(Function::RandomGet, &[0x1fff0, 17]), Err(Errno::Fault));
    assert_eq!(draw(&mut whole, 8), draw(&mut parts, 8));
}

#[test]
fn ends_and_signals() {
    let mut guest = Guest::new();
    let mut reply = |function, arg| guest.answer(function, &[arg]).reply;
    assert_eq!(reply(Function::ProcExit, 0), Reply::Exit(0));
    assert_eq!(reply(Function::ProcExit, 0xffff_ffff), Reply::Exit(-1));
    assert_eq!(reply(Function::ProcRaise, 6), Reply::Exit(134));
    assert_eq!(reply(Function::ProcRaise, 0), Reply::Errno(Errno::Success));
    assert_eq!(reply(Function::ProcRaise, 16), Reply::Errno(Errno::Success));
    assert_eq!(reply(Function::ProcRaise, 18), Reply::Errno(Errno::NotSup));
    assert_eq!(reply(Function::ProcRaise, 31), Reply::Errno(Errno::Inval));
}

#[test]
fn there_are_no_sockets() {
    let mut guest = Guest::new();
    for function in
        [Function::SockAccept, Function::SockRecv, Function::SockSend, Function::SockShutdown]
    {
        let params = function.signature().params.len();
        assert_eq!(guest.call(function, &[0; 6][..params]), Err(Errno::NotSock));
        assert_eq!(guest.call(function, &[50; 6][..params]), Err(Errno::BadF));
    }
}
