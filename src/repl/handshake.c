/* The handshake: what a replica says before it gets the stream, and what the answers mean.
 *
 * The words and their order are those of a Redis replica: PING, AUTH, REPLCONF listening-port,
 * ip-address, capa, PSYNC. All that stand between PING and PSYNC are sent together, and their
 * answers come in order. An answer is a line; empty lines are a busy primary's sign of life.
 *
 * What is asked for. A server with a history asks to go on behind the end of its backlog: PSYNC id
 * end+1. A primary that has become a replica asks with its own id, for the new primary may be a
 * former replica that knows it as its second id. Without a history it asks with "? -1".
 *
 * Rejected: SYNC as a last resort, which servers older than Redis 2.8 need. Nobody could resume
 * such a link, and whoever refuses PSYNC today means it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/num.h"
#include "repl/link.h"

enum { SECOND_US = 1000 * 1000 };

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* What stands between PING and PSYNC. */
static void introduce_ourselves(struct link *link)
{
    const struct repl_config *config = &link->repl->config;
    struct wire *wire = link->wire;
    char port[16];
    if (config->password[0] != '\0' && config->user[0] != '\0') {
        wire_say(wire, "AUTH", config->user, config->password, NULL);
    } else if (config->password[0] != '\0') {
        wire_say(wire, "AUTH", config->password, NULL);
    }
    snprintf(port, sizeof(port), "%lld",
             (long long)(config->announce_port != 0 ? config->announce_port : config->port));
    wire_say(wire, "REPLCONF", "listening-port", port, NULL);
    if (config->announce_ip[0] != '\0') {
        wire_say(wire, "REPLCONF", "ip-address", config->announce_ip, NULL);
    }
    wire_say(wire, "REPLCONF", "capa", "eof", "capa", "psync2", NULL);
    link->state = config->password[0] != '\0' ? LINK_AUTH : LINK_PORT;
}

static void ask_for_the_stream(struct link *link)
{
    const struct repl *repl = link->repl;
    char offset[NUM_I64_TEXT_MAX + 1] = "-1";
    const char *id = "?";
    bool takes_over = link->failover.state == FAILOVER_IN_PROGRESS;
    link->state = LINK_PSYNC;
    if (link->has_history) {
        id = repl->id;
        offset[num_format_i64(offset, backlog_end(&repl->backlog) + 1)] = '\0';
        log_write(LOG_NOTICE, "Trying a partial resynchronization (request %s:%s).", id, offset);
    } else {
        log_write(LOG_NOTICE, "Partial resynchronization not possible (no cached master)");
    }
    if (takes_over) {
        wire_say(link->wire, "PSYNC", id, offset, "FAILOVER", NULL);
    } else {
        wire_say(link->wire, "PSYNC", id, offset, NULL);
    }
}

static void on_ping_answer(struct link *link, const char *line)
{
    if (line[0] != '+' && !begins_with(line, "-NOAUTH") && !begins_with(line, "-NOPERM") &&
        !begins_with(line, "-ERR operation not permitted")) {
        log_write(LOG_WARNING, "Error reply to PING from master: '%s'", line);
        link_drop(link, SECOND_US);
        return;
    }
    log_write(LOG_NOTICE, "Master replied to PING, replication can continue...");
    introduce_ourselves(link);
}

static void note_refusal(const char *what, const char *line)
{
    if (line[0] == '-') {
        log_write(LOG_NOTICE, "(Non critical) Master does not understand REPLCONF %s: %s", what,
                  line);
    }
}

/* +FULLRESYNC <id> <offset> */
static bool read_full(const char *line, char id[REPL_ID_LEN + 1], int64_t *offset)
{
    const char *at = line + strlen("+FULLRESYNC ");
    if (strlen(line) < strlen("+FULLRESYNC ") + REPL_ID_LEN + 2 || at[REPL_ID_LEN] != ' ') {
        return false;
    }
    memcpy(id, at, REPL_ID_LEN);
    id[REPL_ID_LEN] = '\0';
    return strspn(id, "0123456789abcdefABCDEF") == REPL_ID_LEN &&
           num_parse_i64(slice_from_text(at + REPL_ID_LEN + 1), offset) && *offset >= 0;
}

static void on_full(struct link *link, const char *line)
{
    char id[REPL_ID_LEN + 1];
    int64_t offset;
    if (!read_full(line, id, &offset)) {
        log_write(LOG_WARNING, "Master replied with wrong +FULLRESYNC syntax: %s", line);
        failover_on_psync(link->repl, false);
        link_drop_patiently(link);
        return;
    }
    log_write(LOG_NOTICE, "Full resync from master: %s:%lld", id, (long long)offset);
    failover_on_psync(link->repl, true);
    transfer_begin(link, id, offset);
}

/* The primary has another id since it was promoted: ours so far becomes the second. */
static void take_over_id(struct link *link, const char *id)
{
    struct repl *repl = link->repl;
    if (memcmp(repl->id, id, REPL_ID_LEN) == 0) {
        return;
    }
    log_write(LOG_NOTICE, "Master replication ID changed to %s", id);
    memcpy(repl->id2, repl->id, sizeof(repl->id2));
    repl->id2_offset = backlog_end(&repl->backlog) + 1;
    memcpy(repl->id, id, REPL_ID_LEN);
    replicas_drop_all(repl, "the replication id of the primary has changed");
}

/* +CONTINUE [<id>] */
static void on_continue(struct link *link, const char *line)
{
    const char *id = line + strlen("+CONTINUE");
    id += strspn(id, " ");
    size_t len = strlen(id);
    bool is_known =
        len == 0 || (len == REPL_ID_LEN && strspn(id, "0123456789abcdefABCDEF") == REPL_ID_LEN);
    if (!link->has_history || !is_known) {
        log_write(LOG_WARNING, "Master replied with a +CONTINUE that makes no sense: %s", line);
        failover_on_psync(link->repl, false);
        link->has_history = false;
        link_drop_patiently(link);
        return;
    }
    log_write(LOG_NOTICE, "Successful partial resynchronization with master.");
    failover_on_psync(link->repl, true);
    if (len != 0) {
        take_over_id(link, id);
    }
    struct repl *repl = link->repl;
    if (!backlog_is_open(&repl->backlog)) {
        backlog_open(&repl->backlog, backlog_end(&repl->backlog));
    }
    link_establish(link);
}

static void on_psync_answer(struct link *link, const char *line)
{
    if (begins_with(line, "+FULLRESYNC")) {
        on_full(link, line);
        return;
    }
    if (begins_with(line, "+CONTINUE")) {
        on_continue(link, line);
        return;
    }
    failover_on_psync(link->repl, false);
    if (link->state != LINK_PSYNC) {
        return; /* A failover that was refused has left the primary again. */
    }
    if (begins_with(line, "-NOMASTERLINK") || begins_with(line, "-LOADING")) {
        log_write(LOG_NOTICE, "Master is currently unable to PSYNC but should be in the future: %s",
                  line);
        link_drop(link, SECOND_US);
        return;
    }
    log_write(LOG_WARNING, "%s%s",
              begins_with(line, "-ERR") ? "Master does not support PSYNC or is in error state, "
                                          "reply: "
                                        : "Unexpected reply to PSYNC from master: ",
              line);
    link_drop_patiently(link);
}

static void on_answer(struct link *link, const char *line)
{
    bool has_ip = link->repl->config.announce_ip[0] != '\0';
    switch (link->state) {
    case LINK_PING:
        on_ping_answer(link, line);
        break;
    case LINK_AUTH:
        if (line[0] == '-') {
            log_write(LOG_WARNING, "Unable to AUTH to MASTER: %s", line);
            link_drop(link, SECOND_US);
            break;
        }
        link->state = LINK_PORT;
        break;
    case LINK_PORT:
        note_refusal("listening-port", line);
        link->state = has_ip ? LINK_IP : LINK_CAPA;
        break;
    case LINK_IP:
        note_refusal("ip-address", line);
        link->state = LINK_CAPA;
        break;
    case LINK_CAPA:
        note_refusal("capa", line);
        ask_for_the_stream(link);
        break;
    default:
        on_psync_answer(link, line);
        break;
    }
}

static bool is_in_handshake(const struct link *link)
{
    return link->state >= LINK_PING && link->state <= LINK_PSYNC;
}

void handshake_on_bytes(struct link *link)
{
    struct wire *wire = link->wire;
    const char *line;
    while (link->wire == wire && is_in_handshake(link) && (line = wire_next_line(wire)) != NULL) {
        if (line[0] != '\0') {
            on_answer(link, line);
        }
    }
    if (link->wire != wire || !is_in_handshake(link)) {
        return; /* Who goes on has taken the rest. */
    }
    wire_forget_done(wire);
    if (wire->len > HANDSHAKE_LINE_MAX) {
        log_write(LOG_WARNING, "The answer of the master has no end");
        link_drop_patiently(link);
        return;
    }
    (void)wire_receive(wire);
}
