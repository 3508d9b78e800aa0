//! What the server is asked, and what it answers.

use std::time::Duration;

use nodeweir_domain::gate::clock::Nanos;
use nodeweir_domain::gate::key::KeyId;
use nodeweir_domain::gate::rate::advance::Errand;
use nodeweir_domain::gate::rate::{Bucket, Quota};
use redis::{Cmd, Script, Value};

/// What stands before the id of a key. Ids come from digests of random keys, so several stages may share a server.
const PREFIX: &[u8] = b"nodeweir:rate:";

/// Longest name of a key, with some room.
const NAME: usize = 40;

/// What one request wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) key: KeyId,
    pub(super) quota: Quota,
    /// Tokens: more than 0 are taken if they may be, 0 only looks, and less than 0 are given back.
    pub(super) tokens: i64,
    pub(super) errand: Errand,
}

impl Wish {
    /// Gives tokens back.
    pub(super) fn back(key: KeyId, quota: Quota, tokens: u32) -> Self {
        Self { key, quota, tokens: -i64::from(tokens), errand: Errand::default() }
    }
}

/// What the server knew of a key before it did what was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Millionths of a token.
    missing: u64,
    /// Parts of tokens taken of late.
    recent: u32,
    /// How long its clock stands still.
    behind: Duration,
}

impl Seen {
    /// The bucket as it was: what it says to the request is what the server did.
    pub(crate) fn bucket(self, quota: Quota, now: Nanos) -> Bucket {
        Bucket::seen(quota, self.missing, self.recent, self.behind, now)
    }
}

/// The script, which is sent whole only to a server that does not have it.
#[derive(Debug)]
pub(super) struct Take {
    text: &'static str,
    digest: String,
}

impl Take {
    pub(super) fn new() -> Self {
        let text = concat!(include_str!("now.lua"), include_str!("take.lua"));
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }

    pub(super) fn by_digest<'a>(&self, wishes: impl ExactSizeIterator<Item = &'a Wish>) -> Cmd {
        command("EVALSHA", &self.digest, wishes)
    }

    pub(super) fn whole<'a>(&self, wishes: impl ExactSizeIterator<Item = &'a Wish>) -> Cmd {
        command("EVAL", self.text, wishes)
    }
}

fn command<'a>(word: &str, script: &str, wishes: impl ExactSizeIterator<Item = &'a Wish>) -> Cmd {
    let count = wishes.len();
    let mut command = Cmd::with_capacity(3 + 5 * count, word.len() + script.len() + (NAME + 40) * count);
    command.arg(word).arg(script).arg(count);
    // The names of the keys come first, then the numbers.
    let mut numbers = Vec::with_capacity(count);
    let mut name = [0; NAME];
    name[..PREFIX.len()].copy_from_slice(PREFIX);
    for wish in wishes {
        let id = wish.key.as_str().as_bytes();
        let end = PREFIX.len() + id.len();
        name[PREFIX.len()..end].copy_from_slice(id);
        command.arg(&name[..end]);
        numbers.push((wish.quota, wish.tokens, wish.errand.ahead));
    }
    for (quota, tokens, ahead) in numbers {
        command.arg(quota.per_second.get()).arg(quota.burst.get()).arg(tokens).arg(ahead);
    }
    command
}

/// Reads an answer for so many requests; nothing if it is none.
pub(super) fn read(answer: &Value, count: usize) -> Option<impl Iterator<Item = Seen>> {
    let Value::Array(numbers) = answer else { return None };
    let is_number = |value: &Value| matches!(value, Value::Int(0..));
    if numbers.len() != 3 * count || !numbers.iter().all(is_number) {
        return None;
    }
    let number = |value: &Value| match value {
        Value::Int(number) => number.unsigned_abs(),
        _ => 0,
    };
    Some(numbers.chunks_exact(3).map(move |of| Seen {
        missing: number(&of[0]),
        recent: u32::try_from(number(&of[1])).unwrap_or(u32::MAX),
        behind: Duration::from_micros(number(&of[2])),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_shape_is_none() {
        let numbers = |of: &[i64]| Value::Array(of.iter().map(|number| Value::Int(*number)).collect());
        let seen: Vec<_> = read(&numbers(&[1_500_000, 256, 0, 0, 0, 7]), 2).unwrap().collect();
        let micros = Duration::from_micros;
        assert_eq!(seen[0], Seen { missing: 1_500_000, recent: 256, behind: micros(0) });
        assert_eq!(seen[1], Seen { missing: 0, recent: 0, behind: micros(7) });
        for bad in [numbers(&[]), numbers(&[1, 2]), numbers(&[1, 2, -3]), Value::Nil, Value::Array(vec![Value::Nil; 3])]
        {
            assert!(read(&bad, 1).is_none(), "{bad:?}");
        }
    }
}
