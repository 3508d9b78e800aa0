//! The published object as a file in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nodeweir_domain::fleet::revision::digest;
use rustix::fs::{FlockOperation, flock};

use crate::edges::{EdgeError, Etag, PublishedObject};

/// A file that is replaced only by who knows what it holds, and only as a whole.
#[derive(Debug, Clone)]
pub struct FolderObject {
    file: PathBuf,
}

impl FolderObject {
    /// The object in `folder`, which is created where it is not there.
    pub fn open(folder: &Path) -> Result<Self, EdgeError> {
        // The owner's alone: node addresses are nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| EdgeError::new(format!("creating {}", folder.display()), &error))?;
        Ok(Self { file: folder.join("revision.conf") })
    }

    fn read(&self) -> io::Result<Option<(Etag, String)>> {
        match fs::read(&self.file) {
            // Bytes that are no text are shown as such to the reader, who finds that they are no revision.
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Ok(Some((Etag(digest(&text)), text)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, seen: Option<&Etag>, text: &str) -> io::Result<bool> {
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.file.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if self.read()?.map(|(etag, _)| etag).as_ref() != seen {
            return Ok(false);
        }
        write_whole(&self.file, text.as_bytes())?;
        Ok(true)
    }
}

/// Replaces a file so that whoever reads it, even after a crash, finds the old content or the new one.
pub fn write_whole(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(content)?;
    beside.as_file().sync_all()?;
    beside.persist(file).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

impl PublishedObject for FolderObject {
    async fn get(&self) -> Result<Option<(Etag, String)>, EdgeError> {
        let object = self.clone();
        let read = tokio::task::spawn_blocking(move || object.read()).await;
        let failed =
            |error: &dyn ToString| EdgeError::new(format!("reading {}", self.file.display()), &error.to_string());
        read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    async fn put(&self, seen: Option<&Etag>, text: &str) -> Result<bool, EdgeError> {
        let (object, seen, text) = (self.clone(), seen.cloned(), text.to_owned());
        let done = tokio::task::spawn_blocking(move || object.replace(seen.as_ref(), &text)).await;
        let failed =
            |error: &dyn ToString| EdgeError::new(format!("writing {}", self.file.display()), &error.to_string());
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_knows_what_is_there_may_replace_it() {
        let folder = tempfile::tempdir().unwrap();
        let object = FolderObject::open(folder.path()).unwrap();
        assert_eq!(object.get().await.unwrap(), None);
        assert!(object.put(None, "one").await.unwrap());
        assert!(!object.put(None, "two").await.unwrap(), "there is one already");
        let (etag, text) = object.get().await.unwrap().unwrap();
        assert_eq!(text, "one");
        assert!(object.put(Some(&etag), "two").await.unwrap());
        assert!(!object.put(Some(&etag), "three").await.unwrap(), "it is another by now");
        assert_eq!(object.get().await.unwrap().unwrap().1, "two");
    }

    #[tokio::test]
    async fn of_many_writers_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let object = FolderObject::open(folder.path()).unwrap();
        let put = |index: u32| {
            let object = object.clone();
            tokio::spawn(async move { object.put(None, &index.to_string()).await.unwrap() })
        };
        let mut won = 0;
        for task in (0..20).map(put).collect::<Vec<_>>() {
            won += u32::from(task.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}
