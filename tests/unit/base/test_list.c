/* Tests of base/list.h. */
#include "base/list.h"

#include "tests/unit/test.h"

struct item {
    int number;
    struct list link;
};

TEST(list, keeps_order_at_both_ends)
{
    struct list head;
    list_init(&head);
    CHECK(list_is_empty(&head));
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    int expected = 0;
    for (struct list *at = head.next; at != &head; at = at->next) {
        CHECK(LIST_OWNER(at, struct item, link)->number == expected);
        CHECK(at->next->prev == at);
        expected++;
    }
    CHECK(expected == 3);
}

TEST(list, removing_twice_is_harmless)
{
    struct list head;
    list_init(&head);
    struct item item = {.number = 1};
    list_push_back(&head, &item.link);
    CHECK(list_is_linked(&item.link));
    list_remove(&item.link);
    list_remove(&item.link);
    CHECK(!list_is_linked(&item.link) && list_is_empty(&head));
}
