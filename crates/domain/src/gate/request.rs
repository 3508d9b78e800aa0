//! Reads a JSON-RPC body: the first step of the gate, which knows of each member only its id and its method.
//!
//! What passes here is forwarded byte by byte, so whatever two readers could take for different requests is refused:
//! a node must not see another method than the one that was allowed and charged. The grammar is `serde_json`'s; the
//! rules on top of it are in [`Fault`]. Everything is borrowed from the body, and params are skipped, never copied.

mod fault;
mod member;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

pub use self::fault::{Fault, Field, Invalid, Malformed};
use self::member::MemberSeed;

/// No configuration allows a batch of more members; refusals name the ids of at most as many.
pub const MOST_MEMBERS: usize = 1_000;

/// How much a body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members of a batch; at most [`MOST_MEMBERS`] whatever stands here.
    pub batch: usize,
    /// Arrays and objects inside each other, the batch and the request object included.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch: 100, depth: 32 }
    }
}

/// One well-formed request or notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The id as it was written: a number, a string or `null`. None makes it a notification, which gets no answer.
    pub id: Option<&'a str>,
    /// 1 to 128 of `A-Z a-z 0-9 _ .`, escapes resolved.
    pub method: Cow<'a, str>,
}

/// A well-formed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call<'a> {
    /// One object.
    Single(Member<'a>),
    /// An array of at least one.
    Batch(Vec<Member<'a>>),
}

impl<'a> Call<'a> {
    /// The members in order, at least one.
    pub fn members(&self) -> &[Member<'a>] {
        match self {
            Self::Single(member) => std::slice::from_ref(member),
            Self::Batch(members) => members,
        }
    }

    /// Whether nothing but notifications was sent, so that no answer has a body.
    pub fn is_quiet(&self) -> bool {
        self.members().iter().all(|member| member.id.is_none())
    }
}

/// Reads a whole body. Its size is for the caller to limit; the time is linear in it, and memory grows only with the
/// number of members and, by a byte each, with the arrays and objects that are open at once.
pub fn read<'a>(body: &'a [u8], limits: &Limits) -> Result<Call<'a>, Malformed> {
    match parse(body, limits.batch.min(MOST_MEMBERS), limits.depth)? {
        Parsed::Single(member) => Ok(Call::Single(member.map_err(|fault| Invalid { member: None, fault })?)),
        Parsed::Batch(members) if members.is_empty() => Err(Invalid { member: None, fault: Fault::EmptyBatch }.into()),
        Parsed::Batch(members) => {
            let checked =
                members.into_iter().enumerate().map(|(at, member)| member.map_err(|fault| at_member(at, fault)));
            Ok(Call::Batch(checked.collect::<Result<_, Invalid>>()?))
        }
    }
}

/// Whom an answer that the gate writes itself is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids<'a> {
    /// Nobody: only notifications were sent.
    Nobody,
    /// One object. None is for `"id": null`: a body that is no JSON, no valid request, an empty batch, or a batch
    /// beyond [`MOST_MEMBERS`].
    One(Option<&'a str>),
    /// An array with an object per member, in order, without the notifications: the id as it was written, or what is
    /// wrong with the member, whose answer then has `"id": null`.
    Many(Vec<Result<&'a str, Invalid>>),
}

/// Reads a body for what an answer to it needs. Unlike [`read`] it never fails, whether the body is malformed or not
/// there at all, and knows only the largest batch that any configuration allows.
pub fn ids<'a>(body: &'a [u8], limits: &Limits) -> Ids<'a> {
    let Ok(parsed) = parse(body, MOST_MEMBERS, limits.depth) else { return Ids::One(None) };
    let members = match parsed {
        Parsed::Single(Ok(Member { id: None, .. })) => return Ids::Nobody,
        Parsed::Single(member) => return Ids::One(member.ok().and_then(|member| member.id)),
        Parsed::Batch(members) if members.is_empty() => return Ids::One(None),
        Parsed::Batch(members) => members,
    };
    let id = |(at, member): (usize, Result<Member<'a>, Fault>)| match member {
        Ok(member) => member.id.map(Ok),
        Err(fault) => Some(Err(at_member(at, fault))),
    };
    let ids: Vec<_> = members.into_iter().enumerate().filter_map(id).collect();
    if ids.is_empty() { Ids::Nobody } else { Ids::Many(ids) }
}

fn at_member(at: usize, fault: Fault) -> Invalid {
    Invalid { member: Some(at), fault }
}

/// A body that is JSON.
enum Parsed<'a> {
    Single(Result<Member<'a>, Fault>),
    Batch(Vec<Result<Member<'a>, Fault>>),
}

/// Reads the body to its end even when a member is invalid, because a body that is not JSON is another refusal. Only a
/// batch that is too large is left at once.
fn parse(body: &[u8], most: usize, depth: usize) -> Result<Parsed<'_>, Malformed> {
    // The library checks UTF-8 only in strings that somebody looks at.
    let text = std::str::from_utf8(body).map_err(|error| Malformed::Parse {
        what: format!("not UTF-8 at byte {}, counted from 0", error.valid_up_to()),
    })?;
    if text.trim_ascii().is_empty() {
        return Err(Malformed::Parse {
            what: "the body is empty: send a request object or an array of them".to_owned(),
        });
    }
    let mut exceeded = false;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let body = Body { most, depth, exceeded: &mut exceeded };
    let parsed = deserializer.deserialize_any(body).and_then(|parsed| deserializer.end().map(|()| parsed));
    match parsed {
        Ok(parsed) => Ok(parsed),
        Err(_) if exceeded => Err(Malformed::BatchTooLarge { most }),
        Err(error) => Err(Malformed::Parse { what: error.to_string() }),
    }
}

struct Body<'b> {
    most: usize,
    depth: usize,
    exceeded: &'b mut bool,
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Parsed<'de>;

    member::anything_else!(Ok(Parsed::Single(Err(Fault::NotRequest))));

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request object or an array of them")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Parsed<'de>, M::Error> {
        MemberSeed { depth: self.depth, open: 0 }.visit_map(map).map(Parsed::Single)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Parsed<'de>, S::Error> {
        let mut members = Vec::new();
        while let Some(member) = seq.next_element_seed(MemberSeed { depth: self.depth, open: 1 })? {
            if members.len() == self.most {
                *self.exceeded = true;
                return Err(de::Error::custom("too many members"));
            }
            members.push(member);
        }
        Ok(Parsed::Batch(members))
    }
}
