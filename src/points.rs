//! Named points between two durable writes, at which the crash tests end the process or stop it. `RIGHTFUL_CRASH_AT` and
//! `RIGHTFUL_STOP_AT` name one each: `batch.committed`, or `batch.committed:3` for its third passing. Nothing of this is
//! in a release build.

/// Declares the points with the names that the environment knows them by.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident $name:literal,)*) => {
        /// A place where the process may die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// As the environment knows it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A request is stored, and its answer has not left.
    RequestAccepted "request.accepted",
    /// The same key was met again, and the answer has not left.
    RequestRepeated "request.repeated",
    RequestApproved "request.approved",
    RequestClaimed "request.claimed",
    /// A chunk of the manifest is stored, before the resolution is.
    KeysSealed "keys.sealed",
    /// The person, the counts and the rest of the manifest are stored, and nothing is touched.
    PersonResolved "person.resolved",
    StepAnnounced "step.announced",
    /// The new values of a batch in flight are sealed.
    MaskAnnounced "mask.announced",
    /// A whole group of steps, in one transaction of its target.
    GroupCommitting "group.committing",
    GroupCommitted "group.committed",
    GroupRecorded "group.recorded",
    BatchCommitting "batch.committing",
    BatchCommitted "batch.committed",
    BatchRecorded "batch.recorded",
    /// What a commit did whose record was lost is booked.
    BatchRecovered "batch.recovered",
    /// The person's own row.
    RootCommitting "root.committing",
    RootCommitted "root.committed",
    RootRecorded "root.recorded",
    /// A fresh count found nothing, which is not recorded.
    StepVerifying "step.verifying",
    StepVerified "step.verified",
    RequestCompleting "request.completing",
    RequestCompleted "request.completed",
    /// Why an attempt ended is recorded.
    AttemptEnded "attempt.ended",
    /// The call to a service leaves next.
    CallSending "call.sending",
    CallAnswered "call.answered",
    /// Where a call under way is asked for is stored.
    CallKept "call.kept",
    CallBooked "call.booked",
    /// Which rows are kept is stored.
    KeepSealed "keep.sealed",
    KeepReopened "keep.reopened",
    KeepBegun "keep.begun",
    KeepLooked "keep.looked",
    /// One database of a correction.
    RectificationCommitting "rectification.committing",
    RectificationCommitted "rectification.committed",
    RectificationRecorded "rectification.recorded",
    /// Between two databases of a correction.
    RectificationVerified "rectification.verified",
    ExportPartWritten "export.part_written",
    ExportStepRecorded "export.step_recorded",
    /// The package is whole, and nothing tells of it.
    ExportPacked "export.packed",
    ExportRecorded "export.recorded",
    /// That it is taken is recorded, and its first byte has not left.
    PackageDownloaded "package.downloaded",
    /// The key is destroyed, and the parts are there.
    PackageExpired "package.expired",
    /// The parts are gone, which is not recorded.
    PackageRemoved "package.removed",
    ManualLeft "manual.left",
    ManualCompleted "manual.completed",
    HoldPlaced "hold.placed",
    HoldHeeded "hold.heeded",
    HoldEnded "hold.ended",
    ConsentRecorded "consent.recorded",
    /// In the transaction that completes an erasure.
    ConsentsPseudonymised "consents.pseudonymised",
    LedgerBegun "ledger.begun",
    RunAccepted "run.accepted",
    RunScheduled "run.scheduled",
    RunClaimed "run.claimed",
    RetentionStarted "retention.started",
    /// Rows lie in the archive that are about to go.
    RetentionArchived "retention.archived",
    RetentionCommitting "retention.committing",
    RetentionCommitted "retention.committed",
    RetentionRecorded "retention.recorded",
    RetentionRecovered "retention.recovered",
    RetentionCompleted "retention.completed",
    SweepRemoving "sweep.removing",
    SweepRemoved "sweep.removed",
    ReplayListed "replay.listed",
    /// One request of a replay is stored.
    ReplaySubmitted "replay.submitted",
    ReplayRecorded "replay.recorded",
    ReplaySettled "replay.settled",
    /// Events were taken out of the queue, and have no place.
    LogRead "log.read",
    /// They have one, in a transaction that may sign a checkpoint.
    LogPlaced "log.placed",
    CheckpointSigned "checkpoint.signed",
    CheckpointTaken "checkpoint.taken",
    /// It lies where it is published to, which is not recorded.
    CheckpointPut "checkpoint.put",
    CheckpointPublished "checkpoint.published",
    WebhookTaken "webhook.taken",
    WebhookSent "webhook.sent",
    WebhookNoted "webhook.noted",
}

#[cfg(all(debug_assertions, unix))]
pub use armed::{arm, reached};

/// Nothing, in a release build.
#[cfg(not(all(debug_assertions, unix)))]
#[inline(always)]
pub const fn reached(_: Point) {}

#[cfg(all(debug_assertions, unix))]
mod armed {
    use std::{
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    struct Armed {
        point: Point,
        /// Passings until then.
        left: AtomicU64,
        signal: Signal,
    }

    static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();

    /// Takes what the environment asks for: where to die, and where to stop until SIGCONT.
    ///
    /// # Errors
    /// For what is no point.
    pub fn arm(at: [Option<String>; 2]) -> Result<(), String> {
        let wanted = at.into_iter().zip([Signal::KILL, Signal::STOP]);
        let wanted = wanted.filter_map(|(at, signal)| Some(parse(&at?, signal)));
        // A second start in one process keeps the first points.
        let _ = ARMED.set(wanted.collect::<Result<_, _>>()?);
        Ok(())
    }

    fn parse(at: &str, signal: Signal) -> Result<Armed, String> {
        let unknown = || format!("`{at}` is no point: write NAME, or NAME:N for its Nth passing");
        let (name, nth) = at.split_once(':').unwrap_or((at, "1"));
        let point = Point::ALL.iter().copied().find(|point| point.name() == name).ok_or_else(unknown)?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(unknown)?;
        Ok(Armed { point, left: AtomicU64::new(nth), signal })
    }

    /// Dies or stops here where that was asked for.
    pub fn reached(point: Point) {
        tracing::trace!(point = point.name(), "reached");
        let armed = ARMED.get().into_iter().flatten().filter(|armed| armed.point == point);
        for armed in armed {
            if armed.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let _ = kill_process(getpid(), armed.signal);
                // Another thread may be the one that takes the signal: this one goes no further meanwhile.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
