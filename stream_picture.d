stream_picture.o: src/types/stream/stream_picture.c src/base/assert.h \
  src/base/mem.h src/types/stream/stream_internal.h \
  src/types/stream/stream.h src/base/blob.h src/base/slice.h \
  src/base/num.h src/base/work.h src/base/list.h src/ds/order.h \
  src/types/limits.h src/types/value.h src/ds/table.h src/base/rng.h \
  src/ds/table_lookup.h src/base/prefetch.h

src/base/assert.h:

src/base/mem.h:

src/types/stream/stream_internal.h:

src/types/stream/stream.h:

src/base/blob.h:

src/base/slice.h:

src/base/num.h:

src/base/work.h:

src/base/list.h:

src/ds/order.h:

src/types/limits.h:

src/types/value.h:

src/ds/table.h:

src/base/rng.h:

src/ds/table_lookup.h:

src/base/prefetch.h:
