//! A second reading of what is rendered for a proxy. It shares nothing with what made it.

pub(crate) mod haproxy;
pub(crate) mod named;
pub(crate) mod nginx;

use nodeweir_domain::config::ProxyKind;

/// A proxy's file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum File {
    Nginx(Vec<nginx::Directive>),
    Haproxy(Vec<Vec<String>>),
}

impl File {
    /// Panics if the text has not the form of the program's files.
    pub(crate) fn read(kind: ProxyKind, text: &str) -> Self {
        let read = match kind {
            ProxyKind::Nginx => nginx::read(text).map(Self::Nginx),
            ProxyKind::Haproxy => haproxy::read(text).map(Self::Haproxy),
        };
        read.unwrap_or_else(|why| panic!("{why}\n{text}"))
    }

    /// The same with other words.
    pub(crate) fn map(self, change: &impl Fn(String) -> String) -> Self {
        match self {
            Self::Nginx(file) => Self::Nginx(nginx::map(file, change)),
            Self::Haproxy(file) => {
                Self::Haproxy(file.into_iter().map(|line| line.into_iter().map(change).collect()).collect())
            }
        }
    }
}
