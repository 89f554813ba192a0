walk.o: src/persist/walk.c src/persist/walk.h src/keyspace/keyspace.h \
  src/base/clock.h src/base/hash.h src/base/slice.h src/base/rng.h \
  src/base/work.h src/base/list.h src/ds/table.h src/ds/table_lookup.h \
  src/base/prefetch.h src/types/value.h src/persist/rdb_write.h \
  src/types/codec/codec.h src/base/blob.h src/types/hash/hash.h \
  src/ds/pack.h src/base/num.h src/types/limits.h src/types/list/list.h \
  src/types/set/set.h src/types/stream/stream.h src/ds/order.h \
  src/types/zset/zset.h src/persist/rope.h src/base/assert.h \
  src/base/mem.h src/ds/picture.h src/persist/rdb_format.h

src/persist/walk.h:

src/keyspace/keyspace.h:

src/base/clock.h:

src/base/hash.h:

src/base/slice.h:

src/base/rng.h:

src/base/work.h:

src/base/list.h:

src/ds/table.h:

src/ds/table_lookup.h:

src/base/prefetch.h:

src/types/value.h:

src/persist/rdb_write.h:

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

src/persist/rope.h:

src/base/assert.h:

src/base/mem.h:

src/ds/picture.h:

src/persist/rdb_format.h:
