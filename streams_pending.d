streams_pending.o: src/commands/streams_pending.c src/base/mem.h \
  src/commands/commands.h src/commands/streams.h src/exec/call.h \
  src/base/blob.h src/base/slice.h src/base/clock.h src/exec/command.h \
  src/exec/session.h src/base/list.h src/resp/reply.h \
  src/keyspace/keyspace.h src/base/hash.h src/base/rng.h src/base/work.h \
  src/ds/table.h src/ds/table_lookup.h src/base/prefetch.h \
  src/types/value.h src/exec/exec.h src/base/buf.h src/exec/effect.h \
  src/types/limits.h src/types/stream/stream.h src/base/num.h \
  src/ds/order.h src/exec/sliced.h

src/base/mem.h:

src/commands/commands.h:

src/commands/streams.h:

src/exec/call.h:

src/base/blob.h:

src/base/slice.h:

src/base/clock.h:

src/exec/command.h:

src/exec/session.h:

src/base/list.h:

src/resp/reply.h:

src/keyspace/keyspace.h:

src/base/hash.h:

src/base/rng.h:

src/base/work.h:

src/ds/table.h:

src/ds/table_lookup.h:

src/base/prefetch.h:

src/types/value.h:

src/exec/exec.h:

src/base/buf.h:

src/exec/effect.h:

src/types/limits.h:

src/types/stream/stream.h:

src/base/num.h:

src/ds/order.h:

src/exec/sliced.h:
