//! Rounds with a time that the tests make, failing stores, and snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{AccountId, Digest, ExchangeId, TransferId};

use super::*;
use crate::store::{NewReader, Past, PastRow, SqliteStore};

/// A store whose commits fail when told so.
struct Flaky {
    inner: SqliteStore,
    broken: Arc<AtomicBool>,
}

impl Store for Flaky {
    fn exchange(&self) -> ExchangeId {
        self.inner.exchange()
    }
    fn begin(&mut self) -> Result<(), StoreError> {
        self.inner.begin()
    }
    fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.inner.append(entry)
    }
    fn join_code(
        &mut self,
        code: &Digest,
        machine: MachineId,
        now_ms: i64,
    ) -> Result<JoinCodeState, StoreError> {
        self.inner.join_code(code, machine, now_ms)
    }
    fn keep_past(&mut self, rows: &[PastRow]) -> Result<(), StoreError> {
        self.inner.keep_past(rows)
    }
    fn past(&mut self, past: Past, id: &str) -> Result<Option<String>, StoreError> {
        self.inner.past(past, id)
    }
    fn has_past(&mut self) -> Result<bool, StoreError> {
        self.inner.has_past()
    }
    fn change(&mut self, change: &CredentialChange) -> Result<(), StoreError> {
        self.inner.change(change)
    }
    fn commit(&mut self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        self.inner.commit()
    }
    fn rollback(&mut self) {
        self.inner.rollback();
    }
    fn reader_maker(&self) -> NewReader {
        self.inner.reader_maker()
    }
}

const MACHINE: MachineId = MachineId(7);

/// A worker whose time a test makes.
fn worker(directory: &std::path::Path) -> Worker {
    let path = directory.join("exchange.sqlite");
    let store = SqliteStore::open(&path, ExchangeId(1)).unwrap();
    let config = Config::new(directory, ([127, 0, 0, 1], 0).into());
    Worker::new(Box::new(store), &config).unwrap()
}

fn round_at(worker: &mut Worker, mut requests: Vec<Request>, now: Instant) {
    worker.hear(&requests, now);
    worker.round(&mut requests, now);
}

#[test]
fn a_stall_of_the_exchange_is_nobodys_silence() {
    let directory = tempfile::tempdir().unwrap();
    let mut worker = worker(directory.path());
    let start = worker.round_at;
    let at = |ms| start + Duration::from_millis(ms);
    let (sender, _receiver) = mpsc::channel(8);
    let link = crate::presence::Link { connection: 1, sender, runtimes: Vec::new() };
    round_at(&mut worker, vec![Request::Connect { machine: MACHINE, link }], at(0));
    // Stopped for a minute; what the agent said meanwhile is not read yet.
    round_at(&mut worker, vec![], at(60_000));
    assert!(worker.core.presence.is_online(MACHINE));
    // Then it is silent itself.
    for quarters in 1..24 {
        round_at(&mut worker, vec![], at(60_000 + 250 * quarters));
        assert!(worker.core.presence.is_online(MACHINE), "{quarters}");
    }
    round_at(&mut worker, vec![], at(66_000));
    assert!(!worker.core.presence.is_online(MACHINE), "true silence still counts");
}

#[test]
fn a_heartbeat_that_waits_counts_before_the_timers() {
    let directory = tempfile::tempdir().unwrap();
    let mut worker = worker(directory.path());
    let start = worker.round_at;
    let (sender, _receiver) = mpsc::channel(8);
    let link = crate::presence::Link { connection: 1, sender, runtimes: Vec::new() };
    round_at(&mut worker, vec![Request::Connect { machine: MACHINE, link }], start);
    for second in 1..6 {
        round_at(&mut worker, vec![], start + Duration::from_secs(second));
    }
    let beat = Request::Heartbeat { machine: MACHINE, connection: 1, progress: vec![] };
    round_at(&mut worker, vec![beat], start + Duration::from_secs(6));
    assert!(worker.core.presence.is_online(MACHINE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_committed_never_happened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("exchange.sqlite");
    let broken = Arc::new(AtomicBool::new(false));
    let inner = SqliteStore::open(&path, ExchangeId(1)).unwrap();
    let store = Box::new(Flaky { inner, broken: Arc::clone(&broken) });
    let config = Config::new(directory.path(), ([127, 0, 0, 1], 0).into());
    let (sequencer, thread) = start(store, &config).unwrap();

    let account = AccountId(7);
    let deposit = |number| Command::Deposit {
        transfer: TransferId(number),
        account,
        amount_nanocredits: 100,
    };
    let look = async || {
        let look = |core: &mut Core| {
            (core.sequence, core.digest(), core.state.available_nanocredits(AccountId(7)))
        };
        sequencer.read(look).await.unwrap()
    };
    let open = Command::OpenAccount { account, name: "Ada".to_owned() };
    let token = CredentialChange::AddAccountToken { token: Digest::of(b"t"), account };
    sequencer.command_with(open, token).await.unwrap();
    sequencer.command(deposit(1)).await.unwrap();
    let before = look().await;
    assert_eq!((before.0, before.2), (2, 100));

    broken.store(true, Ordering::SeqCst);
    let failed = tokio::join!(sequencer.command(deposit(2)), sequencer.command(deposit(3)));
    assert_eq!(failed, (Err(Failure::StorageFull), Err(Failure::StorageFull)));
    assert_eq!(look().await, before);

    broken.store(false, Ordering::SeqCst);
    sequencer.command(deposit(2)).await.unwrap();
    let after = look().await;
    assert_eq!((after.0, after.2), (3, 200));
    sequencer.send(Request::Stop).await.unwrap();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    assert_eq!(sequencer.command(deposit(4)).await, Err(Failure::Stopped));
}

/// A round of one command.
fn command(worker: &mut Worker, command: Command) {
    let (reply, _answer) = oneshot::channel();
    let now = worker.round_at;
    round_at(worker, vec![Request::Command { command, change: None, reply }], now);
    if let Some(writing) = worker.snapshot.take() {
        writing.join().unwrap();
    }
}

fn open_account(worker: &mut Worker) {
    command(worker, Command::OpenAccount { account: AccountId(7), name: "Ada".to_owned() });
}

/// Deposits of one nanocredit each, a round each.
fn deposits(worker: &mut Worker, numbers: std::ops::Range<u128>) {
    for number in numbers {
        let (transfer, account) = (TransferId(number), AccountId(7));
        command(worker, Command::Deposit { transfer, account, amount_nanocredits: 1 });
    }
}

/// A worker on what is in a directory, that writes a snapshot every five entries.
fn reopened(directory: &std::path::Path) -> Worker {
    let store = SqliteStore::open(&directory.join("exchange.sqlite"), ExchangeId(1)).unwrap();
    let mut config = Config::new(directory, ([127, 0, 0, 1], 0).into());
    config.snapshot_entries = 5;
    Worker::new(Box::new(store), &config).unwrap()
}

fn snapshots(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let listed = std::fs::read_dir(directory.join("snapshots")).unwrap();
    let mut files: Vec<_> = listed.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_start_folds_from_the_newest_snapshot_that_is_whole_and_fits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut worker = reopened(path);
    open_account(&mut worker);
    deposits(&mut worker, 0..17);
    let expected = (worker.core.sequence, worker.core.digest());
    assert_eq!(expected.0, 18);
    drop(worker);
    let check = |from: u64| {
        let mut worker = reopened(path);
        assert_eq!(worker.core.snapshot_sequence, from);
        assert_eq!((worker.core.sequence, worker.core.digest()), expected);
        let whole = crate::core::fold(worker.reader.as_mut(), u64::MAX).unwrap();
        assert_eq!(whole.digest(), expected.1);
    };
    // Two are kept.
    let files = snapshots(path);
    assert_eq!(files.len(), 2, "{files:?}");
    check(15);

    // Every byte matters: one of the state, one of the header, the end.
    let whole = std::fs::read(&files[1]).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for damage in [line + 40, 30, line] {
        let mut bytes = whole.clone();
        bytes[damage] ^= 1;
        std::fs::write(&files[1], bytes).unwrap();
        check(10);
    }
    std::fs::write(&files[1], &whole[..whole.len() - 1]).unwrap();
    check(10);
    std::fs::write(&files[0], b"").unwrap();
    check(0);
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], &whole).unwrap();
    check(15);
    std::fs::remove_dir_all(path.join("snapshots")).unwrap();
    check(0);
}

/// A database from a backup has fewer entries than the snapshots beside it, or, later on, others
/// under the same numbers.
#[test]
fn a_snapshot_of_another_history_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut worker = reopened(path);
    open_account(&mut worker);
    deposits(&mut worker, 0..2);
    drop(worker);
    let files = ["exchange.sqlite", "exchange.sqlite-wal", "exchange.sqlite-shm"];
    let backup = files.map(|name| std::fs::read(path.join(name)).ok());
    let mut worker = reopened(path);
    deposits(&mut worker, 2..8);
    assert_eq!(snapshots(path).len(), 1);
    drop(worker);

    for (name, bytes) in files.iter().zip(backup) {
        let _ = std::fs::remove_file(path.join(name));
        if let Some(bytes) = bytes {
            std::fs::write(path.join(name), bytes).unwrap();
        }
    }
    let mut worker = reopened(path);
    assert_eq!((worker.core.snapshot_sequence, worker.core.sequence), (0, 3));
    worker.snapshot_entries = 1_000;
    deposits(&mut worker, 100..110);
    let digest = worker.core.digest();
    drop(worker);
    let mut worker = reopened(path);
    assert_eq!((worker.core.snapshot_sequence, worker.core.sequence), (0, 13));
    assert_eq!(worker.core.digest(), digest);
}
