//! What this machine earned, worked and moved per day of its owner's calendar.
//!
//! For its owner's eyes and the daily limit of traffic: what is owed is the exchange's to say. So
//! a file that is lost or damaged costs some figures, and never money.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base::LeaseId;
use serde::{Deserialize, Serialize};

use crate::durable;

/// Older days are forgotten.
const DAYS_MAX: usize = 400;
/// Leases of which nothing was heard for longer are over: an exchange that was away tells of no
/// closing.
const LEASES_MAX: usize = 1_000;

/// One day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub earned_nanocredits: i64,
    /// Of all slots together.
    pub worked_ms: u64,
    pub traffic_bytes: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Pages {
    /// By year, month and day: 20261123.
    days: BTreeMap<u32, Day>,
    /// What each open lease had earned when it was last heard of.
    leases: BTreeMap<LeaseId, i64>,
    /// The fastest that a core of it was measured at.
    mfuel_per_s: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    path: PathBuf,
    pages: Pages,
    changed: bool,
}

impl Books {
    /// As they were left; empty if they can't be read.
    pub(crate) fn open(path: &Path) -> Books {
        let text = fs::read_to_string(path).unwrap_or_default();
        let pages = match serde_json::from_str(&text) {
            Ok(pages) => pages,
            Err(_) if text.is_empty() => Pages::default(),
            Err(error) => {
                tracing::warn!("{} is damaged and begun anew: {error}", path.display());
                Pages::default()
            }
        };
        Books { path: path.to_owned(), pages, changed: false }
    }

    /// A lease has earned so much since it opened; `is_over` if it is closed.
    pub(crate) fn paid(&mut self, day: u32, lease: LeaseId, paid_nanocredits: i64, is_over: bool) {
        let known = self.pages.leases.entry(lease).or_default();
        let more = paid_nanocredits.saturating_sub(*known).max(0);
        *known = paid_nanocredits.max(*known);
        if is_over {
            self.pages.leases.remove(&lease);
        }
        while self.pages.leases.len() > LEASES_MAX {
            self.pages.leases.pop_first();
        }
        self.day(day).earned_nanocredits += more;
    }

    /// Slots worked so long together.
    pub(crate) fn worked(&mut self, day: u32, ms: u64) {
        if ms > 0 {
            self.day(day).worked_ms += ms;
        }
    }

    /// So many bytes went in and out.
    pub(crate) fn moved(&mut self, day: u32, bytes: u64) {
        if bytes > 0 {
            self.day(day).traffic_bytes += bytes;
        }
    }

    /// A core of this computer was measured at so many millions of fuel per second.
    pub(crate) fn measured(&mut self, mfuel_per_s: u32) {
        if mfuel_per_s > self.pages.mfuel_per_s {
            self.pages.mfuel_per_s = mfuel_per_s;
            self.changed = true;
        }
    }

    /// The fastest that it was measured at; 0 before.
    pub(crate) fn mfuel_per_s(&self) -> u32 {
        self.pages.mfuel_per_s
    }

    fn day(&mut self, day: u32) -> &mut Day {
        self.changed = true;
        while self.pages.days.len() > DAYS_MAX {
            self.pages.days.pop_first();
        }
        self.pages.days.entry(day).or_default()
    }

    /// One day's figures.
    pub(crate) fn of_day(&self, day: u32) -> Day {
        self.pages.days.get(&day).copied().unwrap_or_default()
    }

    /// Those of the month of a day, up to now.
    pub(crate) fn of_month(&self, day: u32) -> Day {
        let month = day / 100;
        self.pages.days.range(month * 100..(month + 1) * 100).fold(
            Day::default(),
            |sum, (_, day)| Day {
                earned_nanocredits: sum.earned_nanocredits + day.earned_nanocredits,
                worked_ms: sum.worked_ms + day.worked_ms,
                traffic_bytes: sum.traffic_bytes + day.traffic_bytes,
            },
        )
    }

    /// Writes what changed.
    pub(crate) fn keep(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let text = serde_json::to_vec(&self.pages).expect("plain structs of numbers");
        if let Err(error) = durable::keep(&self.path, &text) {
            tracing::warn!("{} can't be written: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_twice_counts_once_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("books.json");
        let mut books = Books::open(&path);
        let (ant, bee) = (LeaseId(1), LeaseId(2));
        books.paid(20_261_130, ant, 100, false);
        books.paid(20_261_130, ant, 100, false);
        books.paid(20_261_130, bee, 7, true);
        books.worked(20_261_130, 5_000);
        books.keep();
        let mut books = Books::open(&path);
        books.paid(20_261_201, ant, 150, false);
        books.paid(20_261_201, ant, 150, true);
        books.moved(20_261_201, 9);
        let day = |earned, worked_ms, traffic_bytes| Day {
            earned_nanocredits: earned,
            worked_ms,
            traffic_bytes,
        };
        assert_eq!(books.of_day(20_261_130), day(107, 5_000, 0));
        assert_eq!(books.of_day(20_261_201), day(50, 0, 9));
        assert_eq!(books.of_month(20_261_130), day(107, 5_000, 0));
        assert_eq!(books.of_month(20_261_215), day(50, 0, 9));
        assert!(books.pages.leases.is_empty());
        books.measured(4_000);
        books.measured(3_000);
        books.keep();
        assert_eq!(Books::open(&path).mfuel_per_s(), 4_000);
        fs::write(&path, "{").unwrap();
        assert_eq!(Books::open(&path).of_day(20_261_130), Day::default());
    }
}
