# One image for every x86-64 processor since 2009 (x86-64-v2), and for AArch64: the kernels are chosen
# when it starts. It holds the program, its model, its libraries and no shell, no package manager, no curl.
#
#   docker build -t denoised:0.1.0 --build-arg REVISION="$(git describe --always --dirty)" .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 denoised:0.1.0

FROM debian:trixie-slim AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends make
# The packages are a layer of their own: a change of the sources does not install them again.
COPY Makefile ./
COPY tools ./tools
RUN make deps
COPY . .
ARG REVISION=unknown
RUN make -j"$(nproc)" REVISION="$REVISION" DESTDIR=/out PREFIX=/usr install-program \
        CFLAGS="$(if [ "$(uname -m)" = x86_64 ]; then echo -march=x86-64-v2; fi)" \
 && strip /out/usr/bin/denoised

# The packages that the program needs, and of them the files that it needs.
FROM debian:trixie-slim AS runtime
# The serial OpenBLAS: the daemon's workers are the parallelism.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmicrohttpd12t64 libcjson1 libpng16-16t64 \
        libopenblas0-serial libuv1t64 libnettle8t64
COPY tools/image-root.sh /
COPY --from=build /out/usr/bin/denoised /usr/bin/denoised
COPY --from=build /out/usr/share/denoised /root-of-image/usr/share/denoised
COPY LICENSE /root-of-image/usr/share/doc/denoised/copyright
RUN /image-root.sh /usr/bin/denoised /root-of-image

FROM scratch
COPY --from=runtime /root-of-image /
ARG REVISION=unknown
LABEL org.opencontainers.image.title="denoised" \
      org.opencontainers.image.description="Serves images from a class-conditional diffusion UNet over HTTP" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"

ENV DENOISED_LISTEN=0.0.0.0:8080 \
    DENOISED_LOG_FORMAT=json
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# It asks the daemon at DENOISED_LISTEN, wherever that is.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/bin/denoised", "health"]
ENTRYPOINT ["/usr/bin/denoised"]
CMD ["serve"]
