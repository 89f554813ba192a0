test_walk.o: tests/unit/persist/test_walk.c src/persist/walk.h \
  src/keyspace/keyspace.h src/base/clock.h src/base/hash.h \
  src/base/slice.h src/base/rng.h src/base/work.h src/base/list.h \
  src/ds/table.h src/ds/table_lookup.h src/base/prefetch.h \
  src/types/value.h src/persist/rdb_write.h src/types/codec/codec.h \
  src/base/blob.h src/types/hash/hash.h src/ds/pack.h src/base/num.h \
  src/types/limits.h src/types/list/list.h src/types/set/set.h \
  src/types/stream/stream.h src/ds/order.h src/types/zset/zset.h \
  src/persist/rope.h src/base/buf.h src/persist/mill.h \
  src/persist/rdb_format.h tests/unit/commands/family.h \
  src/commands/commands.h tests/unit/exec/fixture.h src/base/mem.h \
  src/exec/exec.h src/exec/call.h src/exec/command.h src/exec/session.h \
  src/resp/reply.h src/exec/effect.h tests/unit/test.h \
  tests/unit/persist/state.h src/persist/load.h src/persist/rdb_read.h \
  src/types/string/string.h

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

src/base/buf.h:

src/persist/mill.h:

src/persist/rdb_format.h:

tests/unit/commands/family.h:

src/commands/commands.h:

tests/unit/exec/fixture.h:

src/base/mem.h:

src/exec/exec.h:

src/exec/call.h:

src/exec/command.h:

src/exec/session.h:

src/resp/reply.h:

src/exec/effect.h:

tests/unit/test.h:

tests/unit/persist/state.h:

src/persist/load.h:

src/persist/rdb_read.h:

src/types/string/string.h:
