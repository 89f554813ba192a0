codec_set.o: src/types/codec/codec_set.c src/types/codec/codec_internal.h \
  src/types/codec/codec.h src/base/blob.h src/base/slice.h \
  src/types/hash/hash.h src/base/rng.h src/ds/pack.h src/base/num.h \
  src/ds/table.h src/base/list.h src/ds/table_lookup.h \
  src/base/prefetch.h src/types/limits.h src/types/value.h \
  src/types/list/list.h src/types/set/set.h src/types/stream/stream.h \
  src/base/work.h src/ds/order.h src/types/zset/zset.h

src/types/codec/codec_internal.h:

src/types/codec/codec.h:

src/base/blob.h:

src/base/slice.h:

src/types/hash/hash.h:

src/base/rng.h:

src/ds/pack.h:

src/base/num.h:

src/ds/table.h:

src/base/list.h:

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
