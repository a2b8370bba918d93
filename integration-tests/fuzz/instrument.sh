#!/bin/sh
# The compiler for our own packages, with what libFuzzer needs. Build scripts run by themselves and are left as they are.
case " $* " in
*" --crate-name build_script_"* | *" --crate-type proc-macro "*) exec "$@" ;;
esac
# shellcheck disable=SC2086
exec "$@" $FUZZ_FLAGS
