# One image with the three programs. From the repository's root:
#
#   docker build --tag mr .
#   docker run --rm mr mr-submit --help
#
# docs/install.md says how to run a cluster of it.

# ---- Where it is built: Rust, a C compiler, git and the binutils are in this image, and nothing else is needed.
# Debian's release is that of the second stage, so that the programs find the glibc that they were linked with.
FROM rust:1.94.1-trixie AS build
WORKDIR /src
# .dockerignore leaves out what was built outside.
COPY . .
# The release as everyone gets it, tests of the archive included: a quarter of an hour on two cores.
RUN cargo xtask dist \
    && mkdir /release \
    && tar --extract --file target/dist/mr-*.tar.gz --directory /release --strip-components=1

# ---- What is shipped: a small Debian, the programs, and whom to trust in TLS.
FROM debian:trixie-slim
# S3 is asked over TLS, and the certificates of authorities are the system's.
# Programs of `stream` jobs run here too: whoever has some in Python builds on this image and adds python3.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# Nobody in particular, by a number that Kubernetes can hold against `runAsNonRoot`. It owns where state and scratch
# lie.
RUN groupadd --gid 10001 mr \
    && useradd --uid 10001 --gid mr --home-dir /var/lib/mr --create-home --shell /usr/sbin/nologin mr \
    && install --directory --owner=mr --group=mr /var/lib/mr/state /var/cache/mr
COPY --from=build /release/bin/ /usr/local/bin/
COPY --from=build /release/LICENSE /release/THIRD-PARTY.txt /release/BUILD.txt /release/sbom.cdx.json /usr/share/doc/mr/

USER 10001:10001
WORKDIR /var/lib/mr
# Flags of the same meaning win. No credentials and no certificates here: they come when it runs. A coordinator in a
# container is called from outside of it, which it refuses to be without certificates.
ENV MR_LISTEN=0.0.0.0:7171 \
    MR_STATE=/var/lib/mr/state \
    MR_SCRATCH=/var/cache/mr
EXPOSE 7171
# Each hands back what it holds and is gone within ten seconds, which is the time that `docker stop` gives: `-t 15`
# is safe.
STOPSIGNAL SIGTERM
CMD ["mr-submit", "--help"]
