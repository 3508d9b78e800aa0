//! Where the gate listens: a unix socket, or a TCP address.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use nodeweir_domain::config::GateAddress;

/// Either kind of connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Accepts nginx's connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at the configured address; `socket` is where a unix socket goes.
    pub(crate) async fn bind(address: GateAddress, socket: &Path) -> io::Result<Self> {
        match address {
            GateAddress::Socket => bind_unix(socket).map(Self::Unix),
            GateAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// The name changes hands in one step, so that there is always somebody behind it while one process follows another.
/// Everybody may connect who can reach it: the folder it stands in admits only nginx's workers.
fn bind_unix(socket: &Path) -> io::Result<UnixListener> {
    let mut new = socket.to_owned().into_os_string();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o666))?;
    fs::rename(&new, socket)?;
    Ok(listener)
}
