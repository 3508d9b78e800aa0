//! Why a run failed, as Lambda, its logs and its dead letters show it.

use lambda_runtime::Diagnostic;
use nodeweir_control::edges::EdgeError;
use nodeweir_control::publish::PublishError;
use nodeweir_control::rollout::RolloutError;
use nodeweir_store::StoreError;

/// Why a run failed. The next one repeats it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The tables.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The published object, the service, or another function.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// Publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Rolling out.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// Part of the work; each part's error is in the log.
    #[error("{failed} of {all} networks could not be stored; the log says why")]
    Partly {
        /// How many failed.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// The event is none that this function knows.
    #[error("the event cannot be read: {0}")]
    Event(#[from] serde_json::Error),
}

impl RunError {
    /// A name that stays, for filters and alarms.
    fn kind(&self) -> &'static str {
        match self {
            Self::Store(error)
            | Self::Publish(PublishError::Store(error))
            | Self::Rollout(RolloutError::Store(error)) => match error {
                StoreError::Unavailable { .. } => "StoreUnavailable",
                _ => "StoreUnreadable",
            },
            Self::Publish(PublishError::Object(_)) => "ObjectUnavailable",
            Self::Publish(PublishError::Overtaken) => "Overtaken",
            Self::Edge(_) | Self::Rollout(RolloutError::Edge(_)) => "ServiceUnavailable",
            Self::Rollout(RolloutError::Unreadable(_)) => "RevisionUnreadable",
            Self::Rollout(RolloutError::OtherProxy { .. }) => "OtherProxy",
            Self::Partly { .. } => "PartlyStored",
            Self::Event(_) => "BadEvent",
        }
    }
}

impl From<RunError> for Diagnostic {
    fn from(error: RunError) -> Self {
        Self { error_type: error.kind().to_owned(), error_message: error.to_string() }
    }
}
