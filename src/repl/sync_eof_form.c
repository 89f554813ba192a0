/* The form of a snapshot for replicas that take one of unknown length: its blocks by reference, as
 * the round makes them, between two marks of forty random digits.
 *
 *     $EOF:<mark>\r\n  block block ... last block  <mark>
 *
 * Nothing follows the second mark until the replica has acknowledged something: it finds the end by
 * looking at the last forty bytes that came. */
#include "repl/sync_internal.h"

void eof_form_draw_mark(struct sync *sync)
{
    static const char digits[] = "0123456789abcdef";
    struct rng *rng = exec_rng(sync->repl->exec);
    for (unsigned i = 0; i < SYNC_MARK_LEN; i++) {
        sync->mark[i] = digits[rng_below(rng, 16)];
    }
}

void eof_form_hand(struct sync *sync, struct delivery *delivery)
{
    if (!delivery->has_head) {
        delivery->has_head = true;
        delivery_put_bytes(delivery, slice_from_text("$EOF:"));
        delivery_put_bytes(delivery, slice_of(sync->mark, SYNC_MARK_LEN));
        delivery_put_bytes(delivery, slice_from_text("\r\n"));
        delivery_wake(delivery);
    }
    if (delivery->next == sync->end && !sync->has_last) {
        return;
    }
    bool has_more = false;
    while (delivery->next < sync->end && delivery_has_room(delivery)) {
        delivery_put_blob(delivery, sync_block_at(sync, delivery->next)->blob);
        delivery->next++;
        has_more = true;
    }
    if (delivery->next == sync->end && sync->has_last) {
        delivery_put_bytes(delivery, slice_of(sync->mark, SYNC_MARK_LEN));
        delivery->is_handed = true;
        has_more = true;
    }
    if (has_more) {
        delivery_wake(delivery);
    }
}
