# Two commands for a new machine: `make demo` and `make test`. Both install what is missing.

.PHONY: demo test fuzz bench needs test-needs

demo: needs
	cargo run --release --bin demo -- $(ARGS)

test: test-needs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features integration-tests/bench -- -D warnings
	PATH="$$(integration-tests/setup.sh path):$$PATH" cargo test --workspace
	integration-tests/fuzz/run.sh 60

fuzz: test-needs
	integration-tests/fuzz/run.sh $(or $(ARGS),600)

bench: test-needs
	cargo build --release --bin gateway
	PATH="$$(integration-tests/setup.sh path):$$PATH" cargo run --release -p integration-tests --features bench --bin bench -- $(ARGS)

needs:
	@integration-tests/setup.sh build

test-needs: needs
	@integration-tests/setup.sh test

