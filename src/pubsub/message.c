/* A message in bytes, as its receivers get it.
 *
 *     *3 $7 message $LEN channel $LEN payload              to a channel (RESP3: >3)
 *     *4 $8 pmessage $LEN pattern $LEN channel $LEN payload   through a pattern
 *     *3 $8 smessage ...                                   to a shard channel
 *
 * It is encoded once for each protocol that a receiver speaks, into a blob whose references are the
 * output of the receivers (reply_share). So a message to ten thousand is in memory once, and each
 * of them counts its length for its own output limit. A payload that was received as a blob is not
 * copied at all: what is encoded ends with its length. */
#include "base/num.h"
#include "pubsub/pubsub_internal.h"

enum { BULK_HEAD_MAX = 1 + NUM_I64_TEXT_MAX + 2 };

static size_t bulk_len_max(struct slice bytes)
{
    return BULK_HEAD_MAX + bytes.len + 2;
}

static char *write_bulk_head(char *at, size_t len)
{
    *at++ = '$';
    at += num_format_i64(at, (int64_t)len);
    memcpy(at, "\r\n", 2);
    return at + 2;
}

static char *write_bulk(char *at, struct slice bytes)
{
    at = write_bulk_head(at, bytes.len);
    if (bytes.len != 0) {
        memcpy(at, bytes.data, bytes.len);
        at += bytes.len;
    }
    memcpy(at, "\r\n", 2);
    return at + 2;
}

/* All of it, but for a payload that follows by reference, and the end of its line. */
static struct blob *encode(const struct message *message, char mark)
{
    bool has_pattern = message->pattern.data != NULL;
    struct slice kind = slice_from_text(has_pattern         ? "pmessage"
                                        : message->is_shard ? "smessage"
                                                            : "message");
    struct slice parts[] = {kind, message->pattern, message->channel, message->payload};
    bool is_long = message->long_payload != NULL;
    size_t len_max = 4 + BULK_HEAD_MAX;
    for (size_t i = 0; i < (is_long ? 3 : 4); i++) {
        len_max += bulk_len_max(parts[i]);
    }
    struct blob *blob = blob_try_new(len_max);
    if (blob == NULL) {
        return NULL;
    }
    char *at = blob->bytes;
    *at++ = mark;
    *at++ = has_pattern ? '4' : '3';
    memcpy(at, "\r\n", 2);
    at += 2;
    for (size_t i = 0; i < (is_long ? 3 : 4); i++) {
        if (i != 1 || has_pattern) {
            at = write_bulk(at, parts[i]);
        }
    }
    if (is_long) {
        at = write_bulk_head(at, message->payload.len);
    }
    blob->len = (size_t)(at - blob->bytes);
    return blob;
}

bool message_write(struct message *message, struct session *session)
{
    bool is_push = session->out->protocol == 3;
    struct blob **encoded = &message->encoded[is_push];
    if (*encoded == NULL) {
        *encoded = encode(message, is_push ? '>' : '*');
    }
    if (*encoded == NULL) {
        return false;
    }
    struct reply *out = session_push_begin(session);
    reply_share(out, *encoded);
    if (message->long_payload != NULL) {
        reply_refer(out, message->long_payload, 0, message->payload.len);
        reply_raw(out, slice_of("\r\n", 2));
    }
    session_push_end(session);
    return true;
}

void message_deinit(struct message *message)
{
    for (int i = 0; i < 2; i++) {
        if (message->encoded[i] != NULL) {
            blob_drop(message->encoded[i]);
            message->encoded[i] = NULL;
        }
    }
}
