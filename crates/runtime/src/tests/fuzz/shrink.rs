//! Smaller inputs that fail the same way, as far as that is cheap.

use super::check::{Failure, Seen};
use super::sections::Sections;

/// Takes away stops and function bodies for as long as it fails with the same words.
pub fn module(
    module: &[u8],
    failure: &Failure,
    mut check: impl FnMut(&[u8], &[u64]) -> Result<Seen, Failure>,
) -> (Vec<u8>, Vec<u64>) {
    let kind = failure.kind().to_owned();
    let mut fails = |module: &[u8], stops: &[u64]| {
        check(module, stops).err().is_some_and(|failure| failure.kind() == kind)
    };
    let mut stops = failure.stops.clone();
    let mut best = module.to_vec();
    if fails(&best, &[]) {
        stops.clear();
    } else if let Some(&one) = stops.iter().find(|&&stop| fails(&best, &[stop])) {
        stops = vec![one];
    }
    let count = Sections::read(&best).map_or(0, |sections| sections.defined());
    for function in 0..count {
        let smaller = Sections::read(&best).and_then(|sections| sections.without_body(function));
        if let Some(smaller) = smaller
            && fails(&smaller, &stops)
        {
            best = smaller;
        }
    }
    (best, stops)
}

/// Takes away runs of bytes, ever shorter ones.
pub fn bytes(bytes: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = bytes.to_vec();
    let mut tries = 0;
    let mut run = best.len() / 2;
    while run > 0 && tries < 2000 {
        let mut at = 0;
        while at + run <= best.len() && tries < 2000 {
            tries += 1;
            let smaller = [&best[..at], &best[at + run..]].concat();
            if fails(&smaller) {
                best = smaller;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    best
}
