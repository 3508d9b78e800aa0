//! The last revision that ran, kept in the folder so that the next start can serve when nothing else is reachable.
//!
//! A line `nodeweir-last-good 1 <name> <bytes> <sha256 of the text>`, then the text as it was published: with
//! references, without secrets.

use std::fmt::Write;

use sha2::{Digest, Sha256};

const FORMAT: &str = "nodeweir-last-good 1";

/// One revision as the file's bytes.
pub(super) fn encode(name: &str, text: &str) -> Vec<u8> {
    format!("{FORMAT} {name} {} {}\n{text}", text.len(), digest(name, text)).into_bytes()
}

/// Name and text; nothing if a byte is missing, added or changed.
pub(super) fn decode(bytes: &[u8]) -> Option<(String, String)> {
    let (head, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let mut words = head.strip_prefix(FORMAT)?.strip_prefix(' ')?.split(' ');
    let name = words.next()?;
    let whole = words.next()?.parse() == Ok(text.len());
    let same = words.next()? == digest(name, text);
    (whole && same && words.next().is_none()).then(|| (name.to_owned(), text.to_owned()))
}

fn digest(name: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(name).chain_update("\n").chain_update(text).finalize();
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_or_not_at_all() {
        for text in ["", "http { }\n", "a ${KEY}\n\nb"] {
            let bytes = encode("12-ab34cd", text);
            assert_eq!(decode(&bytes), Some(("12-ab34cd".to_owned(), text.to_owned())));
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
            }
            for index in 0..bytes.len() {
                let mut other = bytes.clone();
                other[index] ^= 1;
                assert_eq!(decode(&other), None, "changed at {index}");
            }
            assert_eq!(decode(&[&bytes[..], b"x"].concat()), None);
        }
    }
}
