# The targets of mailmove. "make" lists them.

GO ?= go
N ?= 20
# TTL is what the zone of a trial has: a migration waits for it.
TTL ?= 20s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/mailmove and bin/mailmove-lab
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

# -count=1: what real servers and programs that are built on the way do is no part of
# what the test cache knows.
.PHONY: test
test: ## all tests; as root also those on real servers, which install what they need
	@if [ "$$(id -u)" != 0 ]; then echo "Not root: tests on real servers (sshd, BIND, Postfix, Dovecot) are left out; each says so with -v."; fi
	@echo "Left out, for its length: the whole conformance suite on real mail servers (make long)."
	$(GO) test -count=1 -timeout 40m ./...

.PHONY: long
long: ## what "make test" leaves out: the whole conformance suite on real mail servers, a quarter of an hour (root)
	MAILMOVE_TEST_LONG=1 $(GO) test -count=1 -timeout 60m -v ./providers/mail/postfix_dovecot

.PHONY: check
check: ## gofmt, vet, staticcheck, govulncheck, import table, tests with the race detector
	@unformatted=$$(gofmt -l cmd engine providers examples); if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@$(MAKE) --no-print-directory vulnerabilities
	$(GO) test -run '^TestArchitecture' ./cmd/mailmove
	$(GO) test -race -short -timeout 40m ./...

# govulncheck ends with 3 if it found something, and with 1 if it could not look.
.PHONY: vulnerabilities
vulnerabilities:
	@$(GO) tool govulncheck ./... > .vulnerabilities 2>&1; code=$$?; \
	case $$code in \
	0) echo "govulncheck: nothing found";; \
	3) cat .vulnerabilities; rm -f .vulnerabilities; exit 1;; \
	*) echo "govulncheck was LEFT OUT, it could not look:"; tail -n 3 .vulnerabilities;; \
	esac; rm -f .vulnerabilities

.PHONY: demo
demo: ## a whole migration on this machine, without root, in under a minute
	$(GO) run ./cmd/mailmove demo

.PHONY: lab
lab: build ## one migration between real servers under live traffic, audited (root)
	bin/mailmove-lab trial -mailmove=bin/mailmove -ttl=$(TTL)

.PHONY: soak
soak: build ## N=20 such migrations, mailmove killed at random instants; one row each (root)
	@failed=0; i=1; while [ $$i -le $(N) ]; do \
		bin/mailmove-lab -name=soak trial -mailmove=bin/mailmove -ttl=$(TTL) -kill -quiet -seed=$$i || failed=$$((failed+1)); i=$$((i+1)); \
	done; echo "soak: $(N) trials, $$failed with faults"; [ $$failed -eq 0 ]

.PHONY: bench
bench: ## benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./engine/... ./providers/... ./cmd/mailmove

.PHONY: fuzz
fuzz: ## every fuzz target for ten seconds
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' $$dir/*_test.go | cut -c6-); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 10s $$dir || exit 1; \
		done; \
	done
