//! Decompression that stops at a limit, so that a small body cannot become a large one in memory.

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use std::io::Read;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// zlib, which HTTP calls deflate.
    Deflate,
}

/// Why a body could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It is larger than allowed.
    #[error("the body is larger than {limit} bytes when decompressed")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It is not what it claims to be.
    #[error("the body is not valid {encoding}: {reason}")]
    Broken {
        /// What it claims to be.
        encoding: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Compression {
    /// From the value of `Content-Encoding`.
    pub fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// The body, decompressed to at most `limit` bytes.
    pub fn decompress(self, body: Bytes, limit: usize) -> Result<Bytes, DecompressError> {
        let plain = match self {
            Self::Identity if body.len() > limit => Err(DecompressError::TooLarge { limit }),
            Self::Identity => return Ok(body),
            Self::Gzip => self.read(MultiGzDecoder::new(&body[..]), limit),
            Self::Deflate => self.read(ZlibDecoder::new(&body[..]), limit),
            Self::Zstd => match zstd::stream::read::Decoder::new(&body[..]) {
                Ok(decoder) => self.read(decoder, limit),
                Err(error) => Err(self.broken(&error)),
            },
        };
        plain.map(Bytes::from)
    }

    fn read(self, decoder: impl Read, limit: usize) -> Result<Vec<u8>, DecompressError> {
        let mut plain = Vec::new();
        let capped = limit as u64 + 1;
        decoder.take(capped).read_to_end(&mut plain).map_err(|error| self.broken(&error))?;
        if plain.len() > limit { Err(DecompressError::TooLarge { limit }) } else { Ok(plain) }
    }

    fn broken(self, error: &std::io::Error) -> DecompressError {
        DecompressError::Broken { encoding: self.as_str(), reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn compressed(compression: Compression, plain: &[u8]) -> Bytes {
        let level = flate2::Compression::default();
        match compression {
            Compression::Identity => plain.to_vec(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(plain, 1).unwrap(),
        }
        .into()
    }

    const ALL: [Compression; 4] =
        [Compression::Identity, Compression::Gzip, Compression::Zstd, Compression::Deflate];

    #[test]
    fn every_compression_round_trips_up_to_the_limit() {
        let plain = vec![7_u8; 10_000];
        for compression in ALL {
            let body = compressed(compression, &plain);
            assert_eq!(compression.decompress(body.clone(), 10_000).unwrap(), plain);
            assert_eq!(compression.decompress(body, 9_999), Err(DecompressError::TooLarge { limit: 9_999 }));
        }
    }

    #[test]
    fn a_cut_body_is_broken() {
        for compression in [Compression::Gzip, Compression::Zstd, Compression::Deflate] {
            let body = compressed(compression, &(0..=255).cycle().take(9_000).collect::<Vec<u8>>());
            let cut = body.slice(..body.len() / 2);
            assert!(
                matches!(compression.decompress(cut, 10_000), Err(DecompressError::Broken { .. })),
                "{compression:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decompress_or_fail(body in prop::collection::vec(any::<u8>(), 0..1024)) {
            for compression in ALL {
                if let Ok(plain) = compression.decompress(body.clone().into(), 4_096) {
                    prop_assert!(plain.len() <= 4_096);
                }
            }
        }
    }
}
