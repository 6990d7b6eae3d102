SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory
GO ?= go

# One set of build flags everywhere, so that every build and test shares one cache.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0

TOOLS := $(CURDIR)/.tools
JARS := $(TOOLS)/nextflow-24.10.0
PLUGINS := $(TOOLS)/nextflow-plugins

# PLAYWRIGHT is the driver version that the playwright-go module in go.mod asks for; it refuses any other.
PLAYWRIGHT := 1.52.0
PLAYWRIGHT_SHA256 := 4426ed32575cba6adf394e297a0e845eba2887dee776c4acee1d178e00f990f7
AXE := 4.14.1
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
DRIVER := $(TOOLS)/playwright-core-$(PLAYWRIGHT)
AXE_DIR := $(TOOLS)/axe-core-$(AXE)

# MOTO plays AWS in the tests. Its version and those of all that it needs stand in cloud/aws/awstest/requirements.txt.
MOTO := $(TOOLS)/moto-5.2.5

# JUPYTER is JupyterLab for Studios on this host. All that it needs stands in jupyter/requirements.txt.
JUPYTER := $(TOOLS)/jupyterlab-4.6.6

# OIDC_PROVIDER is the provider for tests of single sign-on. Its version and those of all that it needs stand in
# oidc/oidctest/provider/package-lock.json.
OIDC_PROVIDER := $(TOOLS)/oidc-provider

# The agents for machines in a cloud. They are built before the program that embeds them, and only when what they are built
# from has changed.
AGENTS := $(foreach arch,amd64 arm64,agent/binaries/files/wherry-agent-linux-$(arch).gz)
AGENT_MAX := 12000000
# The version is that of the last change of Go code, so that a build after a change of anything else makes the same agents.
AGENT_VERSION := $(shell git log -1 --format=%h -- agent tunnel platform cloud/processes cloud/aws/instance cloud/aws/logevent go.mod 2>/dev/null || echo development)

.PHONY: FORCE build agents generate sandbox demo test sbom vuln check bench fmt clean java nextflow test-tools plugin

build: generate agents ## bin/wherry
	@$(GO) build -ldflags "-s -w -X main.version=$$(git describe --tags --always --dirty 2>/dev/null || echo development)" -o bin/wherry . >&2

agents: $(AGENTS)

# The compiler knows best whether anything has changed, and answers from its cache if not; the file is replaced, and
# compressed, only if it comes out different. No time or name is in it, so that the same binary is always the same file.
$(AGENTS): agent/binaries/files/%.gz: FORCE
	@mkdir -p bin/agents
	GOOS=linux GOARCH=$(lastword $(subst -, ,$*)) $(GO) build -ldflags "-s -w -buildid= -X main.version=$(AGENT_VERSION)" -o bin/agents/$*.new ./agent/wherry-agent >&2
	if [ $$(stat -c %s bin/agents/$*.new) -ge $(AGENT_MAX) ]; then
	  echo "$* has $$(stat -c %s bin/agents/$*.new) bytes; it must have less than $(AGENT_MAX)" >&2; exit 1
	fi
	if [ -f $@ ] && cmp -s bin/agents/$*.new bin/agents/$*; then rm bin/agents/$*.new; exit 0; fi
	mv bin/agents/$*.new bin/agents/$*
	gzip -9 -n -c bin/agents/$* >$@.part && mv $@.part $@

generate: ## the Go code of views
	@$(GO) tool templ generate >/dev/null 2>$(CURDIR)/.templ.log || { cat .templ.log >&2; exit 1; }
	rm -f .templ.log

sandbox: ## bin/wherry-sandbox, which runs a command with an AWS account on this host
	@$(GO) build -o bin/wherry-sandbox ./cloud/aws/sandbox/cmd >&2

demo: build java ## a portal with examples; ARGS=--once runs one and stops, ARGS=--aws-sandbox has it run in an AWS account on this host
	@nextflow=$$(command -v nextflow || true)
	if [ -z "$$nextflow" ]; then
	  $(MAKE) nextflow
	  nextflow=$(CURDIR)/nextflow/nextflow
	fi
	export WHERRY_NEXTFLOW=$$nextflow
	# A Studio to try takes JupyterLab; a run that is launched once does not wait for it.
	if [ -z "$(filter --once --aws-sandbox,$(ARGS))" ] && ! command -v jupyter-lab >/dev/null; then
	  $(MAKE) $(JUPYTER)/ready
	  export PATH=$(JUPYTER)/bin:$$PATH
	fi
	if [ -n "$(filter --aws-sandbox,$(ARGS))" ]; then
	  $(MAKE) $(MOTO)/ready sandbox >&2
	  MOTO_SERVER=$(MOTO)/bin/moto_server exec bin/wherry-sandbox --bucket wherry-sandbox bin/wherry demo --aws s3://wherry-sandbox/work $(filter-out --aws-sandbox,$(ARGS))
	fi
	WHERRY_DATA=$${WHERRY_DATA:-data} exec bin/wherry demo $(ARGS)

# What the tests of every package get. Tests use the locked Nextflow, whatever is on the PATH.
TEST_ENV = WHERRY_TEST_NEXTFLOW=$(CURDIR)/nextflow/nextflow \
  WHERRY_TEST_NF_PLUGINS=$$([ -d $(PLUGINS)/nf-tower-1.9.3 ] && echo $(PLUGINS) || true) \
  PLAYWRIGHT_DRIVER_PATH=$(DRIVER) PLAYWRIGHT_NODEJS_PATH=$$(command -v node) \
  CHROMIUM=$${CHROMIUM:-$$(command -v chromium || command -v chromium-browser)} \
  AXE_JS=$(AXE_DIR)/package/axe.min.js SHOTS=$(CURDIR)/bin/shots \
  MOTO_SERVER=$$([ -f $(MOTO)/ready ] && echo $(MOTO)/bin/moto_server || true) \
  JUPYTER=$$([ -f $(JUPYTER)/ready ] && echo $(JUPYTER)/bin/jupyter || true) \
  OIDC_PROVIDER=$$([ -f $(OIDC_PROVIDER)/ready ] && echo $(OIDC_PROVIDER) || true)

# The tests of the whole, with real Nextflow, moto and a browser, come last and by themselves: they fill two cores.
test: build test-tools ## everything, the browser tests included
	@$(GO) vet ./...
	mkdir -p bin/shots
	node --test static/*.test.mjs >&2
	$(MAKE) sbom vuln
	$(TEST_ENV) $(GO) test -p 2 -count=1 -timeout 10m $$($(GO) list ./... | grep -v '/e2e$$')
	$(TEST_ENV) $(GO) test -count=1 -timeout 12m ./e2e

# The agents for machines in a cloud are in the program, so what they are built from is in its bill too.
sbom: build ## bin/wherry.cdx.json, the software bill of materials (CycloneDX)
	@$(GO) -C packaging/tools tool cyclonedx-gomod bin -json -std -noserial -notimestamp \
	  -version "$$(git describe --tags --always --dirty 2>/dev/null || echo development)" -output $(CURDIR)/bin/wherry.cdx.json $(CURDIR)/bin/wherry
	$(GO) run ./packaging/sbom bin/wherry.cdx.json bin/wherry bin/agents/wherry-agent-linux-amd64 bin/agents/wherry-agent-linux-arm64 >&2

vuln: generate agents ## known vulnerabilities in the program, as far as the database of vulnerabilities is within reach
	@$(GO) build -o bin/wherry-symbols . >&2
	GO=$(GO) packaging/vuln.sh bin/wherry-symbols >&2

check: generate java nextflow ## what is quick, without browser and Nextflow
	@$(GO) vet ./...
	$(TEST_ENV) $(GO) test -short -timeout 2m $$($(GO) list ./... | grep -v -e /e2e -e /bench)

bench: build test-tools ## the benchmarks, as tables
	@$(TEST_ENV) $(GO) test -count=1 -timeout 10m -run '^$$' -bench . -benchtime 1x ./bench

fmt:
	@$(GO) tool templ fmt views && gofmt -w .

clean:
	@rm -rf bin $(TOOLS) data $(AGENTS)
	find . -name '*_templ.go' -delete

# apt NAME...: installs what is missing from Debian's packages, or says what to install.
define apt
	sudo=; [ "$$(id -u)" = 0 ] || sudo='sudo -n'
	if ! command -v apt-get >/dev/null || ! $$sudo true 2>/dev/null; then
	  echo "Install $(1) and run this again." >&2; exit 1
	fi
	$$sudo apt-get update -qq >&2
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >$(TOOLS)/apt.log 2>&1 || { cat $(TOOLS)/apt.log >&2; exit 1; }
endef

java:
	@mkdir -p $(TOOLS)
	major=$$(java -version 2>&1 | sed -n '1s/.*"\([0-9]*\).*/\1/p' || true)
	if [ "$${major:-0}" -ge 17 ]; then exit 0; fi
	$(call apt,openjdk-17-jre-headless)

nextflow: $(JARS)
$(JARS): nextflow/pom.xml nextflow/jars.sha256 | java
	@if ! command -v mvn >/dev/null; then
	  mkdir -p $(TOOLS)
	  $(call apt,maven)
	fi
	nextflow/fetch.sh $(JARS)

test-tools: java nextflow $(TOOLS)/browser $(DRIVER) $(AXE_DIR) $(MOTO)/ready $(JUPYTER)/ready $(OIDC_PROVIDER)/ready plugin

$(TOOLS)/browser:
	@mkdir -p $(TOOLS)
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	  $(call apt,nodejs npm)
	fi
	if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
	  $(call apt,chromium fonts-liberation)
	fi
	touch $@

# npm_get NAME VERSION SHA256: the package as it was published, in .tools/NAME-VERSION/package; its scripts are not run.
define npm_get
	part=$(TOOLS)/$(1)-$(2).part
	rm -rf $$part && mkdir -p $$part && cd $$part
	npm pack --silent $(1)@$(2) >/dev/null
	echo "$(3)  $(1)-$(2).tgz" | sha256sum --quiet -c - >&2
	tar -xzmf $(1)-$(2).tgz && rm $(1)-$(2).tgz
	cd $(TOOLS) && rm -rf $(1)-$(2) && mv $$part $(1)-$(2)
endef
$(DRIVER): | $(TOOLS)/browser
	@$(call npm_get,playwright-core,$(PLAYWRIGHT),$(PLAYWRIGHT_SHA256))
$(AXE_DIR): | $(TOOLS)/browser
	@$(call npm_get,axe-core,$(AXE),$(AXE_SHA256))

# venv FOLDER REQUIREMENTS: a venv with what a locked list names. Its scripts name its folder, so it is made in its place, and
# the file ready tells that it is whole.
define venv
	mkdir -p $(TOOLS)
	if ! python3 -c 'import ensurepip' 2>/dev/null; then
	  $(call apt,python3 python3-venv)
	fi
	rm -rf $(1)
	python3 -m venv $(1)
	$(1)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(2) >&2
	touch $(1)/ready
endef
$(MOTO)/ready: cloud/aws/awstest/requirements.txt
	@$(call venv,$(MOTO),$<)
$(JUPYTER)/ready: jupyter/requirements.txt
	@$(call venv,$(JUPYTER),$<)

# npm compares each package with its digest in the lock file and runs none of their scripts.
$(OIDC_PROVIDER)/ready: oidc/oidctest/provider/package-lock.json | $(TOOLS)/browser
	@rm -rf $(@D)
	mkdir -p $(@D)
	cp $(<D)/package.json $< $(@D)
	npm ci --silent --ignore-scripts --omit=dev --no-audit --no-fund --prefix $(@D) >&2
	touch $@

# The nf-tower plugin, for the tests that want the real one; where it is not at hand they say that they were skipped.
NF_TOWER := ../shared/nextflow/nf-tower-1.9.3.zip
plugin:
	@if [ -f $(NF_TOWER) ] && [ ! -d $(PLUGINS)/nf-tower-1.9.3 ]; then python3 -m zipfile -e $(NF_TOWER) $(PLUGINS); fi
	if [ ! -d $(PLUGINS)/nf-tower-1.9.3 ]; then
	  echo "SKIPPED: tests with the nf-tower plugin, because $(NF_TOWER) is not there" >&2
	fi

.PHONY: deb
deb: build ## bin/wherry_VERSION_ARCH.deb
	@command -v dpkg-deb >/dev/null || { echo "Install dpkg and run this again." >&2; exit 1; }
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) packaging/deb.sh bin/wherry \
	  "$$(git describe --tags --always 2>/dev/null || echo development)" "$$($(GO) env GOARCH)" bin

.PHONY: fuzz
fuzz: generate ## every fuzzer in turn for FUZZTIME (10s), with a table of what it tried
	nice -n 10 ./fuzz.sh $(FUZZ)
