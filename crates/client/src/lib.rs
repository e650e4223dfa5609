//! The buyer's and owner's side of an exchange: a typed client of its REST interface, and the
//! few steps that every submission shares.
//!
//! A request that fails on the way is *unknown*, not failed: so everything that changes
//! something carries an id made here, and [`Client`]'s methods may be called again with the
//! same arguments until they are answered.

mod blobs;
mod error;
mod feed;
mod fixed;
mod jobs;
mod market;
mod money;
mod rest;

pub use error::ClientError;
pub use feed::{Feed, FeedNews, Follower, Step};
pub use jobs::{Patience, random_id};
pub use rest::{Client, Reach};
