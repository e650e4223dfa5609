//! What every request handler shares.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use base::{Digest, ExchangeId};
use tokio::sync::{Notify, Semaphore, watch};

use crate::blobs::{BlobError, BlobStore};
use crate::calibration::Calibration;
use crate::config::Config;
use crate::error::ApiError;
use crate::grants::Partners;
use crate::holds::Holds;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::rate::Buckets;
use crate::sequencer::Sequencer;
use crate::store::{NewReader, StoreError, StoreReader};

/// Readers that are kept for the next request.
const READERS_KEPT: usize = 8;

/// One running exchange.
pub(crate) struct App {
    pub config: Config,
    pub exchange: ExchangeId,
    pub public_url: String,
    /// Those who sign in.
    pub passwords: Passwords,
    /// Digest of it.
    pub operator_token: Digest,
    pub sequencer: Sequencer,
    pub blobs: Arc<dyn BlobStore>,
    /// How machines' speed is measured, if the operator provided for it.
    pub calibration: Option<Calibration>,
    /// Who holds which of them.
    pub holds: Holds,
    /// Who reads whose.
    pub partners: Partners,
    pub blob_reads: Arc<Semaphore>,
    /// Uploads of blobs under way.
    pub blob_writes: Semaphore,
    /// Turns of those who send more JSON than is gathered for everybody.
    pub large_bodies: Semaphore,
    /// What is counted.
    pub metrics: Metrics,
    /// Who may ask how often.
    pub buckets: Mutex<Buckets>,
    pub new_reader: NewReader,
    pub readers: Mutex<Vec<Box<dyn StoreReader>>>,
    /// Numbers agents' connections.
    pub connections: AtomicU64,
    /// Turns true when the exchange shuts down: long polls end.
    pub closing: watch::Receiver<bool>,
    /// A payment may have been approved.
    pub payment_approved: Arc<Notify>,
}

impl App {
    /// Reads what is committed, off the async threads.
    pub async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&mut dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let kept = app.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = match kept {
                Some(reader) => reader,
                None => (app.new_reader)()?,
            };
            let result = read(reader.as_mut());
            let mut readers = app.readers.lock().unwrap_or_else(PoisonError::into_inner);
            // One that failed may be broken: the next request gets a fresh one.
            if result.is_ok() && readers.len() < READERS_KEPT {
                readers.push(reader);
            }
            result
        });
        Ok(done.await.map_err(|_| ApiError::Internal)??)
    }

    /// Works with blobs, off the async threads.
    pub async fn with_blobs<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&dyn BlobStore) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let blobs = Arc::clone(&self.blobs);
        let done = tokio::task::spawn_blocking(move || work(blobs.as_ref()));
        Ok(done.await.map_err(|_| ApiError::Internal)??)
    }
}
