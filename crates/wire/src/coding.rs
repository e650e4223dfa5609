//! How blobs travel: as they are, or in zstd, by HTTP's content codings.
//!
//! Blobs are addressed by the digest of their bytes, however they travelled. What a reader takes
//! it says in `Accept-Encoding`; the exchange says so, too, in its answer to the question which
//! blobs it lacks (RFC 7694), which every upload begins with. So a side that knows nothing of this
//! neither gets nor sends anything that it doesn't understand.
//!
//! Nothing here does I/O. What is decoded is bounded: a few bytes of zstd can be gigabytes.

use zstd::stream::raw::{self, DParameter, Operation};

/// The one coding that there is, as HTTP calls it.
pub const ZSTD: &str = "zstd";

/// Longest blob that anybody takes: as long as a memory of 4 GiB could never be in one piece.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// Below this, less is saved than the headers take.
pub const CODED_BYTES_MIN: u64 = 256;
/// The lowest of zstd's levels. `cargo bench -p jusha --bench coding`: of CPython's state it saves
/// 70.2 %, level 3 saves 70.4 % and takes a fifth longer.
const LEVEL: i32 = 1;
/// A frame may look back so far: 8 MiB, what RFC 9659 lets a sender use.
const WINDOW_LOG_MAX: u32 = 23;
/// Decoded bytes that are handed on at a time.
const PIECE_BYTES: usize = 128 << 10;

/// A body can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// Nobody asked for that.
    #[error("its content coding `{0}` is unknown: send it as it is, or as zstd")]
    Unknown(String),
    /// Coded or not, it is more than is taken.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The most.
        max: u64,
    },
    /// Not zstd, or of a window beyond 8 MiB.
    #[error("it is no zstd that can be read ({0}): send it again")]
    Malformed(String),
    /// The end is lacking.
    #[error("its zstd breaks off: send it again")]
    Truncated,
}

/// Whether a header's value (`Accept-Encoding`) lists zstd and doesn't rule it out.
pub fn accepts_zstd(header: &str) -> bool {
    header.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(ZSTD));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        named && weight.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0))
    })
}

/// The bytes in zstd, if that is worth it.
pub fn encode(bytes: &[u8]) -> Option<Vec<u8>> {
    if (bytes.len() as u64) < CODED_BYTES_MIN {
        return None;
    }
    let coded = frame(bytes).ok()?;
    (coded.len() < bytes.len()).then_some(coded)
}

/// A piece of a blob as a frame of its own. Frames behind each other are one body.
pub fn frame(piece: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(piece, LEVEL)
}

/// Decodes what arrives piece by piece, up to a limit.
pub struct Decoder {
    zstd: Option<raw::Decoder<'static>>,
    max: u64,
    /// Bytes that came in, and bytes that went out.
    taken: u64,
    given: u64,
    /// Whether what came so far may be all.
    whole: bool,
}

impl Decoder {
    /// For a body with this `Content-Encoding`, of at most `max` bytes before and after.
    pub fn new(coding: Option<&str>, max: u64) -> Result<Self, CodingError> {
        let zstd = match coding.map(str::trim) {
            None => None,
            Some(coding) if coding.is_empty() || coding.eq_ignore_ascii_case("identity") => None,
            Some(coding) if coding.eq_ignore_ascii_case(ZSTD) => {
                let mut decoder = raw::Decoder::new().map_err(malformed)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                    .map_err(malformed)?;
                Some(decoder)
            }
            Some(other) => return Err(CodingError::Unknown(other.chars().take(32).collect())),
        };
        let whole = zstd.is_none();
        Ok(Decoder { zstd, max, taken: 0, given: 0, whole })
    }

    /// Takes the next piece; what it gives goes to `sink`.
    pub fn push<E: From<CodingError>>(
        &mut self,
        mut piece: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let too_long = CodingError::TooLong { max: self.max };
        self.taken = self.taken.saturating_add(piece.len() as u64);
        if self.taken > self.max {
            return Err(too_long.into());
        }
        let Some(zstd) = &mut self.zstd else { return sink(piece) };
        let mut room = vec![0; PIECE_BYTES];
        while !piece.is_empty() {
            let status = zstd.run_on_buffers(piece, &mut room).map_err(malformed)?;
            piece = &piece[status.bytes_read..];
            self.whole = status.remaining == 0;
            let mut written = status.bytes_written;
            loop {
                self.given += written as u64;
                if self.given > self.max {
                    return Err(too_long.into());
                }
                sink(&room[..written])?;
                // What it gave filled the room: there may be more without any more input.
                if written < room.len() || self.whole {
                    break;
                }
                let status = zstd.run_on_buffers(&[], &mut room).map_err(malformed)?;
                self.whole = status.remaining == 0;
                written = status.bytes_written;
            }
        }
        Ok(())
    }

    /// That was all.
    pub fn finish(self) -> Result<(), CodingError> {
        if self.whole { Ok(()) } else { Err(CodingError::Truncated) }
    }
}

fn malformed(error: std::io::Error) -> CodingError {
    CodingError::Malformed(error.to_string())
}

/// A blob that arrives.
pub struct Arriving {
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl Arriving {
    /// With this `Content-Encoding`, of at most `max` bytes.
    pub fn new(coding: Option<&str>, max: u64) -> Result<Self, CodingError> {
        Ok(Arriving { decoder: Decoder::new(coding, max)?, bytes: Vec::new() })
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), CodingError> {
        let bytes = &mut self.bytes;
        self.decoder.push(piece, |decoded| {
            bytes.extend_from_slice(decoded);
            Ok(())
        })
    }

    /// That was all: the blob, whose digest nobody has checked yet.
    pub fn finish(self) -> Result<Vec<u8>, CodingError> {
        self.decoder.finish()?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(coding: Option<&str>, max: u64, pieces: &[&[u8]]) -> Result<Vec<u8>, CodingError> {
        let mut arriving = Arriving::new(coding, max)?;
        pieces.iter().try_for_each(|piece| arriving.push(piece))?;
        arriving.finish()
    }

    /// Compressible, but not to nothing.
    fn text(bytes: u32) -> Vec<u8> {
        (0..bytes).map(|i| (i.wrapping_mul(i) >> 7) as u8 & 0x3f).collect()
    }

    #[test]
    fn what_was_encoded_is_decoded_however_it_is_cut() {
        for length in [256, 1_000, 65_536, 1_000_003] {
            let bytes = text(length);
            let coded = encode(&bytes).unwrap();
            assert!(coded.len() < bytes.len());
            for cut in [1, 7, 4_096, coded.len()] {
                let pieces: Vec<&[u8]> = coded.chunks(cut).collect();
                assert_eq!(decode(Some("zstd"), u64::from(length), &pieces).unwrap(), bytes);
            }
            let coded: Vec<u8> =
                bytes.chunks(65_536).flat_map(|piece| frame(piece).unwrap()).collect();
            assert_eq!(decode(Some("ZSTD"), u64::from(length), &[&coded]).unwrap(), bytes);
        }
        assert_eq!(decode(None, 3, &[b"a", b"bc"]).unwrap(), b"abc");
        assert_eq!(decode(Some("identity"), 3, &[]).unwrap(), b"");
    }

    #[test]
    fn what_gains_nothing_travels_as_it_is() {
        assert!(encode(&[0; 255]).is_none());
        assert!(encode(&[0; 256]).is_some());
        let mut noise = vec![0; 10_000];
        scramble(&mut noise);
        assert!(encode(&noise).is_none());
    }

    /// Bytes without any pattern.
    fn scramble(bytes: &mut [u8]) {
        for (block, index) in bytes.chunks_mut(32).zip(0_u32..) {
            let digest = base::Digest::of(&index.to_le_bytes()).0;
            block.copy_from_slice(&digest[..block.len()]);
        }
    }

    #[test]
    fn a_bomb_gets_no_further_than_the_limit() {
        let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
        assert!(bomb.len() < 30_000, "{}", bomb.len());
        let mut decoder = Decoder::new(Some(ZSTD), 1 << 20).unwrap();
        let mut given = 0;
        let error = decoder.push(&bomb, |piece| {
            given += piece.len();
            Ok::<_, CodingError>(())
        });
        assert_eq!(error, Err(CodingError::TooLong { max: 1 << 20 }));
        assert_eq!(given, 1 << 20);
        // Frames that give nothing are bounded by what comes in.
        let empty = zstd::bulk::compress(&[], 1).unwrap();
        let mut decoder = Decoder::new(Some(ZSTD), 1_000).unwrap();
        let pushed = (0..200).try_for_each(|_| decoder.push(&empty, |_| Ok::<_, CodingError>(())));
        assert_eq!(pushed, Err(CodingError::TooLong { max: 1_000 }));
        assert_eq!(decode(None, 2, &[b"abc"]), Err(CodingError::TooLong { max: 2 }));
    }

    #[test]
    fn a_stream_that_breaks_off_or_is_none_says_so() {
        let coded = encode(&text(100_000)).unwrap();
        for end in 0..coded.len() {
            let error = decode(Some(ZSTD), 1 << 20, &[&coded[..end]]).unwrap_err();
            assert_eq!(error, CodingError::Truncated, "{end}");
        }
        let behind = [&coded[..], b"behind"].concat();
        for none in [&b"not zstd at all"[..], &behind] {
            let error = decode(Some(ZSTD), 1 << 20, &[none]).unwrap_err();
            assert!(matches!(error, CodingError::Malformed(_)), "{error:?}");
        }
        // A window of 2 GiB: nobody keeps that for a stranger.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let error = decode(Some(ZSTD), 1 << 20, &[&wide]).unwrap_err();
        assert!(matches!(error, CodingError::Malformed(_)), "{error:?}");
        let error = decode(Some("gzip"), 1 << 20, &[]).unwrap_err();
        assert_eq!(error, CodingError::Unknown("gzip".to_owned()));
    }

    #[test]
    fn who_accepts_zstd() {
        let check = |header: &str, expected: bool| assert_eq!(accepts_zstd(header), expected);
        check("zstd", true);
        check("gzip, ZSTD;q=0.5", true);
        check("gzip, zstd;q=0", false);
        check("gzip, zstd; q=0.0", false);
        check("gzip, br", false);
        check("xzstd", false);
        check("", false);
    }
}
