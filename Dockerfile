# The service as an image: one binary, no shell, no root. The last stage is the service; the stage
# `sandbox` is the simulated provider, which the service's image does not carry.
#
#   docker build -t verdict .
#   docker build --target sandbox -t cloudauth-sandbox .
#
# Needs BuildKit (the default since Docker 23): its cache mounts keep the registry and the compiled
# dependencies between builds, so that a change of ours compiles only ours.

# A release pins both by digest, so that it can be built again from the same bytes:
#
#   docker build --build-arg BUILD_IMAGE=rust:1.95-bookworm@sha256:… \
#       --build-arg BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:… \
#       --build-arg VERSION=… --build-arg REVISION=… -t verdict .
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS sources
WORKDIR /src
COPY Cargo.toml Cargo.lock askama.toml build.rs REVISION ./
# Not built here, but the manifest names its files, and cargo wants to see them.
COPY benches benches
COPY crates crates
COPY src src
COPY migrations migrations
COPY config config
# `verdict explain` explains what these files list.
COPY docs/observability.md docs/game-day.md docs/
COPY deploy/prometheus/rules.yml deploy/prometheus/

FROM sources AS build-sandbox
# touch: cargo goes by times, and the cache may hold a younger build of other sources.
# The binary leaves the cache mount within the same step; a mount is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=verdict-target,target=/src/target,sharing=locked \
    find src crates -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --package cloudauth-sandbox \
 && install -D target/release/cloudauth-sandbox /out/cloudauth-sandbox

FROM ${BASE_IMAGE} AS sandbox
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cloudauth-sandbox" \
      org.opencontainers.image.description="A simulated provider for real-person verification (Cloudauth), for tests and CI" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-sandbox /out/cloudauth-sandbox /usr/local/bin/cloudauth-sandbox
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/cloudauth-sandbox"]
CMD ["--listen", "0.0.0.0:9000"]

# The book, which the service serves at /docs/book/. It is the same on every platform, so it is built
# on the builder's own. A `slim` image of Rust has no Python.
FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS book
WORKDIR /src
RUN command -v python3 >/dev/null || \
    { apt-get -q update && apt-get -q install -y --no-install-recommends python3; }
COPY scripts/book.sh scripts/book.py scripts/
COPY ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md ./
COPY benches/README.md benches/history.md benches/
COPY clients/README.md clients/
COPY crates/cloudauth/README.md crates/cloudauth/
COPY crates/cloudauth-sandbox/README.md crates/cloudauth-sandbox/
COPY deploy/kubernetes/README.md deploy/kubernetes/
COPY examples/README.md examples/
COPY docs docs
# CI: without mdBook there is an error, and no image without the book.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=verdict-book,target=/src/target,sharing=locked \
    CI=true scripts/book.sh \
 && mkdir /out \
 && cp -R target/book /out/book

FROM sources AS build
# Git is not in here: --build-arg REVISION=$(git rev-parse --short=12 HEAD) names the commit. An archive
# made by `git archive` brings it along.
ARG REVISION=
COPY --from=book /out/book /book
# Without default features: neither the simulated provider nor the demo.
# The empty folder becomes the image store, owned by the account that writes to it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=verdict-target,target=/src/target,sharing=locked \
    find src crates -name '*.rs' -exec touch {} + \
 && VERDICT_REVISION="${REVISION}" \
    VERDICT_BOOK=/book \
    cargo build --release --locked --no-default-features --features book --bin verdict \
 && install -D target/release/verdict /out/verdict \
 && install -d /out/images

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Verdict" \
      org.opencontainers.image.description="Turns 'the user has finished real-person verification' into a durable, explainable decision" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chown=65532:65532 /out/images /var/lib/verdict/images
COPY --from=build /out/verdict /usr/local/bin/verdict
# Relative paths in variables and options (config/policy.toml) start here.
WORKDIR /etc/verdict
COPY config config
USER 65532:65532
# 8080: the API. 9464: metrics and health, not for the outside.
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/verdict", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/verdict"]
CMD ["serve"]
