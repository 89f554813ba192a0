test_rope.o: tests/unit/persist/test_rope.c src/base/buf.h \
  src/base/slice.h src/base/mem.h src/base/rng.h src/persist/rope.h \
  src/base/blob.h src/base/list.h src/types/codec/codec.h \
  src/types/hash/hash.h src/ds/pack.h src/base/num.h src/ds/table.h \
  src/ds/table_lookup.h src/base/prefetch.h src/types/limits.h \
  src/types/value.h src/types/list/list.h src/types/set/set.h \
  src/types/stream/stream.h src/base/work.h src/ds/order.h \
  src/types/zset/zset.h tests/unit/test.h

src/base/buf.h:

src/base/slice.h:

src/base/mem.h:

src/base/rng.h:

src/persist/rope.h:

src/base/blob.h:

src/base/list.h:

src/types/codec/codec.h:

src/types/hash/hash.h:

src/ds/pack.h:

src/base/num.h:

src/ds/table.h:

src/ds/table_lookup.h:

src/base/prefetch.h:

src/types/limits.h:

src/types/value.h:

src/types/list/list.h:

src/types/set/set.h:

src/types/stream/stream.h:

src/base/work.h:

src/ds/order.h:

src/types/zset/zset.h:

tests/unit/test.h:
