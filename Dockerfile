# One image with the control plane and the filter. `docker build -t toolward .`
FROM rust:1.92-bookworm AS build
RUN rustup target add wasm32-wasip1
WORKDIR /src
COPY . .
RUN tools/build-wasm
# Kernels of arm64 have pages of up to 64 KiB; the allocator would take those of the machine that builds.
RUN if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    cargo build --release --locked --package toolward-xds-server --bin toolward

# No shell, no package manager, not root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/toolward /usr/local/bin/toolward
# `toolward copy-filter` brings it from here into Envoy's pods.
COPY --from=build /src/target/wasm/toolward.wasm /toolward/toolward.wasm
ENV TOOLWARD_WASM_FILE=/toolward/toolward.wasm
USER 65532:65532
ENTRYPOINT ["toolward"]
