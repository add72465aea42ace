# syntax=docker/dockerfile:1
# One image with the three programs; `command` chooses. Built by .github/workflows/release.yml,
# for two architectures. deploy/image_test.go holds it to go.mod, to the manifests and to being
# reproducible.
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t esimflow .
#
# Bases are tags here; the release writes down the digests that they stood for (provenance).
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download && go mod verify
COPY api ./api
COPY cmd ./cmd
COPY internal ./internal
COPY migrations ./migrations
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS=-mod=readonly \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X esimflow/internal/app.stampedVersion=$VERSION -X esimflow/internal/app.stampedRevision=$REVISION" \
    -o /out/ ./cmd/worker ./cmd/publisher ./cmd/esimctl

# No shell, no package manager: authorities, time zones, and a user.
FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="esimflow" \
      org.opencontainers.image.description="Buys eSIMs and top-ups from PressOne, at most once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/ /usr/local/bin/
COPY LICENSE /usr/share/doc/esimflow/LICENSE
USER 65532:65532
EXPOSE 8080 9464
ENTRYPOINT ["/usr/local/bin/worker"]
