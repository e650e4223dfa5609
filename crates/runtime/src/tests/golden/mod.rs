//! Golden files: encodings and figures as they were when their version was given out.
//!
//! A change that alters one of them alters what machines of two versions say of the same task,
//! so it has to raise a version. The files name the versions that they were written under:
//! writing them anew (`JUSHA_GOLDEN=write`) under the same ones is refused.

mod encodings;

use std::path::Path;

/// The versions that a golden file depends on.
fn versions() -> String {
    format!(
        "transform {}, cost table {}, checkpoint {}, file {}\n",
        crate::TRANSFORM_VERSION,
        crate::COST_TABLE_VERSION,
        crate::checkpoint::VERSION,
        crate::save::VERSION
    )
}

/// What to do about a golden file that is not what was computed.
fn verdict(kept: Option<&str>, versions: &str, body: &str, write: bool) -> Result<bool, String> {
    let wanted = format!("{versions}{body}");
    match kept {
        Some(kept) if kept == wanted => Ok(false),
        None if write => Ok(true),
        None => Err("it is lacking: write it with JUSHA_GOLDEN=write".to_owned()),
        // A new guest changes nothing of the others.
        Some(kept) if kept.lines().all(|line| wanted.lines().any(|now| now == line)) => match write
        {
            true => Ok(true),
            false => Err("it lacks lines: write it with JUSHA_GOLDEN=write".to_owned()),
        },
        Some(kept) if kept.starts_with(versions) => Err(format!(
            "what it pins down has changed under the same versions. If that was not meant, it is \
             a bug: the same task would have another chain than yesterday. If it was, raise \
             COST_TABLE_VERSION, TRANSFORM_VERSION or the format's version first.\n\
             --- kept\n{kept}--- now\n{wanted}"
        )),
        Some(_) if write => Ok(true),
        Some(kept) => Err(format!(
            "a version was raised: write it anew with JUSHA_GOLDEN=write\n\
             --- kept\n{kept}--- now\n{wanted}"
        )),
    }
}

/// Compares with the golden file, or writes it if a version was raised.
pub fn check(name: &str, body: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name);
    let kept = std::fs::read_to_string(&path).ok();
    let write = std::env::var_os("JUSHA_GOLDEN").is_some_and(|word| word == "write");
    match verdict(kept.as_deref(), &versions(), body, write) {
        Ok(false) => {}
        Ok(true) => {
            std::fs::write(&path, format!("{}{body}", versions())).expect("the golden file");
        }
        Err(why) => panic!("{}: {why}", path.display()),
    }
}

#[test]
fn a_change_without_a_new_version_is_refused() {
    let verdict = |kept, versions, body, write| super::golden::verdict(kept, versions, body, write);
    assert_eq!(verdict(Some("v 1\na\n"), "v 1\n", "a\n", false), Ok(false));
    for write in [false, true] {
        let refused = verdict(Some("v 1\na\n"), "v 1\n", "b\n", write).unwrap_err();
        assert!(refused.contains("raise"), "{refused}");
    }
    assert!(verdict(Some("v 1\na\n"), "v 1\n", "b\na\n", false).is_err());
    assert_eq!(verdict(Some("v 1\na\n"), "v 1\n", "b\na\n", true), Ok(true));
    assert!(verdict(Some("v 1\na\n"), "v 2\n", "b\n", false).is_err());
    assert_eq!(verdict(Some("v 1\na\n"), "v 2\n", "b\n", true), Ok(true));
    assert_eq!(verdict(None, "v 1\n", "a\n", true), Ok(true));
}
