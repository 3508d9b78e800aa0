//! Keys: how a project authenticates.
//!
//! A key's text is `nw_`, 32 random characters (190 bits) and 6 of a checksum, all of `0-9A-Za-z`, so that garbage and
//! slips are refused without a look-up, and scanners for leaked secrets find one by its form. It is shown once; what is
//! kept is its SHA-256, for which 190 random bits need no salt.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::restrict::Restrictions;
use crate::name::{KeyName, ProjectId};

const PREFIX: &str = "nw_";
const RANDOM: usize = 32;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bytes of a key's text.
pub const KEY_LENGTH: usize = PREFIX.len() + RANDOM + CHECKSUM;

/// The text of a well-formed key. Whoever has it is the project; it is shown once and never kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no key. It does not repeat the text, which may be a key with a slip in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is nw_ and 38 letters and digits, the last six of which are a checksum")]
pub struct BadKey;

impl Secret {
    /// Makes a key of random bytes. Each of the 32 characters takes the next byte that is below 248, so that none is
    /// more likely than another; `None` if there are not enough of them (64 are, but for once in 10^14 times).
    pub fn from_random(random: &[u8]) -> Option<Self> {
        let mut text = PREFIX.to_owned();
        let usable = random.iter().filter(|byte| **byte < 248).take(RANDOM);
        text.extend(usable.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
        if text.len() < PREFIX.len() + RANDOM {
            return None;
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Some(Self(text))
    }

    /// What is kept of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }

    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Whether a text has the form of a key and the right checksum. Only then is a look-up worth while.
pub fn is_well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == KEY_LENGTH
        && bytes.starts_with(PREFIX.as_bytes())
        && bytes[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric)
        && checksum(&bytes[..PREFIX.len() + RANDOM]) == bytes[PREFIX.len() + RANDOM..]
}

/// CRC-32 in base 62, the lowest digit last.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(bytes) as usize;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits
}

impl FromStr for Secret {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if is_well_formed(text) { Ok(Self(text.to_owned())) } else { Err(BadKey) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(nw_…)")
    }
}

/// SHA-256 of a key's text. Keys are found by it.
#[derive(Clone, Copy, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// What a key is called in public: the first 12 hexadecimal digits. They tell nothing of the key.
    pub fn id(&self) -> KeyId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |index: usize| {
            let byte = self.0[index / 2];
            DIGITS[usize::from(if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 })]
        };
        KeyId(std::array::from_fn(digit))
    }
}

/// Takes the same time wherever the two differ.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

/// Eight of its bytes: they are as good as random.
impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(first) = self.0.first_chunk() {
            state.write_u64(u64::from_le_bytes(*first));
        }
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Shown in logs as the public id only.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({}…)", self.id())
    }
}

impl TryFrom<String> for KeyDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{:?} is not a SHA-256 in hexadecimal digits", crate::name::shown(&text));
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl From<KeyDigest> for String {
    fn from(digest: KeyDigest) -> String {
        digest.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key's public name, 12 hexadecimal digits: for logs, reports and commands. Held where it stands, because there are
/// many, and each request has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 12]);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        // It is made of digits only.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes().try_into() {
            Ok(digits) if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => Ok(Self(digits)),
            _ => Err(format!("{:?} is not a key's id: 12 hexadecimal digits are expected", crate::name::shown(text))),
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What its text hashes to.
    pub digest: KeyDigest,
    /// Whose it is.
    pub project: ProjectId,
    /// What its owners call it.
    pub name: KeyName,
    /// What it may be used for.
    #[serde(default)]
    pub restrictions: Restrictions,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// Since when it is refused for good.
    #[serde(default)]
    pub revoked: Option<Timestamp>,
}

impl Key {
    /// Its public id.
    pub fn id(&self) -> KeyId {
        self.digest.id()
    }

    /// Where it stands at `now`.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        match (self.revoked, self.expires) {
            (Some(at), _) => KeyStatus::Revoked(at),
            (None, Some(at)) if at <= now => KeyStatus::Expired(at),
            _ => KeyStatus::Active,
        }
    }
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// It may.
    Active,
    /// Somebody revoked it, then.
    Revoked(Timestamp),
    /// It ended by itself, then.
    Expired(Timestamp),
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Revoked(_) => "revoked",
            Self::Expired(_) => "expired",
        })
    }
}

/// The key among the places of a request where one can stand. The one in the path comes first, because it is what
/// people copy; then `X-API-Key`, then `Authorization` as `Bearer KEY`, or as `Basic` with an empty user.
///
/// Only the first that is there counts: a request with a good key and a bad one is wrong somewhere, and the reader of a
/// log would not know which one was meant. What is there may be anything; see [`is_well_formed`].
pub fn find<'a>(in_path: &'a str, api_key: &'a str, authorization: &'a str) -> Option<Found<'a>> {
    if !in_path.is_empty() {
        return Some(Found::Text(in_path));
    }
    if !api_key.is_empty() {
        return Some(Found::Text(api_key.trim()));
    }
    let (scheme, value) = authorization.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Found::Text(value))
    } else if scheme.eq_ignore_ascii_case("basic") {
        Some(Found::Basic(value))
    } else {
        None
    }
}

/// What stood where a key is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// It, as it is.
    Text(&'a str),
    /// `user:password` in base 64; the password is the key.
    Basic(&'a str),
}

#[cfg(test)]
mod tests;
