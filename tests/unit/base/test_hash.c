/* Tests of base/hash.h. */
#include "base/hash.h"

#include "tests/unit/test.h"

TEST(hash, depends_on_bytes_and_seed)
{
    struct slice key = slice_from_text("key:1");
    CHECK(hash_bytes(1, key) == hash_bytes(1, key));
    CHECK(hash_bytes(1, key) != hash_bytes(2, key));
    CHECK(hash_bytes(1, key) != hash_bytes(1, slice_from_text("key:2")));
}

TEST(hash, is_xxh3)
{
    CHECK(hash_bytes(0, slice_of("", 0)) == 0x2d06800538d394c2);
    CHECK(hash_bytes(0, slice_of(NULL, 0)) == 0x2d06800538d394c2);
}
