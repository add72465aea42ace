# Few targets; `make help` lists them. Nothing but Go is needed: Postgres is found on the
# machine or downloaded, NATS and PressOne's simulator run inside the process.

LINT := go tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check
check: ## everything that must pass before a merge: what CI runs
	.ci/run

.PHONY: lint
lint: ## vet, linters and formatting (the first run builds the linter, some minutes)
	go vet ./...
	$(LINT) run ./...

.PHONY: test
test: ## all tests
	go test ./...

.PHONY: race
race: ## all tests, in random order, with the race detector (needs a C compiler)
	go test -race -shuffle=on ./...

.PHONY: browser
browser: ## the console in Chromium (needs chromium, node and npm); SHOTS=1 keeps pictures
	npm ci --prefix internal/ops/browser --no-audit --no-fund
	go test -tags browser -count=1 ./internal/app -run '^TestConsoleInChromium$$'

.PHONY: dev
dev: ## the whole system on this machine, with sample traffic, until Ctrl-C
	go run ./cmd/esimctl dev

.PHONY: golden
golden: ## rewrite what tests compare with and generate: golden files, generated docs
	go test -count=1 $$(.ci/golden) -update

.PHONY: fmt
fmt: ## format
	$(LINT) fmt ./...
