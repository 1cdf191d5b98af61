//! What the service knows, without HTTP, SQL or a clock of its own.

pub mod agreement;
pub mod audit;
pub mod backup;
pub mod call;
pub mod clock;
pub mod compile;
pub mod compiled;
pub mod consent;
pub mod deadline;
pub mod document;
pub mod draft;
pub mod fixture;
pub mod hold;
pub mod key;
pub mod number;
pub mod package;
pub mod period;
pub mod plan;
pub mod rectification;
pub mod request;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod vault;
pub mod webhook;
