//! nginx or HAProxy as a child of this process, kept right.
//!
//! [`Program::find`] says which program; a [`Supervisor`] runs it in a folder of its own. It puts in what the text of
//! a revision leaves open (the revision's name, the values of secrets), adds what belongs to the machine in files
//! beside it, has the proxy's own checker look first, and asks the running proxy which revision it really runs.
//! Called by `nodeweir up`.
//!
//! What a revision's text relies on:
//! - The proxy works in its folder; every path is relative to it: `sock/<id>.sock`, `tmp/…`.
//! - nginx includes `host-main.conf` at the main level and `host-http.conf` in `http`; with the gate also
//!   `host-lua-main.conf` and `host-lua-http.conf`. It finds the gate at `sock/gate.sock`, which the gate's own
//!   process makes, and writes down for it in `usage/requests.log` what was used. HAProxy gets a file with a `global`
//!   section and `resolvers system` before the revision's, and `NODEWEIR_CA_FILE` in its environment.
//! - `/readyz` is 503 while the file `draining` or `refusing` exists (nginx) or after `POST /drain` on `sock/admin.sock`
//!   (HAProxy).
//! - `GET /revision` on `sock/admin.sock` answers
//!   [`REVISION`](nodeweir_domain::fleet::render::REVISION), which is replaced by the revision's name.
//!
//! A proxy outlives a supervisor that is killed, and goes on serving. The next one replaces it: it finds the proxy's
//! processes by their folder, asks them to finish, and starts its own when they have let go of the port.

mod admin;
mod ending;
mod error;
mod folder;
mod host;
mod last_good;
mod launch;
mod lines;
mod lua;
mod process;
mod program;
mod redact;
mod supervisor;
mod takeover;
mod upkeep;
mod usage;

pub use admin::revision_in;
pub use ending::{Exited, Stopped};
pub use error::{ApplyError, StartError};
pub use folder::{FileError, FolderError};
pub use lines::{Line, Source};
pub use lua::Lua;
pub use program::{Program, ProgramError, ROOT_VARIABLE, Root, Version};
pub use redact::Redactor;
pub use supervisor::{Settings, Supervisor};
