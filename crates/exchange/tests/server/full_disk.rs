//! The disk of the exchange runs full, and has space again.
//!
//! The data directory is a tmpfs of 4 MiB in a mount namespace of its own: the test starts
//! itself once more inside of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::harness::{CREDIT, Server, refusal};
use base::TransferId;
use reqwest::Method;
use wire::{NewDeposit, Wallet};

const DIRECTORY: &str = "JUSHA_TEST_FULL_DISK";
const TEST: &str = "full_disk::a_full_disk_is_said_and_nothing_is_lost";

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(on_a_small_disk(Path::new(&directory)));
    }
    let directory = tempfile::tempdir().unwrap();
    let inside = "mount -t tmpfs -o size=4m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let run = |rights: &[&str]| {
        Command::new("unshare")
            .args(rights)
            .args(["--mount", "sh", "-c", inside, "sh"])
            .arg(directory.path())
            .arg(std::env::current_exe().unwrap())
            .arg(TEST)
            .env(DIRECTORY, directory.path())
            .output()
            .expect("this test needs `unshare` (util-linux)")
    };
    // As root, else as root of a user namespace.
    let mut output = run(&[]);
    if String::from_utf8_lossy(&output.stderr).contains("unshare failed") {
        output = run(&["--user", "--map-root-user"]);
    }
    assert!(
        output.status.success(),
        "in the mount namespace (which this test can't do without):\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "the test inside did not run:\n{said}");
}

async fn on_a_small_disk(data: &Path) {
    let server = Server::start(data).await;
    let (account, client) = server.account("Ada", CREDIT).await;
    let small = client.put_blob("small").await;

    let ballast = data.join("ballast");
    fill(&ballast);
    let upload = client.request(Method::POST, "/v1/blobs").body(vec![7; 100_000]);
    let (status, error) = refusal(upload).await;
    assert_eq!((status, error.code.as_str()), (507, "storage_full"));
    assert!(error.message.contains("disk of the exchange is full"), "{}", error.message);
    assert_eq!(fs::read_dir(data.join("blobs/tmp")).unwrap().count(), 0, "no partial file");

    // The log's free part may take a few; then it is full.
    let deposit = |number: u32| NewDeposit {
        account,
        amount_nanocredits: CREDIT,
        transfer: TransferId(u128::from(number) + 1_000),
    };
    let mut accepted = 0;
    let refused = loop {
        assert!(accepted < 10_000, "the disk is never full");
        let request =
            server.operator.request(Method::POST, "/v1/deposits").json(&deposit(accepted));
        let response = request.send().await.unwrap();
        if !response.status().is_success() {
            break response;
        }
        accepted += 1;
    };
    assert_eq!(refused.status(), 507);
    let error: wire::ErrorBody = refused.json().await.unwrap();
    assert_eq!(error.code, "storage_full");

    // Reads go on, and know only what was answered.
    let expected = CREDIT * (1 + i64::from(accepted));
    let wallet: Wallet = client.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, expected);
    server.sound().await;
    let path = format!("/v1/blobs/{small}");
    assert_eq!(client.request(Method::GET, &path).send().await.unwrap().status(), 200);

    // With space again, the same request is done.
    fs::remove_file(&ballast).unwrap();
    let wallet: Wallet = server.operator.post("/v1/deposits", &deposit(accepted)).await;
    assert_eq!(wallet.available_nanocredits, expected + CREDIT);
    client.put_blob(vec![7; 100_000]).await;
    let audit = server.sound().await;
    server.stop().await;
    let server = Server::start(data).await;
    assert_eq!(server.info().await.state_digest, audit.state_digest);
    server.stop().await;
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
