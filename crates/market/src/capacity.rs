//! What a seller has: capacity that its asks share, and attributes that bids may ask for.
//!
//! Both are vectors of integers whose meaning is the driver's, so that a GPU or a traffic
//! instrument needs another number and not another book.

use serde::{Deserialize, Serialize};

/// Kinds of capacity. Clearing uses the first two (slots, MiB of memory).
pub const DIMENSIONS: usize = 4;

/// Kinds of attribute.
pub const ATTRIBUTES: usize = 4;

/// Whose asks share one capacity. Opaque here; clearing uses the machine's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u128);

/// How much of everything a group has, or a unit of an instrument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capacity(pub [u32; DIMENSIONS]);

/// Properties of a group; more is better, in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes(pub [u32; ATTRIBUTES]);

impl Capacity {
    /// How many units of `unit` fit into what is left beyond `used`. A unit that takes nothing
    /// fits as often as anybody likes.
    pub fn fits(&self, used: &Capacity, unit: &Capacity) -> u32 {
        let mut fits = u32::MAX;
        for ((all, used), unit) in self.0.iter().zip(used.0).zip(unit.0) {
            if let Some(times) = all.saturating_sub(used).checked_div(unit) {
                fits = fits.min(times);
            }
        }
        fits
    }

    pub(crate) fn add(&mut self, unit: &Capacity, times: u32) {
        for (amount, unit) in self.0.iter_mut().zip(unit.0) {
            *amount = amount.saturating_add(unit.saturating_mul(times));
        }
    }

    pub(crate) fn take(&mut self, unit: &Capacity, times: u32) {
        for (amount, unit) in self.0.iter_mut().zip(unit.0) {
            *amount = amount.saturating_sub(unit.saturating_mul(times));
        }
    }
}

impl Attributes {
    /// Whether each is at least as good as `least`'s.
    pub fn reach(&self, least: &Attributes) -> bool {
        self.0.iter().zip(least.0).all(|(has, least)| *has >= least)
    }
}

/// A group as the book keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) group: GroupId,
    pub(crate) capacity: Capacity,
    pub(crate) used: Capacity,
    pub(crate) attributes: Attributes,
    /// Open asks.
    pub(crate) asks: u32,
    /// The first of them.
    #[serde(skip, default = "crate::slab::none")]
    pub(crate) head: u32,
}
