//! Whatever a program calls: a world that is saved and restored at any points answers as one
//! that isn't, and has the same state in the end.

use proptest::prelude::*;

use super::*;

/// A call with its strings and numbers drawn from few values, so that calls meet.
#[derive(Debug, Clone)]
struct Call {
    function: Function,
    args: [u64; 9],
    path: String,
    other_path: String,
    fuel: u64,
    /// Save and restore before it.
    interrupted: bool,
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["out", "tmp", "in", "a", "b", "c", "deep", ".", "..", ""]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..12u64,
        1 => 0..600u64,
        1 => Just(u64::MAX),
        1 => any::<u64>(),
        1 => Just(u64::from(OUT)),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    let functions = prop_oneof![
        2 => prop::sample::select(Function::ALL.to_vec()),
        3 => prop::sample::select(vec![
            Function::PathOpen,
            Function::FdWrite,
            Function::FdPwrite,
            Function::FdRead,
            Function::FdSeek,
            Function::FdClose,
            Function::FdRenumber,
            Function::FdReaddir,
            Function::FdFilestatSetSize,
            Function::PathRename,
            Function::PathUnlinkFile,
            Function::PathCreateDirectory,
            Function::PathRemoveDirectory,
        ]),
    ];
    let fields = (functions, prop::array::uniform9(number()), path(), path());
    (fields, 0..10_000u64, prop::bool::weighted(0.2)).prop_map(
        |((function, args, path, other_path), fuel, interrupted)| Call {
            function,
            args,
            path,
            other_path,
            fuel,
            interrupted,
        },
    )
}

/// The parameters, with pointers that mostly lead somewhere.
fn place(guest: &mut Guest, call: &Call) -> Vec<u64> {
    let mut args = call.args;
    let [path, path_len] = guest.put(PATH, call.path.as_bytes());
    let [other, other_len] = guest.put(OTHER_PATH, call.other_path.as_bytes());
    let buffers = guest.buffer(DATA, (call.args[8] % 300) as u32);
    let mut set = |values: &[(usize, u64)]| {
        for (index, value) in values {
            args[*index] = *value;
        }
    };
    use Function as F;
    match call.function {
        F::PathOpen => {
            set(&[(0, 3), (1, 1), (2, path), (3, path_len), (8, OUT.into())]);
            set(&[(4, call.args[4] & 15), (5, READ | call.args[5] & WRITE), (7, call.args[7] & 1)]);
        }
        F::FdWrite | F::FdRead => set(&[(1, buffers), (2, 1), (3, OUT.into())]),
        F::FdPwrite | F::FdPread => set(&[(1, buffers), (2, 1), (4, OUT.into())]),
        F::FdReaddir => set(&[(1, DATA.into()), (2, call.args[2] % 500), (4, OUT.into())]),
        F::PathRename => {
            set(&[(0, 3), (1, path), (2, path_len), (3, 3), (4, other), (5, other_len)]);
        }
        F::PathUnlinkFile | F::PathCreateDirectory | F::PathRemoveDirectory => {
            set(&[(0, 3), (1, path), (2, path_len)]);
        }
        F::RandomGet => set(&[(0, DATA.into()), (1, call.args[1] % 1000)]),
        _ => {}
    }
    args[..call.function.signature().params.len()].to_vec()
}

/// All that holds of every world.
fn check(world: &World) {
    let files: usize = world.state().contents.iter().map(|content| content.len()).sum();
    assert_eq!(files as u64, world.tree.used);
    assert!(world.tree.used <= world.tree.max);
    for (inode, node) in &world.tree.nodes {
        let opens =
            world.descriptors.0.values().filter(|open| open.inode() == Some(*inode)).count();
        assert_eq!(opens, node.opens as usize, "{node:?}");
        if let super::super::tree::Kind::Directory(directory) = &node.kind {
            assert_eq!(directory.entries.len(), directory.order.len());
        }
        assert!(node.parent != super::super::tree::NOWHERE || opens > 0);
    }
    assert_eq!(world.tree.first_created, 11);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn interrupted_is_as_uninterrupted(calls in prop::collection::vec(any_call(), 1..120)) {
        let mut steady = Guest::new();
        let mut moving = Guest::new();
        let mut fuel = 0;
        for call in &calls {
            fuel += call.fuel;
            steady.fuel = fuel;
            if call.interrupted {
                moving = moving.moved(config());
            }
            moving.fuel = fuel;
            let args = place(&mut steady, call);
            place(&mut moving, call);
            prop_assert_eq!(
                steady.answer(call.function, &args),
                moving.answer(call.function, &args)
            );
            prop_assert!(steady.memory == moving.memory);
            check(&moving.world);
        }
        prop_assert_eq!(steady.world.state(), moving.world.state());
        prop_assert_eq!(steady.world.outputs(), moving.world.outputs());
    }

    #[test]
    fn a_damaged_state_is_refused_or_is_a_state(
        before in prop::collection::vec(any_call(), 0..60),
        after in prop::collection::vec(any_call(), 0..60),
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<u16>()),
    ) {
        let mut guest = Guest::new();
        for call in &before {
            let args = place(&mut guest, call);
            guest.answer(call.function, &args);
        }
        let state = guest.world.state();
        let contents: Vec<Vec<u8>> = state.contents.iter().map(|c| c.to_vec()).collect();
        let mut meta = state.meta;
        for (at, value) in changes {
            let at = usize::from(at) % meta.len();
            meta[at] = value;
        }
        if let Some(cut) = cut {
            meta.truncate(usize::from(cut) % meta.len());
        }
        if let Ok(world) = World::restore(config(), &meta, contents.clone()) {
            prop_assert_eq!(&world.state().meta, &meta);
            prop_assert_eq!(&world.state().contents, &contents);
            let mut guest = Guest { world, memory: vec![0; MEMORY_BYTES], fuel: 0 };
            for call in &after {
                let args = place(&mut guest, call);
                guest.answer(call.function, &args);
                check(&guest.world);
            }
        }
    }
}
