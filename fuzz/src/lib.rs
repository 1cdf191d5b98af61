//! What the fuzz targets run is what `cargo test` runs on their corpora.

#[path = "../../tests/it/fuzz/properties/mod.rs"]
pub mod properties;
