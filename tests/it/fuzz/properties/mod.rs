//! What holds of every input, whoever made it: properties of the code that reads bytes from outside. The fuzz targets in
//! `fuzz/` look for inputs that break one; `cargo test` holds every file of `fuzz/corpus` against them.

pub mod canonical;
pub mod certificate;
pub mod checkpoint;
pub mod cursor;
mod documents;
pub mod export_line;
pub mod fixture;
pub mod key;
pub mod plan;
pub mod schedule;
pub mod token;
pub mod value;

/// Panics where a property does not hold of the input; true where the input was taken for what it says it is.
pub type Check = fn(&[u8]) -> bool;

/// Every target, by the name of its corpus.
pub const ALL: [(&str, Check); 11] = [
    ("canonical", canonical::check),
    ("certificate", certificate::check),
    ("checkpoint", checkpoint::check),
    ("cursor", cursor::check),
    ("export_line", export_line::check),
    ("fixture", fixture::check),
    ("key", key::check),
    ("plan", plan::check),
    ("schedule", schedule::check),
    ("token", token::check),
    ("value", value::check),
];
