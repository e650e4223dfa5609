//! A worker that tries to get out: for `jusha doctor` and the tests. It stands behind the same
//! walls as a run worker, put up by the same code.

use std::io;

use super::{Pipe, close, prepare, unexpected};
use crate::pipe;
use crate::protocol::{Down, Setup, Up};
use crate::sandbox::{self, attempts};

pub(super) fn main(mut pipe: Pipe, setup: Setup, sealed: bool) -> io::Result<()> {
    let Some((_, identity, walls)) = prepare(&mut pipe.out, &setup)? else { return Ok(()) };
    if !close(&mut pipe.out, walls, identity)? {
        return Ok(());
    }
    if sealed {
        sandbox::seal().map_err(io::Error::other)?;
    }
    let Down::Attempt(name) = pipe.receive()? else { return Err(unexpected()) };
    pipe::send(&mut pipe.out, &Up::Tried(attempts::attempt(&name)))
}
