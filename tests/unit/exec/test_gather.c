/* Effects that are told later: all of them, word for word, in order, and no more than may be. */
#include "exec/gather.h"

#include "base/buf.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static void note(void *context, const struct slice *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        buf_append(context, args[i]);
        buf_append_text(context, i + 1 < count ? " " : ";");
    }
}

TEST(gather, commands_are_told_in_order)
{
    struct gather gather = {.first = NULL};
    struct buf told, wanted;
    mem_thread_enter();
    buf_init(&told);
    buf_init(&wanted);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++) {
            struct slice many[100];
            uint32_t count = i == 7 ? 100 : 1 + i % 3;
            for (uint32_t k = 0; k < count; k++) {
                many[k] = slice_from_text(k == 1 ? "" : "word");
            }
            CHECK(gather_try_add(&gather, many, count));
            note(&wanted, many, count);
        }
        while (!gather_is_empty(&gather)) {
            gather_tell_one(&gather, note, &told);
        }
        CHECK(gather.bytes == 0 && slice_equal(buf_slice(&told), buf_slice(&wanted)));
    }
    buf_deinit(&told);
    buf_deinit(&wanted);
}

TEST(gather, there_is_a_limit_and_what_is_left_can_be_forgotten)
{
    struct gather gather = {.first = NULL};
    struct slice words[] = {slice_from_text("one"), slice_from_text("two")};
    mem_thread_enter();
    for (unsigned i = 0; i < 8; i++) {
        CHECK(gather_try_add(&gather, words, 2));
    }
    char *large = mem_alloc(GATHER_BYTES_MAX);
    memset(large, 'x', GATHER_BYTES_MAX);
    words[1] = slice_of(large, GATHER_BYTES_MAX);
    CHECK(!gather_try_add(&gather, words, 2));
    words[1] = slice_from_text("two");
    CHECK(gather_try_add(&gather, words, 2) && gather.bytes <= GATHER_BYTES_MAX);
    gather_deinit(&gather);
    CHECK(gather_is_empty(&gather) && gather.bytes == 0);
    mem_free(large);
}
