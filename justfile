# What is run by hand, or by night. `just` only names the commands; each runs as it stands here, too.

# Everything that has to hold before a change is taken.
gate:
    .ci/run

# Ends the service N times, at all of its named points in turn, and starts it again.
crash N="300":
    RIGHTFUL_KILLS={{ N }} cargo test --locked --test it -- --nocapture crash::points::whatever

# As `crash`, at random moments in every scenario, N times for each target and store.
crash-at-random N="50":
    RIGHTFUL_KILLS={{ N }} cargo test --locked --test it -- --nocapture crash:: --skip crash::points

# What is promised about speed, as ratios to the same work without the service in the same run.
bench:
    cargo bench --locked

# Fuzz targets for so many seconds each; all of them where none is named.
fuzz SECONDS="60" *TARGETS:
    fuzz/run {{ SECONDS }} {{ TARGETS }}

# One-line faults of the engine, store and worker, each of which some test has to find.
mutants:
    python3 .ci/mutants.py
