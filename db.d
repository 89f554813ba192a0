db.o: src/keyspace/db.c src/base/assert.h src/base/mem.h \
  src/keyspace/keyspace_internal.h src/ds/table.h src/base/list.h \
  src/base/rng.h src/ds/table_lookup.h src/base/prefetch.h \
  src/ds/wheel.h src/keyspace/keyspace.h src/base/clock.h \
  src/base/hash.h src/base/slice.h src/base/work.h src/types/value.h \
  src/keyspace/pin.h src/types/hash/hash.h src/ds/pack.h src/base/num.h \
  src/types/limits.h

src/base/assert.h:

src/base/mem.h:

src/keyspace/keyspace_internal.h:

src/ds/table.h:

src/base/list.h:

src/base/rng.h:

src/ds/table_lookup.h:

src/base/prefetch.h:

src/ds/wheel.h:

src/keyspace/keyspace.h:

src/base/clock.h:

src/base/hash.h:

src/base/slice.h:

src/base/work.h:

src/types/value.h:

src/keyspace/pin.h:

src/types/hash/hash.h:

src/ds/pack.h:

src/base/num.h:

src/types/limits.h:
