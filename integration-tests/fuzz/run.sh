#!/bin/sh
# Fuzzes every target, as many at once as there are cores: run.sh SECONDS [TARGET …]. What is found is left in target/fuzz/found
# (put it among the seeds: a crash once is a test for ever), what was learnt on the way in target/fuzz/corpus.
# With FUZZ_ALL=1 the libraries are instrumented as well: a build of its own, for long runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:-60}
[ $# -gt 0 ] && shift
work=$root/target/fuzz
# What libFuzzer needs of a compiler is in the stable one.
FUZZ_FLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
export FUZZ_FLAGS
cd "$root"
if [ -n "${FUZZ_ALL:-}" ]; then
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS=$FUZZ_FLAGS cargo build --quiet -p fuzz --features libfuzzer --bin fuzz --target-dir "$work" --target "$host"
    program=$work/$host/debug/fuzz
else
    RUSTC_WORKSPACE_WRAPPER=$here/instrument.sh cargo build --quiet -p fuzz --features libfuzzer --bin fuzz
    program=$root/target/debug/fuzz
fi
mkdir -p "$work/found"
cd "$work"
[ $# -gt 0 ] || set -- $(ls "$here/corpus")
one='
    name=$1
    mkdir -p "corpus/$name"
    more=$(sed -n "1s|[^ ][^ ]*|$root/&|gp" "$here/corpus/$name/folders" 2>/dev/null)
    # shellcheck disable=SC2086
    if FUZZ_TARGET=$name "$program" "corpus/$name" "$here/corpus/$name" $more -max_total_time="$seconds" -timeout=5 \
        -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1 -artifact_prefix="found/$name-" >"$name.log" 2>&1
    then
        echo "$name: $(sed -n "s/^stat::number_of_executed_units: *//p" "$name.log") inputs, nothing found"
    else
        tail -40 "$name.log"
        echo "$name: something was found: target/fuzz/found"
        exit 255
    fi'
export here root seconds program
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh -c "$one" fuzz
