fuzz_rdb.o: tests/fuzz/fuzz_rdb.c src/base/buf.h src/base/slice.h \
  src/base/crc.h src/base/mem.h src/base/rng.h src/base/work.h \
  src/base/list.h src/persist/load.h src/keyspace/keyspace.h \
  src/base/clock.h src/base/hash.h src/ds/table.h src/ds/table_lookup.h \
  src/base/prefetch.h src/types/value.h src/persist/rdb_read.h \
  src/types/codec/codec.h src/base/blob.h src/types/hash/hash.h \
  src/ds/pack.h src/base/num.h src/types/limits.h src/types/list/list.h \
  src/types/set/set.h src/types/stream/stream.h src/ds/order.h \
  src/types/zset/zset.h tests/fuzz/use_value.h src/types/string/string.h

src/base/buf.h:

src/base/slice.h:

src/base/crc.h:

src/base/mem.h:

src/base/rng.h:

src/base/work.h:

src/base/list.h:

src/persist/load.h:

src/keyspace/keyspace.h:

src/base/clock.h:

src/base/hash.h:

src/ds/table.h:

src/ds/table_lookup.h:

src/base/prefetch.h:

src/types/value.h:

src/persist/rdb_read.h:

src/types/codec/codec.h:

src/base/blob.h:

src/types/hash/hash.h:

src/ds/pack.h:

src/base/num.h:

src/types/limits.h:

src/types/list/list.h:

src/types/set/set.h:

src/types/stream/stream.h:

src/ds/order.h:

src/types/zset/zset.h:

tests/fuzz/use_value.h:

src/types/string/string.h:
