# The service in two stages: a compiler, then nothing but the binary, trust roots and an unprivileged user.
FROM rust:1.95-bookworm AS build
# aws-lc builds with cmake where its prebuilt objects do not fit.
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY migrations migrations
COPY benches benches
COPY openapi.yaml ./
RUN cargo build --release --locked --bin rightful

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/rightful --create-home rightful
COPY --from=build /src/target/release/rightful /usr/local/bin/rightful
USER rightful
WORKDIR /var/lib/rightful
EXPOSE 8080
# Mount a folder with rightful.yaml and plans/ at /etc/rightful; a SQLite store goes to a volume:
# store: sqlite:/var/lib/rightful/rightful.db
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["rightful", "--config", "/etc/rightful/rightful.yaml"]
CMD ["serve"]
