#!/bin/sh
# Build a Fluent Bit for tests, into build/fluent-bit. No registry that tests may use has its binary, but npm's
# package `fluent-bit` carries the source of 1.8.15, all but its library for regular expressions.
# What a tail and a forward need is built without it; what is left to link is never called.
# Needs npm, cmake, gcc, flex, bison and libssl-dev; takes some minutes.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/fluent-bit
cd build/fluent-bit
[ -x fluent-bit ] && exit
for tool in npm cmake gcc flex bison; do
  command -v $tool >/dev/null || { echo "no $tool: tests with Fluent Bit are skipped"; exit; }
done
npm pack --silent fluent-bit@0.0.3 >/dev/null
tar xzf fluent-bit-0.0.3.tgz package/src/fluent-bit
source=$PWD/package/src/fluent-bit

tail=$source/plugins/in_tail/tail_file.c
sed -i -e 's/line, line_len, file);/line, line_len, file, processed_bytes);/' \
  -e '/ret = flb_ml_append(/,/);/c ret = 0;' "$tail"

plugins=$(cat "$source/CMakeLists.txt" "$source/plugins/CMakeLists.txt" |
  grep -oE 'FLB_(IN|OUT|FILTER|CUSTOM)_[A-Z0-9_]+' | sort -u | grep -vE '_PLUGINS_' |
  grep -vxE 'FLB_(IN_TAIL|IN_STORAGE_BACKLOG|OUT_FORWARD|FILTER_RECORD_MODIFIER)' |
  sed 's/.*/-D&=Off/')
mkdir -p made
cd made
for name in REGEX PARSER RECORD_ACCESSOR JEMALLOC LUAJIT AWS SIGNV4 EXAMPLES SHARED_LIB PROXY_GO \
  BACKTRACE AVRO_ENCODER; do
  plugins="$plugins -DFLB_$name=Off"
done
# shellcheck disable=SC2086 # options, each a word
cmake "$source" -Wno-dev -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS='-w -fcommon' \
  -DFLB_TLS=On -DFLB_HTTP_SERVER=On -DFLB_SQLDB=On $plugins >cmake.log 2>&1

cat >unused.c <<'C'
static char none[65536];
void *flb_parser_create(void) { return none; }
void *flb_parser_get(void) { return none; }
int flb_parser_do(void) { return -1; }
void *flb_regex_create(void) { return none; }
int flb_regex_destroy(void) { return 0; }
int flb_regex_match(void) { return 0; }
void *flb_ra_create(void) { return 0; }
void *flb_ra_get_value_object(void) { return 0; }
void flb_ra_destroy(void) {}
void flb_ra_key_value_destroy(void) {}
int flb_ra_get_kv_pair(void) { return -1; }
int flb_tail_mult_pending_flush_all(void) { return 0; }
C
gcc -c unused.c -o unused.o
sed -i "s#\$# $PWD/unused.o#" src/CMakeFiles/fluent-bit-bin.dir/link.txt
make -j2 fluent-bit-bin >make.log 2>&1 || { tail -5 make.log; exit 1; }
cp bin/fluent-bit ../fluent-bit
cd ..
rm -rf package made fluent-bit-0.0.3.tgz
