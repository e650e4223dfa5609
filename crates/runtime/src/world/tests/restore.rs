//! Saved states that no world has.

use super::super::WorldError;
use super::*;

fn lived() -> Guest {
    let mut guest = Guest::new();
    guest.write(1, b"standard output").unwrap();
    guest.mkdir("out/d").unwrap();
    guest.create("out/d/f", b"content");
    guest.open("out/d/f", 0, READ | WRITE).unwrap();
    guest.read(0, 3).unwrap();
    guest
}

fn refusal(meta: &[u8], contents: Vec<Vec<u8>>) -> String {
    match World::restore(config(), meta, contents) {
        Err(error @ WorldError::State { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_is_restored_whole() {
    let guest = lived();
    let state = guest.world.state();
    assert_eq!(state.contents, [&b"standard output"[..], b"", b"content"]);
    let mut guest = lived().moved(config());
    assert_eq!(guest.content("out/d/f").unwrap(), b"content");
    assert_eq!(guest.read(0, 3).unwrap(), b"e o");
    assert_eq!(guest.world.stdout(), b"standard output");
}

#[test]
fn contents_must_be_those_described() {
    let guest = lived();
    let state = guest.world.state();
    let contents: Vec<Vec<u8>> = state.contents.iter().map(|content| content.to_vec()).collect();
    for (index, why) in [(0, "a stream has another length"), (2, "a file has another length")] {
        let mut longer = contents.clone();
        longer[index].push(b'x');
        assert!(refusal(&state.meta, longer).contains(why));
    }
    for len in 0..contents.len() {
        assert!(refusal(&state.meta, contents[..len].to_vec()).contains("content is missing"));
    }
    let mut more = contents.clone();
    more.push(Vec::new());
    assert!(refusal(&state.meta, more).contains("belongs to nothing"));
    let small = WorldConfig { output_max_bytes: 20, ..config() };
    assert!(World::restore(small, &state.meta, contents).is_err());
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_or_another_state() {
    let guest = lived();
    let state = guest.world.state();
    let contents: Vec<Vec<u8>> = state.contents.iter().map(|content| content.to_vec()).collect();
    for len in 0..state.meta.len() {
        refusal(&state.meta[..len], contents.clone());
    }
    let longer = [&state.meta[..], b"\0"].concat();
    refusal(&longer, contents.clone());
    for at in 0..state.meta.len() {
        for value in 0..=255 {
            let mut meta = state.meta.clone();
            meta[at] = value;
            if let Ok(world) = World::restore(config(), &meta, contents.clone()) {
                assert_eq!(world.state().meta, meta);
            }
        }
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for length in [0xff, 0x7f] {
        let mut meta = vec![0; 5];
        meta.extend([0xff, 0xff, 0xff, 0xff, length]);
        meta.extend([0; 20]);
        refusal(&meta, vec![Vec::new(), Vec::new()]);
    }
}
