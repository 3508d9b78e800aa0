//! What must be done now and then while a proxy runs.

use rustix::process::Signal;

use super::folder::FileError;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Looks after the log of what was used, if the revision writes one; and after what could not be written when it
    /// ran. To be called every second or so while the proxy runs.
    pub fn upkeep(&mut self) -> Result<(), FileError> {
        if let Some(bytes) = &self.unkept
            && self.folder.write_last_good(bytes).is_ok()
        {
            self.unkept = None;
        }
        if !self.is_metered || self.current.is_none() {
            return Ok(());
        }
        let is_new = self.usage.prepare(self.workers.as_ref())?;
        let done = self.usage.upkeep()?;
        if is_new || done.must_reopen {
            self.signal(Signal::USR1);
        }
        if done.lost > 0 {
            let what = format!(
                "nobody reads the log of what was used: {} bytes of it had to be deleted, and the requests in them \
                 will not be in any project's usage; is the gate running?",
                done.lost
            );
            self.tell(&what);
        }
        Ok(())
    }

    /// Deletes the log of what was used, for whoever knows that all of it was read: to be called after
    /// [`Self::stop`], when the gate's process has ended in good order. What it lies in is memory, and without this it
    /// stays there for the next start.
    pub fn discard_used(&self) -> Result<(), FileError> {
        if self.child.is_some() {
            return Ok(());
        }
        self.usage.discard()
    }
}
