//! A worker that tries to get out: for `jusha doctor` and the tests. It stands behind the same
//! walls as a run worker, put up by the same code.

use std::io;

use super::{Pipe, close, prepare, unexpected};
use crate::pipe;
use crate::protocol::{Behind, Down, Setup, Up};
use crate::sandbox::{self, attempts};

pub(super) fn main(mut pipe: Pipe, setup: Setup, behind: Behind) -> io::Result<()> {
    let Some((_, identity, walls)) = prepare(&mut pipe.out, &setup)? else { return Ok(()) };
    if behind == Behind::AllButTheFilter {
        let confinement = walls.leave_open().map_err(io::Error::other)?;
        pipe::send(&mut pipe.out, &Up::Ready { confinement, identity })?;
    } else if !close(&mut pipe.out, walls, identity)? {
        return Ok(());
    }
    if behind == Behind::Sealed {
        sandbox::seal().map_err(io::Error::other)?;
    }
    let Down::Attempt(name) = pipe.receive()? else { return Err(unexpected()) };
    pipe::send(&mut pipe.out, &Up::Tried(attempts::attempt(&name)))
}
