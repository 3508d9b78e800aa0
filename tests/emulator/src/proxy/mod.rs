//! An HTTP server in front of the emulator, for one test: it counts calls, makes them fail, and answers what the emulator
//! cannot.

mod answer;
mod call;
mod forward;
mod need;
mod permission;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::background::Server;
use crate::client::Client;
use crate::lambda::FunctionError;
use crate::moto::Moto;
use permission::Granted;

pub use answer::Answer;
pub use call::Call;
pub use permission::Permission;
pub use rule::{Fault, Held, On};

/// What runs a function that somebody invokes.
type Callback = Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Result<Value, FunctionError>> + Send>> + Send + Sync>;

/// The proxy. It ends when this is dropped.
pub struct Proxy {
    server: Server,
    state: Arc<State>,
}

/// What the server knows; changed by the test while it runs.
struct State {
    /// Host and port of the emulator.
    upstream: String,
    account: String,
    calls: Mutex<Vec<Call>>,
    rules: Mutex<Vec<Rule>>,
    functions: Mutex<BTreeMap<String, Callback>>,
    /// Of callers that may not do all.
    granted: Mutex<BTreeMap<String, Granted>>,
}

struct Rule {
    on: On,
    fault: Fault,
    matched: usize,
}

impl Proxy {
    /// In front of an account of its own, in which there is nothing.
    pub fn start(moto: &Moto) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let account = format!("{:012}", 100_000_000_000 + u64::from(NEXT.fetch_add(1, Ordering::Relaxed)));
        Self::of_account(moto, &account)
    }

    /// In front of an account of 12 digits.
    pub fn of_account(moto: &Moto, account: &str) -> Self {
        let state = Arc::new(State {
            upstream: moto.url().trim_start_matches("http://").to_owned(),
            account: account.to_owned(),
            calls: Mutex::default(),
            rules: Mutex::default(),
            functions: Mutex::default(),
            granted: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&shared);
            Box::pin(async move { state.answer(request).await })
        });
        Self { server, state }
    }

    /// The endpoint for clients, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The account behind it.
    pub fn account(&self) -> &str {
        &self.state.account
    }

    /// A plain client through this proxy; its calls are counted like all others.
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// All calls that have come, in their order, since they were last forgotten.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    /// How many of them match.
    pub fn count(&self, on: &On) -> usize {
        self.calls()
            .iter()
            .filter(|call| on.matches(call))
            .enumerate()
            .filter(|(number, _)| on.is_number(*number))
            .count()
    }

    /// Forgets all calls; rules stay, and count from 0 again.
    pub fn forget(&self) {
        self.state.calls.lock().unwrap().clear();
        self.state.rules.lock().unwrap().iter_mut().for_each(|rule| rule.matched = 0);
    }

    /// From now on does this to these calls. Of several rules that hold, the oldest does it.
    pub fn fault(&self, on: On, fault: Fault) {
        self.state.rules.lock().unwrap().push(Rule { on, fault, matched: 0 });
    }

    /// From now on makes these calls wait until they are released.
    pub fn hold(&self, on: On) -> Held {
        let held = Held::new();
        self.fault(on, Fault::Held(held.clone()));
        held
    }

    /// From now on does nothing to any call. Those that wait go on waiting.
    pub fn heal(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// From now on this caller may do only this; all else is denied to it.
    pub fn permit(&self, caller: &str, permissions: impl IntoIterator<Item = Permission>) {
        self.state.granted.lock().unwrap().insert(caller.to_owned(), Granted::new(permissions));
    }

    /// What a caller was permitted and never did: whole permissions, or those of their leading keys.
    pub fn unused(&self, caller: &str) -> Vec<Permission> {
        let granted = self.state.granted.lock().unwrap();
        granted.get(caller).map(Granted::unused).unwrap_or_default()
    }

    /// From now on runs this whenever the function of that name is invoked through the proxy; without it the answer is
    /// that there is no such function.
    pub fn on_invoke<F>(&self, name: &str, run: impl Fn(Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Value, FunctionError>> + Send + 'static,
    {
        let run: Callback = Arc::new(move |payload| Box::pin(run(payload)));
        self.state.functions.lock().unwrap().insert(name.to_owned(), run);
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url()).field("account", &self.state.account).finish_non_exhaustive()
    }
}
