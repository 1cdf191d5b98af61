//! The tables of the Merkle log and its checkpoints, and of who has read the log.

use super::schema::{audit_events, hold_refs};

diesel::table! {
    log_queue (event_id) {
        event_id -> Text,
    }
}

// A view: the queue, and on SQLite what is found without one.
diesel::table! {
    log_waiting (event_id) {
        event_id -> Text,
        hash -> Nullable<Text>,
    }
}

diesel::table! {
    log_entries (leaf_index) {
        leaf_index -> BigInt,
        event_id -> Text,
        hashes -> Binary,
    }
}

diesel::table! {
    checkpoints (number) {
        number -> BigInt,
        tree_size -> BigInt,
        signed_at -> Timestamp,
        note -> Text,
    }
}

diesel::table! {
    checkpoint_sinks (name) {
        name -> Text,
        number -> BigInt,
        published_at -> Nullable<Timestamp>,
        lease_until -> Nullable<Timestamp>,
        failures -> Integer,
        next_at -> Nullable<Timestamp>,
        failure -> Nullable<Text>,
    }
}

diesel::table! {
    audit_readings (day) {
        day -> Text,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(audit_events, log_waiting, log_entries);
diesel::allow_tables_to_appear_in_same_query!(audit_events, hold_refs);
