test_load.o: tests/unit/persist/test_load.c src/persist/load.h \
  src/base/work.h src/base/list.h src/keyspace/keyspace.h \
  src/base/clock.h src/base/hash.h src/base/slice.h src/base/rng.h \
  src/ds/table.h src/ds/table_lookup.h src/base/prefetch.h \
  src/types/value.h src/persist/rdb_read.h src/types/codec/codec.h \
  src/base/blob.h src/types/hash/hash.h src/ds/pack.h src/base/num.h \
  src/types/limits.h src/types/list/list.h src/types/set/set.h \
  src/types/stream/stream.h src/ds/order.h src/types/zset/zset.h \
  src/base/buf.h src/base/crc.h src/base/mem.h tests/unit/test.h

src/persist/load.h:

src/base/work.h:

src/base/list.h:

src/keyspace/keyspace.h:

src/base/clock.h:

src/base/hash.h:

src/base/slice.h:

src/base/rng.h:

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

src/base/buf.h:

src/base/crc.h:

src/base/mem.h:

tests/unit/test.h:
