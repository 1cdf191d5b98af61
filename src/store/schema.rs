//! The tables as diesel sees them: only types that both databases share. Columns and their reasons are
//! documented in `migrations/`.

diesel::table! {
    requests (id) {
        id -> Text,
        kind -> Text,
        status -> Text,
        outcome -> Nullable<Text>,
        plan -> Text,
        plan_version -> Text,
        external_id -> Nullable<Text>,
        created_by -> Text,
        submitted_at -> Timestamp,
        created_at -> Timestamp,
        due_at -> Timestamp,
        started_at -> Nullable<Timestamp>,
        finished_at -> Nullable<Timestamp>,
        run_at -> Timestamp,
        lease_until -> Nullable<Timestamp>,
        epoch -> BigInt,
        attempt -> Integer,
        strikes -> Integer,
        failures -> Integer,
        waits -> Integer,
        resolved -> Bool,
        touched -> Bool,
        error -> Nullable<Text>,
        cancelled_by -> Nullable<Text>,
        subject_ref -> Nullable<Text>,
        steps -> Text,
        audit_seq -> BigInt,
        audit_hash -> Text,
        answering -> Text,
        answered_at -> Nullable<Timestamp>,
        reminded_at -> Nullable<Timestamp>,
        hold_id -> Nullable<Text>,
    }
}

diesel::table! {
    keeps (request_id) {
        request_id -> Text,
        due_at -> Timestamp,
    }
}

diesel::table! {
    request_secrets (request_id) {
        request_id -> Text,
        wrapped_key -> Binary,
        confidential -> Binary,
    }
}

diesel::table! {
    request_keys (request_id, part) {
        request_id -> Text,
        part -> Text,
        sealed -> Binary,
    }
}

diesel::table! {
    request_refs (request_id, identity, pseudonym) {
        request_id -> Text,
        identity -> Text,
        #[sql_name = "ref"]
        pseudonym -> Text,
        shown -> Nullable<Text>,
    }
}

diesel::table! {
    open_requests (kind, plan, place) {
        kind -> Text,
        plan -> Text,
        place -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    subject_locks (pseudonym) {
        #[sql_name = "ref"]
        pseudonym -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    idempotency_keys (created_by, key) {
        created_by -> Text,
        key -> Text,
        fingerprint -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    audit_events (id) {
        id -> Text,
        stream -> Text,
        seq -> BigInt,
        at -> Text,
        event -> Text,
        request_id -> Nullable<Text>,
        subject_ref -> Nullable<Text>,
        actor -> Text,
        step -> Nullable<Text>,
        action -> Nullable<Text>,
        #[sql_name = "rows"]
        counts -> Nullable<Text>,
        details -> Text,
        prev_hash -> Text,
        hash -> Text,
    }
}

diesel::table! {
    plans (name) {
        name -> Text,
        version -> Text,
        registered_at -> Timestamp,
        source -> Text,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    plan_versions (name, version) {
        name -> Text,
        version -> Text,
        registered_at -> Timestamp,
        source -> Text,
        compiled -> Text,
    }
}

diesel::table! {
    schema_migrations (version) {
        version -> Integer,
        name -> Text,
        applied_at -> Timestamp,
    }
}

diesel::table! {
    holds (id) {
        id -> Text,
        plan -> Text,
        scope -> Text,
        held_table -> Nullable<Text>,
        ground -> Text,
        placed_by -> Text,
        placed_at -> Timestamp,
        expires_at -> Nullable<Timestamp>,
        ended_by -> Nullable<Text>,
        ended_at -> Nullable<Timestamp>,
        wrapped_key -> Binary,
        confidential -> Binary,
        audit_seq -> BigInt,
        audit_hash -> Text,
        identities_destroyed_at -> Nullable<Timestamp>,
        reduced_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    hold_refs (hold_id, identity, pseudonym) {
        hold_id -> Text,
        identity -> Text,
        #[sql_name = "ref"]
        pseudonym -> Text,
        shown -> Nullable<Text>,
    }
}

diesel::table! {
    webhook_deliveries (id) {
        id -> Text,
        endpoint -> Text,
        request_id -> Nullable<Text>,
        event -> Text,
        body -> Text,
        created_at -> Timestamp,
        attempts -> Integer,
        next_at -> Nullable<Timestamp>,
        delivered_at -> Nullable<Timestamp>,
        failure -> Nullable<Text>,
    }
}

diesel::table! {
    packages (request_id) {
        request_id -> Text,
        place -> Text,
        size -> BigInt,
        sha256 -> Text,
        encrypted -> Bool,
        wrapped_key -> Nullable<Binary>,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        expired_at -> Nullable<Timestamp>,
        removed -> Bool,
    }
}

diesel::table! {
    package_links (hash) {
        hash -> Text,
        request_id -> Text,
        created_by -> Text,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    runs (id) {
        id -> Text,
        task -> Text,
        status -> Text,
        outcome -> Nullable<Text>,
        params -> Text,
        created_by -> Text,
        idempotency_key -> Nullable<Text>,
        created_at -> Timestamp,
        started_at -> Nullable<Timestamp>,
        finished_at -> Nullable<Timestamp>,
        run_at -> Timestamp,
        lease_until -> Nullable<Timestamp>,
        epoch -> BigInt,
        attempt -> Integer,
        strikes -> Integer,
        failures -> Integer,
        waits -> Integer,
        cancelled_by -> Nullable<Text>,
        steps -> Text,
        report -> Text,
        error -> Nullable<Text>,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    schedules (name) {
        name -> Text,
        timing -> Text,
        next_at -> Nullable<Timestamp>,
        fired_at -> Nullable<Timestamp>,
        run_id -> Nullable<Text>,
        skipped_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    backups (name) {
        name -> Text,
        run_id -> Nullable<Text>,
        lease_until -> Nullable<Timestamp>,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    backup_reports (name, seq) {
        name -> Text,
        seq -> BigInt,
        ok -> Bool,
        reasons -> Text,
        message -> Nullable<Text>,
        last_success -> Nullable<Timestamp>,
        retention_days -> Nullable<Integer>,
        size -> Nullable<BigInt>,
        checksum -> Nullable<Text>,
        tables -> Text,
        duration_ms -> BigInt,
        verified_at -> Timestamp,
    }
}

diesel::table! {
    consents (id) {
        id -> Text,
        plan -> Text,
        purpose -> Text,
        state -> Text,
        text_version -> Text,
        text_hash -> Text,
        source -> Text,
        at -> Timestamp,
        recorded_by -> Text,
        recorded_at -> Timestamp,
        wrapped_key -> Nullable<Binary>,
        confidential -> Nullable<Binary>,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    consent_refs (consent_id, identity, pseudonym) {
        consent_id -> Text,
        identity -> Text,
        #[sql_name = "ref"]
        pseudonym -> Text,
        given_up_at -> Nullable<Timestamp>,
        shown -> Nullable<Text>,
    }
}

diesel::table! {
    consent_keys (recorded_by, key) {
        recorded_by -> Text,
        key -> Text,
        fingerprint -> Text,
        consent_id -> Text,
    }
}

diesel::table! {
    fixture_files (id) {
        id -> Text,
        connection -> Text,
        environment -> Text,
        path -> Text,
        hash -> Nullable<Text>,
        loaded_at -> Nullable<Timestamp>,
        #[sql_name = "rows"]
        row_count -> Nullable<BigInt>,
        due -> Bool,
        epoch -> BigInt,
        lease_until -> Nullable<Timestamp>,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    swept_requests (request_id) {
        request_id -> Text,
        identities_destroyed_at -> Timestamp,
        corrected -> Nullable<Text>,
        reduced_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    sweeps (name) {
        name -> Text,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    ledgers (id) {
        id -> Text,
        wrapped_key -> Binary,
        audit_seq -> BigInt,
        audit_hash -> Text,
    }
}

diesel::table! {
    erasure_ledger (id) {
        id -> Text,
        ledger_id -> Text,
        request_id -> Text,
        plan -> Text,
        completed_at -> Timestamp,
        sealed -> Binary,
    }
}

diesel::table! {
    replays (run_id, entry_id) {
        run_id -> Text,
        entry_id -> Text,
        erasure_id -> Text,
        plan -> Text,
        request_id -> Nullable<Text>,
        code -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(plans, plan_versions);
diesel::allow_tables_to_appear_in_same_query!(requests, request_refs);
diesel::allow_tables_to_appear_in_same_query!(holds, hold_refs);
diesel::allow_tables_to_appear_in_same_query!(hold_refs, request_keys, request_refs);
diesel::allow_tables_to_appear_in_same_query!(keeps, packages, request_secrets, requests, swept_requests);
diesel::allow_tables_to_appear_in_same_query!(idempotency_keys, requests);
diesel::allow_tables_to_appear_in_same_query!(consents, consent_keys);
diesel::allow_tables_to_appear_in_same_query!(backups, backup_reports);
diesel::allow_tables_to_appear_in_same_query!(audit_events, consents, consent_refs, request_refs);
diesel::allow_tables_to_appear_in_same_query!(erasure_ledger, replays, requests);
