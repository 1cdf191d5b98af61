//! Roles, operations, and the one table that joins them. What is not in the table is denied.

/// A staff role, or a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Admin,
    Approver,
    Auditor,
    /// A program that submits on behalf of its users, and sees only what it submitted itself.
    Service,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Admin, Self::Approver, Self::Auditor, Self::Service];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Service => "service",
        }
    }

    /// `None` for a role of somebody else's: tokens carry roles of many services.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// What a route does, as far as rights are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Submit,
    /// Approve or deny.
    Decide,
    /// All that concerns the month: identity check, extension, answer.
    Answer,
    /// Holds what an approver wrote, and what the person is told.
    DraftAnswer,
    Cancel,
    Retry,
    /// Says what became of a manual step.
    CompleteStep,
    Preview,
    /// Take the package of an export.
    Download,
    /// Let somebody without a token take it.
    LinkDownload,
    ReadRequests,
    ReadPlans,
    PlaceHold,
    EndHold,
    ReadHolds,
    /// Start and stop what is done beside requests.
    Upkeep,
    ReadRuns,
    ReadBackups,
    RecordConsent,
    ReadConsents,
    /// What was told to webhooks.
    Webhooks,
    Audit,
    /// Counts of requests, and nothing of what is in them.
    Summarise,
    /// Size and root of the log, and nothing of what is in it.
    ReadCheckpoint,
}

impl Operation {
    /// The table of roles.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        use Role::{Admin, Approver, Auditor, Service};
        match self {
            Self::Submit | Self::Download | Self::RecordConsent => &[Admin, Service],
            Self::Answer | Self::Cancel | Self::Retry | Self::CompleteStep => &[Admin],
            // An approval quotes what the preview showed.
            Self::Preview | Self::Webhooks | Self::PlaceHold | Self::LinkDownload => &[Admin],
            Self::Upkeep => &[Admin],
            Self::ReadHolds | Self::ReadRuns => &[Admin, Approver, Auditor],
            Self::DraftAnswer => &[Admin, Approver],
            Self::Decide | Self::EndHold => &[Approver],
            Self::ReadRequests | Self::ReadConsents => &[Admin, Approver, Auditor, Service],
            // No plan is a service's own.
            Self::ReadPlans => &[Admin, Approver, Auditor],
            Self::ReadBackups | Self::Summarise | Self::ReadCheckpoint => &[Admin, Auditor],
            Self::Audit => &[Auditor],
        }
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's `sub`; staff or a program, never a data subject. Appears in the audit as the actor.
    pub sub: String,
    pub roles: Vec<Role>,
}

impl Principal {
    /// Several roles add up.
    #[must_use]
    pub fn may(&self, operation: Operation) -> bool {
        self.has_any(operation.roles())
    }

    #[must_use]
    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }
}
