# One image for every x86-64 processor: the kernels are chosen when it starts.
#
#   docker build -t denoised --build-arg REVISION="$(git describe --always --dirty)" .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 denoised

FROM debian:bookworm-slim AS build
WORKDIR /src
# npm fetches the renderer of /docs.
RUN apt-get update && apt-get install -y --no-install-recommends make npm
# The packages are a layer of their own: a change of the sources does not install them again.
COPY Makefile ./
COPY tools ./tools
RUN make deps
COPY . .
ARG REVISION=unknown
RUN make -j"$(nproc)" REVISION="$REVISION" install DESTDIR=/out PREFIX=/usr

FROM debian:bookworm-slim
# The serial OpenBLAS: the daemon's workers are the parallelism.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmicrohttpd12 libcjson1 libpng16-16 \
        libopenblas0-serial libuv1 libnettle8 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/usr/bin/denoised /usr/bin/denoised
COPY --from=build /out/usr/share/denoised /usr/share/denoised

ARG REVISION=unknown
LABEL org.opencontainers.image.title="denoised" \
      org.opencontainers.image.description="Serves images from a class-conditional diffusion UNet over HTTP" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

ENV DENOISED_LISTEN=0.0.0.0:8080 \
    DENOISED_LOG_FORMAT=json
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# bash opens the socket itself; the image has no curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/bin/denoised"]
CMD ["serve"]
