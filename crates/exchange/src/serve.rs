//! Connections: accepting, time-outs, and a soft end.
//!
//! No connection is waited for without bound: one that doesn't finish sending a request's head,
//! or takes nothing of its answer for a while, is closed. There are so many at once and no more,
//! in all and of one address: one too many is closed without a word, which costs least.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::http::caller::Peer;
use crate::rate::subscriber;

/// How long accepting pauses when the system has no more file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long a TLS handshake may take: a few messages, and no work of ours in between.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What is buffered of a connection's requests and answers beside what handlers hold.
const BUFFER_BYTES: usize = 64 << 10;
/// Files that are open for other things than connections.
const OTHER_FILES: u64 = 512;

/// How long connections are waited for, and how many there may be.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// A request's head must be whole after this; so is an idle connection closed.
    pub head: Duration,
    /// Some of an answer must have been taken after this.
    pub answer: Duration,
    /// In all.
    pub connections: usize,
    /// Of one address.
    pub connections_per_address: usize,
    /// Proxies, which bring everybody's and have no limit of their own.
    pub trusted: Vec<IpAddr>,
}

/// Raises the process's own limit on files, as far as it may, to what so many connections need.
pub(crate) fn want_files(connections: usize) {
    let wanted = OTHER_FILES + 2 * connections as u64;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft >= wanted {
            return Ok(soft);
        }
        let most = wanted.min(hard);
        setrlimit(Resource::RLIMIT_NOFILE, most, hard).map(|()| most)
    });
    match raised {
        Ok(most) if most >= wanted => {}
        Ok(most) => tracing::warn!(most, wanted, "few files may be open: raise `ulimit -n`"),
        Err(error) => tracing::warn!(%error, "the limit on open files is unknown"),
    }
}

/// The connections there are.
#[derive(Debug)]
struct Door {
    terms: Terms,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Door {
    /// A place for one more connection, if there is one. It is free again when dropped.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { all, of } = &mut *inside;
        if *all >= self.terms.connections {
            return None;
        }
        let key = subscriber(address);
        let theirs = of.entry(key).or_insert(0);
        let is_proxy = self.terms.trusted.contains(&address.to_canonical());
        if *theirs >= self.terms.connections_per_address && !is_proxy {
            return None;
        }
        *theirs += 1;
        *all += 1;
        Some(Place { door: Arc::clone(self), key })
    }
}

/// A connection's place.
#[derive(Debug)]
struct Place {
    door: Arc<Door>,
    key: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(theirs) = inside.of.get_mut(&self.key) {
            *theirs -= 1;
            if *theirs == 0 {
                inside.of.remove(&self.key);
            }
        }
    }
}

/// Serves until `closing` turns true, and then until the last request is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    terms: Terms,
    mut closing: watch::Receiver<bool>,
) {
    let door = Arc::new(Door { terms, inside: Mutex::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match door.enter(peer.ip()) {
                    Some(place) => {
                        let (router, closing) = (router.clone(), closing.clone());
                        let (peer, acceptor) = (Peer(peer.ip()), acceptor.clone());
                        let begun = connection(stream, acceptor, peer, place, router, closing);
                        connections.spawn(begun);
                    }
                    None => tracing::debug!(%peer, "one connection too many"),
                },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = closed(&mut closing) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a shutdown as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    peer: Peer,
    place: Place,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let Terms { head, answer, .. } = place.door.terms;
    // Without Nagle's algorithm: a fill is told in several small messages, of which the second
    // would wait until the first is acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let socket = Socket { stream, patience: answer, stalled: None, _place: place };
    let Some(acceptor) = acceptor else {
        return converse(socket, head, peer, router, closing).await;
    };
    // Who begins with anything else than TLS, or takes its time, is a stranger.
    let greeted = tokio::select! {
        greeted = timeout(head.min(HANDSHAKE_MAX), acceptor.accept(socket)) => greeted,
        () = closed(&mut closing) => return,
    };
    match greeted {
        Ok(Ok(private)) => converse(private, head, peer, router, closing).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
        Err(_) => tracing::debug!("no TLS came about in time"),
    }
}

/// Answers what comes over a connection, until it ends.
async fn converse(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    head: Duration,
    peer: Peer,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let socket = TokioIo::new(socket);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(BUFFER_BYTES);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request.map(Body::new))
    });
    let mut serving = pin!(http.serve_connection(socket, service).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closed(&mut closing) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// A socket whose other end must take what it is sent.
struct Socket {
    stream: TcpStream,
    patience: Duration,
    /// Runs while nothing can be sent.
    stalled: Option<Pin<Box<Sleep>>>,
    /// With the socket, which a WebSocket takes along when its HTTP is over.
    _place: Place,
}

impl Socket {
    fn watched(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            self.stalled = None;
            return sent;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end reads nothing")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watched(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_per_address() {
        let terms = Terms {
            head: Duration::ZERO,
            answer: Duration::ZERO,
            connections: 4,
            connections_per_address: 2,
            trusted: vec![IpAddr::from([10, 0, 0, 1])],
        };
        let door = Arc::new(Door { terms, inside: Mutex::default() });
        let [one, other, proxy] = [[192, 0, 2, 1], [192, 0, 2, 2], [10, 0, 0, 1]].map(IpAddr::from);
        let held = [door.enter(one), door.enter(one)];
        assert!(held.iter().all(Option::is_some));
        assert!(door.enter(one).is_none(), "its two are taken");
        let more = door.enter(other);
        assert!(more.is_some() && door.enter(proxy).is_some(), "the last is given back at once");
        drop(held);
        let proxied = [door.enter(proxy), door.enter(proxy), door.enter(proxy)];
        assert!(proxied.iter().all(Option::is_some));
        assert!(door.enter(one).is_none(), "all four are taken");
        drop((proxied, more));
        assert!(door.inside.lock().unwrap().of.is_empty());
    }
}
