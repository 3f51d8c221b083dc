# The action's image: one static binary and nothing else. No shell, no CA bundle (the public roots are compiled in), and no
# USER, since the runner's command files belong to root. Cargo.lock and the base image's digest pin what is linked in; Debian's
# packages move, but bring tools and the C library alone. A release has the same image, of a program that is built once: .github/release.
FROM rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# A target has to be named, even if it is the host: otherwise the flags would apply to procedural macros as well.
ENV RUSTFLAGS="-C target-feature=+crt-static"
# A profile of Cargo.toml.
ARG PROFILE=release
# Whatever the machine is: nothing below is for one architecture alone.
RUN rustc --print host-tuple > /target

# The dependencies, OpenSSL among them, are a layer of their own: it lasts as long as these two files.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src/tool \
    && echo 'fn main() {}' | tee src/main.rs src/tool/embed.rs \
    && touch src/lib.rs \
    && cargo build --profile "$PROFILE" --locked --bins --target "$(cat /target)"

COPY action.yml ./
COPY src src
# Younger than the stand-ins above, so that Cargo builds it.
RUN touch src/main.rs src/lib.rs src/tool/embed.rs \
    && cargo build --profile "$PROFILE" --locked --bins --target "$(cat /target)" \
    && mkdir /image && cp "target/$(cat /target)/$PROFILE/bastion-migrate" /image/ \
    && ln -s bastion-migrate /image/bastion-migrate-sweep \
    && ln -s bastion-migrate /image/bastion-migrate-tunnel \
    && ln -s bastion-migrate /image/bastion-migrate-relay

FROM scratch
LABEL org.opencontainers.image.source="https://github.com/bastion-migrate/bastion-migrate" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Threads read and weigh files, and the C library would keep what each has freed for that thread alone (mallopt(3), `M_ARENA_MAX`).
ENV MALLOC_ARENA_MAX=1
COPY --from=build /image/ /
ENTRYPOINT ["/bastion-migrate"]
