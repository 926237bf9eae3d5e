# The front door. Meson and Ninja do the work; this installs what they need and calls them.
BUILD ?= build

FUZZ_SECONDS ?= 60

.PHONY: all deps demo run test faults fuzz bench bench-search bench-server soak server-peer wheel layout format format-check clean

all: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) $(MESON_OPTIONS)
	@ninja -C $(BUILD)
	@ln -sf apps/cli/uniface $(BUILD)/uniface

# Debian packages that are missing, by apt-get (root or sudo); nothing when all are there.
deps:
	@tools/install-deps.sh

# The main job on photos: faces found, templates made, two comparisons, an annotated picture.
# make demo DETECTOR=yunet.onnx EMBEDDER=face.onnx PHOTOS="a1.jpg a2.jpg b.jpg" takes your own.
demo: all
	@tools/demo.sh $(BUILD)/uniface "$(DETECTOR)" "$(EMBEDDER)" $(PHOTOS)

# The server on http://127.0.0.1:8000, with a page at /ui: make run SERVE="--listen 127.0.0.1:9000".
run: all
	@$(BUILD)/uniface serve $(SERVE)

# Installs, builds, tests; ends with "N passed, N failed, N skipped".
test: all
	@tools/run-tests.sh $(BUILD)

# Faults of galleries in their long form: 1,000 kills, every byte of a small gallery flipped.
faults: all
	@python3 tests/gallery/faults_test.py $(BUILD)/tests/gallery/gallery_worker 1000 all

# Each fuzz target for FUZZ_SECONDS (clang, libFuzzer, ASan and UBSan); findings stay in build-fuzz.
fuzz:
	@tools/install-deps.sh ci
	@[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzzers=true \
		--buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C build-fuzz
	@cd build-fuzz && for f in $$(find tests/fuzz -maxdepth 1 -type f -name 'fuzz_*' | sort); do \
		t=$${f#tests/fuzz/fuzz_}; \
		mkdir -p corpus/$$t && tests/fuzz/replay_$$t corpus/$$t && tests/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) \
			-rss_limit_mb=2048 -timeout=20 corpus/$$t || exit 1; done

# Speed, size and accuracy beside other runtimes, written to docs/benchmarks.md. Networks and photos are
# yours: make bench MODELS=folder PHOTOS=folder (LFW pictures and pairs.tsv). Peers come from the package index.
bench: all
	@tools/install-deps.sh bench
	@[ -d $(BUILD)/bench ] || { python3 -m venv $(BUILD)/bench && $(BUILD)/bench/bin/pip install -q -r bench/requirements.txt; }
	@$(BUILD)/bench/bin/python bench/table.py $(BUILD)/uniface \
		"$(or $(MODELS),../shared/models)" "$(or $(PHOTOS),../shared/testdata)" docs/benchmarks.md

# Vector search beside faiss, hnswlib and usearch, on the same vectors. Graphs take long to build:
# make bench-search SEARCH="--count 1000000 --only 'UniFace int8,faiss Flat'"
SEARCH ?= --count 100000
bench-search: all
	@tools/install-deps.sh bench
	@[ -d $(BUILD)/bench-search ] || { python3 -m venv $(BUILD)/bench-search && $(BUILD)/bench-search/bin/pip install -q -r bench/requirements-search.txt; }
	@$(BUILD)/bench-search/bin/python bench/search_peers.py $(BUILD)/uniface $(SEARCH)

# The server beside FastAPI, gunicorn and ONNX Runtime, its load, start and crashes, written to docs/benchmarks-server.md:
# make bench-server SERVER="--only peer --rounds 5"; make soak MINUTES=60 adds mixed traffic for so long.
MINUTES ?= 10
SERVER_BENCH = $(BUILD)/bench-server/bin/python bench/server.py $(BUILD)/apps/cli/uniface $(BUILD)/tests/server/uniface-load \
	"$(or $(MODELS),../shared/models)" "$(or $(PHOTOS),../shared/testdata/photos)" docs/benchmarks-server.md --state $(BUILD)/bench-server.json
bench-server: server-peer
	@$(SERVER_BENCH) $(SERVER)

soak: server-peer
	@$(SERVER_BENCH) --only soak --minutes $(MINUTES)

server-peer: all
	@tools/install-deps.sh bench
	@ninja -C $(BUILD) bench/library_rate
	@[ -d $(BUILD)/bench-server ] || { python3 -m venv $(BUILD)/bench-server && $(BUILD)/bench-server/bin/pip install -q -r bench/requirements-server.txt; }

# The Python package with the library inside: dist/uniface-3.1.0-cp310-abi3-....whl
wheel:
	@tools/install-deps.sh wheel
	@python3 tools/build-wheel.py build-wheel

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

format-check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

clean:
	@rm -rf $(BUILD)
