//! Journals of every released format, folded by today's program. An old history must stay
//! readable, and come to the money that it came to then; and a change of the state's encoding
//! must be noticed, since snapshots are read by its version.
//!
//! `journals/VERSION.jsonl` has the entries as they were stored; `VERSION.expected` what they come
//! to. `JUSHA_GOLDEN=write` writes the latter anew after [`STATE_VERSION`] was raised; an entry
//! file is never changed. At a release, add one: `cargo xtask sim --journal SEED >FILE` writes it.

use std::path::Path;

use clearing::{Command, Event, STATE_VERSION, State};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    sequence: u64,
    command: Command,
    events: Vec<Event>,
}

/// What must stay as it is: every balance, and under one version of the encoding every byte.
fn summary(state: &State) -> String {
    let mut text = format!("state version {STATE_VERSION} digest {}\n", state.digest());
    for (account, balance) in state.ledger().balances() {
        text += &format!("{account} {balance}\n");
    }
    text
}

#[test]
fn old_journals_fold_to_what_they_were() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    let mut found = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        found += 1;
        let mut state = State::default();
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut last, mut transfers) = (0, 0);
        for line in text.lines() {
            let entry: Entry = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
            assert!(entry.sequence > last, "{}", path.display());
            last = entry.sequence;
            // What was stored can be stored again.
            serde_json::to_string(&entry.command).unwrap();
            for event in &entry.events {
                transfers += u32::from(matches!(event, Event::Transferred { .. }));
                state.evolve(event);
            }
        }
        let check = state.ledger().check();
        assert!(check.is_sound(), "{}: {check:?}", path.display());
        assert!(transfers > 10, "{}: a journal without money", path.display());
        assert!(state.leases().count() > 5, "{}: a journal of nothing much", path.display());
        assert_eq!(State::decode(&state.encode()).as_ref(), Some(&state));

        let golden = path.with_extension("expected");
        let now = summary(&state);
        if std::env::var_os("JUSHA_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&golden, &now).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let balances = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(balances(&now), balances(&expected), "{}", path.display());
        assert!(
            now == expected,
            "{}: the state's encoding has changed: raise STATE_VERSION in clearing, and run this \
             with JUSHA_GOLDEN=write",
            path.display()
        );
    }
    assert!(found > 0, "there are no journals");
}
