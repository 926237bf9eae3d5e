# The front door. Meson and Ninja do the work; this installs what they need and calls them.
BUILD ?= build

.PHONY: all deps test layout format format-check clean

all: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD)
	@ninja -C $(BUILD)

# Debian packages that are missing, by apt-get (root or sudo); nothing when all are there.
deps:
	@tools/install-deps.sh

# Installs, builds, tests; ends with "N passed, N failed, N skipped".
test: all
	@tools/run-tests.sh $(BUILD)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

format-check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

clean:
	@rm -rf $(BUILD)
