//! The published object, with compare-and-swap.

use std::collections::BTreeSet;
use std::sync::Arc;

use nodeweir_control::edges::{EdgeError, Etag, PublishedObject};
use nodeweir_domain::fleet::revision::Revision;

use crate::edges::{Edges, Part};
use crate::sabotage::Sabotage;
use crate::text::addresses;
use crate::world::State;

/// What the object held at one time, and what there is to know about it; reading it again each time would take most
/// of the simulation's time.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) version: u64,
    pub(crate) text: String,
    /// What the text says, if it is a revision.
    pub(crate) revision: Option<Revision>,
    /// That revision's name.
    pub(crate) name: Option<String>,
    /// Every address in that revision's body.
    pub(crate) addresses: BTreeSet<String>,
}

impl Object {
    fn new(version: u64, text: String) -> Self {
        let revision = Revision::parse(&text).ok();
        let name = revision.as_ref().map(Revision::name);
        let addresses = revision.as_ref().map(|revision| addresses(&revision.body)).unwrap_or_default();
        Self { version, text, revision, name, addresses }
    }

    fn etag(&self) -> Etag {
        Etag(self.version.to_string())
    }
}

/// The one object.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) object: Option<Arc<Object>>,
    /// Versions so far; none is ever used again.
    pub(crate) versions: u64,
}

impl Bucket {
    /// The revision that is published, if it can be read.
    pub(crate) fn revision(&self) -> Option<&Revision> {
        self.object.as_ref()?.revision.as_ref()
    }

    /// Its name.
    pub(crate) fn name(&self) -> Option<&String> {
        self.object.as_ref()?.name.as_ref()
    }

    pub(crate) fn replace(&mut self, text: Option<String>) {
        self.versions += 1;
        self.object = text.map(|text| Arc::new(Object::new(self.versions, text)));
    }
}

impl State {
    fn put(&mut self, edges: &Edges, seen: Option<&Etag>, text: &str) -> bool {
        let run = edges.run;
        let found = self.bucket.object.as_ref().map(|object| object.etag());
        if found.as_ref() != seen && self.sabotage != Sabotage::IgnoredEtag {
            self.run(run).overtaken += 1;
            return false;
        }
        let before = self.bucket.object.clone();
        self.bucket.replace(Some(text.to_owned()));
        self.check_put(edges, before.as_deref());
        self.writes.puts += 1;
        self.changed(Some(run));
        true
    }
}

impl PublishedObject for Edges {
    async fn get(&self) -> Result<Option<(Etag, String)>, EdgeError> {
        let got = self.call(Part::Object, "get object", |state| {
            let object = state.bucket.object.clone();
            let record = state.run(self.run);
            record.reads += 1;
            record.object = Some((record.reads, object.clone()));
            object
        });
        let got = got.await.map_err(|why| EdgeError::new("reading the object", &why))?;
        Ok(got.map(|object| (object.etag(), object.text.clone())))
    }

    async fn put(&self, seen: Option<&Etag>, text: &str) -> Result<bool, EdgeError> {
        let put = self.call(Part::Object, "put object", |state| state.put(self, seen, text));
        put.await.map_err(|why| EdgeError::new("writing the object", &why))
    }
}
