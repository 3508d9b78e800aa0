//! Reads one member of a body.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Member;
use super::fault::{Fault, Field};

/// The longest name of a method; the longest of any client has fewer than 60 bytes.
const LONGEST_METHOD: usize = 128;

/// The longest that one byte can be written, `\u0061`.
const LONGEST_ESCAPE: usize = 6;

/// The visitor's answer to everything but an object and an array.
macro_rules! anything_else {
    ($answer:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            $answer
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            $answer
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            $answer
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            $answer
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            $answer
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            $answer
        }
    };
}
pub(super) use anything_else;

/// Reads one member. A fault is a value, so that the error is always one of grammar.
pub(super) struct MemberSeed {
    /// Arrays and objects that may be open at once.
    pub(super) depth: usize,
    /// How many are, around the member.
    pub(super) open: usize,
}

impl<'de> DeserializeSeed<'de> for MemberSeed {
    type Value = Result<Member<'de>, Fault>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MemberSeed {
    type Value = Result<Member<'de>, Fault>;

    anything_else!(Ok(Err(Fault::NotObject)));

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request object")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Fault::NotObject))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = [None; Field::ALL.len()];
        let rest = self.depth.checked_sub(self.open + 1);
        let mut fault = rest.is_none().then_some(Fault::TooDeep(self.depth));
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let value = map.next_value::<&'de RawValue>()?.get();
            let found = match key {
                Key::Field(field) if fields[field as usize].replace(value).is_some() => Some(Fault::Twice(field)),
                Key::Like(field) => Some(Fault::Spelling(field)),
                Key::Field(_) | Key::Other => None,
            };
            let too_deep = || is_deeper(value, rest.unwrap_or(0)).then_some(Fault::TooDeep(self.depth));
            fault = fault.or(found).or_else(too_deep);
        }
        Ok(fault.map_or_else(|| check(fields), Err))
    }
}

/// What a key of a request object means.
enum Key {
    Field(Field),
    /// To a reader that ignores case.
    Like(Field),
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        if let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == key) {
            return Ok(Key::Field(field));
        }
        let is_like = |field: &Field| key.chars().map(folded).eq(field.as_str().chars());
        Ok(Field::ALL.into_iter().find(is_like).map_or(Key::Other, Key::Like))
    }
}

/// The letter that readers which ignore case take a character for. Go's `encoding/json` (geth, op-geth, Erigon) matches
/// keys so, by Unicode's simple folding, which knows two more letters for `s` and `k`; with lower-casing (other Go
/// libraries) or upper-casing (Java, .NET) the Turkish letters become an `i`.
fn folded(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => c.to_ascii_lowercase(),
    }
}

/// Whether more than `most` arrays and objects are open at once somewhere in a JSON value.
fn is_deeper(value: &str, most: usize) -> bool {
    // Most values have fewer brackets in all, and counting them is much faster than following them.
    if brackets(value) <= most {
        return false;
    }
    let mut open = 0_usize;
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' if open == most => return true,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    false
}

/// Counts opening brackets, also those in strings: in pieces whose count fits into a byte, so that the compiler can
/// look at many bytes at once.
fn brackets(value: &str) -> usize {
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum::<u8>();
    value.as_bytes().chunks(usize::from(u8::MAX)).map(|piece| usize::from(count(piece))).sum()
}

/// Goes to the end of the string whose opening quote was just read.
fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

/// Checks the fields, given as raw JSON.
fn check([jsonrpc, id, method, params]: [Option<&str>; Field::ALL.len()]) -> Result<Member<'_>, Fault> {
    if jsonrpc.and_then(|raw| text(raw, 3)).is_none_or(|version| version != "2.0") {
        return Err(Fault::Version);
    }
    if !id.is_none_or(is_id) {
        return Err(Fault::Id);
    }
    let method = method.ok_or(Fault::NoMethod)?;
    let method = text(method, LONGEST_METHOD).filter(|name| is_method(name)).ok_or(Fault::Method)?;
    // geth allows `null`, because its own client once sent it, and reth reads it as none at all.
    if !params.is_none_or(|raw| raw.starts_with(['[', '{']) || raw == "null") {
        return Err(Fault::Params);
    }
    Ok(Member { id, method })
}

fn is_id(raw: &str) -> bool {
    match raw.as_bytes() {
        // JSON's grammar allows half of a surrogate pair, which is no text: some readers fail at it, also when it
        // stands in our answer.
        [b'"', ..] => text(raw, raw.len()).is_some(),
        [b'-' | b'0'..=b'9', ..] => true,
        _ => raw == "null",
    }
}

fn is_method(name: &str) -> bool {
    (1..=LONGEST_METHOD).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

/// A raw JSON value as text, if it is a string that was written with at most `most` characters or escapes.
fn text(raw: &str, most: usize) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() > most.saturating_mul(LONGEST_ESCAPE) {
        None
    } else if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}
