//! What is asked, and what is answered.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nodeweir_domain::gate::decide::Passed;
use nodeweir_domain::gate::key::{self, Found, KeyDigest, KeyId};
use nodeweir_domain::gate::rate::Level;
use nodeweir_domain::gate::refusal::Refusal;
use nodeweir_domain::name::ProjectId;

use crate::keys::Known;
use crate::purses::Payer;

/// What nginx asks.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whether it is the handshake of a WebSocket, which has no body.
    pub is_websocket: bool,
    /// The network's name.
    pub network: &'a str,
    /// What stands in the path where a key can stand. This and all texts below are empty if there is none.
    pub path_key: &'a str,
    /// The header `X-API-Key`.
    pub api_key: &'a str,
    /// The header `Authorization`.
    pub authorization: &'a str,
    /// The header `Origin`.
    pub origin: &'a str,
    /// The client's address.
    pub address: &'a str,
    /// The client's whole body.
    pub body: &'a [u8],
}

impl Question<'_> {
    /// The digest of the key in it, if there is a well-formed one.
    pub(crate) fn digest(&self) -> Option<KeyDigest> {
        let of = |text: &str| key::is_well_formed(text).then(|| KeyDigest::of(text));
        match key::find(self.path_key, self.api_key, self.authorization)? {
            Found::Text(text) => of(text),
            Found::Basic(encoded) => {
                let decoded = BASE64_STANDARD.decode(encoded).ok()?;
                let (user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
                if user.is_empty() { of(password) } else { None }
            }
        }
    }
}

/// What is known of whoever asked, as soon as the key was found.
#[derive(Debug, Clone)]
pub struct Identity {
    payer: Arc<Payer>,
    key: KeyId,
}

impl Identity {
    pub(crate) fn of(known: &Known) -> Self {
        Self { payer: Arc::clone(&known.payer), key: known.id }
    }

    /// Who pays.
    pub fn project(&self) -> &ProjectId {
        &self.payer.id
    }

    /// Which of its keys it was.
    pub fn key(&self) -> KeyId {
        self.key
    }
}

/// What nginx is told.
#[derive(Debug)]
pub enum Verdict {
    /// The request passes.
    Pass {
        /// Who asked.
        who: Identity,
        /// What is left.
        passed: Passed,
        /// Credits that were taken.
        cost: u64,
        /// What was called, for the access log.
        methods: String,
        /// Whether nothing is to be answered: it was notifications only.
        is_quiet: bool,
    },
    /// It does not, and nothing was taken.
    Refuse {
        /// Who asked, if that is known.
        who: Option<Identity>,
        /// Why.
        refusal: Refusal,
        /// What is left of the rate, if that was looked at.
        level: Option<Level>,
        /// Credits that are left, if that was looked at and is known.
        credits: Option<u64>,
        /// What was called, for the access log; empty if nobody is known who did.
        methods: String,
    },
}

impl Verdict {
    pub(crate) fn refuse(refusal: Refusal) -> Self {
        Self::Refuse { who: None, refusal, level: None, credits: None, methods: String::new() }
    }
}
