//! Text in an attribute: as it is while it is short, so that people can read it in the table; compressed beyond, because
//! an item holds 400 KB at most and is paid by its size.

use std::io::{Read as _, Write as _};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Longer texts are compressed.
const SHORT: usize = 16 * 1024;
/// No text of ours is longer; whatever pretends to be is not read into memory.
const LONGEST: u64 = 64 << 20;

/// The text as an attribute.
pub(crate) fn pack(text: &str) -> AttributeValue {
    if text.len() <= SHORT { AttributeValue::S(text.to_owned()) } else { AttributeValue::B(Blob::new(deflate(text))) }
}

/// The text in an attribute; `None` if there is none that can be read.
pub(crate) fn unpack(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text.clone()),
        AttributeValue::B(bytes) => inflate(bytes.as_ref()),
        _ => None,
    }
}

pub(crate) fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail; a reader would find a cut text.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

pub(crate) fn inflate(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let read = ZlibDecoder::new(bytes).take(LONGEST).read_to_string(&mut text).ok()?;
    (u64::try_from(read).is_ok_and(|read| read < LONGEST)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for text in ["", "short", &"näch\nste ".repeat(100_000)] {
            assert_eq!(unpack(&pack(text)).as_deref(), Some(text));
        }
        assert!(matches!(pack("{}"), AttributeValue::S(_)));
        assert!(matches!(pack(&"a".repeat(SHORT + 1)), AttributeValue::B(bytes) if bytes.as_ref().len() < 100));
    }

    #[test]
    fn garbage_is_none() {
        assert_eq!(unpack(&AttributeValue::B(Blob::new([1, 2, 3]))), None);
        assert_eq!(unpack(&AttributeValue::N("7".to_owned())), None);
        let bomb = deflate(&"a".repeat(usize::try_from(LONGEST).unwrap()));
        assert_eq!(inflate(&bomb), None);
    }
}
