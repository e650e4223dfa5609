//! The exchange's disk: what was committed survives, everything else may not.

use base::Digest;
use clearing::{Command, Event, State};

use crate::random::Random;

/// A write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskError;

/// One journal entry, as it is stored.
#[derive(Debug, Clone)]
pub struct Entry {
    pub sequence: u64,
    pub now_ms: i64,
    command: Vec<u8>,
    events: Vec<u8>,
}

impl Entry {
    /// Encodes what was decided.
    pub fn new(sequence: u64, now_ms: i64, command: &Command, events: &[Event]) -> Self {
        let encoded = "commands and events can be encoded";
        Entry {
            sequence,
            now_ms,
            command: serde_json::to_vec(command).expect(encoded),
            events: serde_json::to_vec(events).expect(encoded),
        }
    }

    fn fold(&self, state: &mut State) {
        let events: Vec<Event> = serde_json::from_slice(&self.events).expect("as it was written");
        let _: Command = serde_json::from_slice(&self.command).expect("as it was written");
        for event in &events {
            state.evolve(event);
        }
    }
}

struct Snapshot {
    entries: usize,
    digest: Digest,
    encoded: Vec<u8>,
}

/// See the module.
#[derive(Default)]
pub struct Disk {
    entries: Vec<Entry>,
    /// Of the open transaction.
    open: Vec<Entry>,
    snapshots: Vec<Snapshot>,
    /// One write in so many fails; 0: none.
    pub failing: u64,
}

impl Disk {
    fn write(&self, random: &mut Random) -> Result<(), DiskError> {
        if self.failing > 0 && random.one_in(self.failing) { Err(DiskError) } else { Ok(()) }
    }

    /// Adds to the open transaction.
    pub fn append(&mut self, entry: Entry, random: &mut Random) -> Result<(), DiskError> {
        self.write(random)?;
        self.open.push(entry);
        Ok(())
    }

    /// Makes the open transaction durable, wholly or not at all.
    pub fn commit(&mut self, random: &mut Random) -> Result<(), DiskError> {
        self.write(random)?;
        self.entries.append(&mut self.open);
        Ok(())
    }

    /// Forgets the open transaction.
    pub fn rollback(&mut self) {
        self.open.clear();
    }

    /// Entries that are durable.
    pub fn committed(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The journal as lines of JSON.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for Entry { sequence, now_ms, command, events } in &self.entries {
            let text = |encoded| String::from_utf8_lossy(encoded).into_owned();
            let (command, events) = (text(command), text(events));
            lines += &format!(
                "{{\"sequence\":{sequence},\"now_ms\":{now_ms},\"command\":{command},\
                 \"events\":{events}}}\n"
            );
        }
        lines
    }

    /// Writes a snapshot of the state after the last entry; sometimes it is damaged.
    pub fn snapshot(&mut self, state: &State, random: &mut Random) {
        let mut encoded = state.encode();
        let digest = Digest::of(&encoded);
        if self.write(random).is_err() {
            let damaged = random.below(encoded.len() as u64) as usize;
            encoded[damaged] ^= 1 << random.below(8);
        }
        self.snapshots.push(Snapshot { entries: self.entries.len(), digest, encoded });
    }

    /// The state, sequence and time after the last entry: from the newest snapshot that is whole,
    /// which must be what the whole journal gives.
    pub fn recover(&self) -> (State, u64, i64) {
        let whole = |snapshot: &&Snapshot| Digest::of(&snapshot.encoded) == snapshot.digest;
        let (mut state, folded) = match self.snapshots.iter().rev().find(whole) {
            Some(found) => (State::decode(&found.encoded).expect("its digest fits"), found.entries),
            None => (State::default(), 0),
        };
        for entry in &self.entries[folded..] {
            entry.fold(&mut state);
        }
        let mut from_first = State::default();
        for (index, entry) in self.entries.iter().enumerate() {
            assert_eq!(entry.sequence, index as u64 + 1, "a gap in the journal");
            entry.fold(&mut from_first);
        }
        assert_eq!(state.digest(), from_first.digest(), "a snapshot is not the journal's fold");
        let last = self.entries.last();
        (state, self.committed(), last.map_or(0, |entry| entry.now_ms))
    }
}
