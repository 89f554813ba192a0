/* Listeners: who is let in, who is told why not, and what happens when descriptors run out. */
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/net/bed.h"

ON_EVERY_ENGINE(too_many_clients_are_told_so)
{
    struct client clients[4] = {0};
    bed->config.clients_max = 2;
    bed_configure(bed);
    client_open(&clients[0], bed);
    client_open(&clients[1], bed);
    bed_settle(bed);
    for (int i = 2; i < 4; i++) {
        client_open(&clients[i], bed);
        client_expect(&clients[i], "-ERR max number of clients reached\r\n");
        client_expect_end(&clients[i]);
    }
    const struct net_stats *stats = net_stats(bed->net);
    CHECK(stats->connections_rejected == 2 && stats->connections_received == 2);
    client_close(&clients[0]);
    bed_settle(bed);
    client_close(&clients[2]);
    client_open(&clients[2], bed);
    client_send(&clients[2], "echo a\r\n");
    client_expect(&clients[2], "$1\r\na\r\n");
    for (int i = 1; i < 4; i++) {
        client_close(&clients[i]);
    }
}

ON_EVERY_ENGINE(protected_mode_lets_local_clients_in)
{
    struct client client = {0};
    bed->config.is_protected = true;
    bed_configure(bed);
    client_open(&client, bed);
    client_send(&client, "echo a\r\n");
    client_expect(&client, "$1\r\na\r\n");
    client_close(&client);
}

ON_EVERY_ENGINE(closed_listeners_let_nobody_in)
{
    struct client client = {0};
    client_open(&client, bed);
    bed_settle(bed);
    net_close_listeners(bed->net);
    bed_settle(bed);
    client_send(&client, "echo still here\r\n");
    client_expect(&client, "$4\r\nhere\r\n");
    struct ring_listen_options options = {.address = "127.0.0.1", .port = bed->port, .backlog = 1};
    CHECK(net_listen(bed->net, &options) == 0);
    CHECK(net_listen(bed->net, &options) == -EADDRINUSE);
    struct client other = {0};
    client_open(&other, bed);
    client_send(&other, "echo a\r\n");
    client_expect(&other, "$1\r\na\r\n");
    client_close(&other);
    client_close(&client);
}

ON_EVERY_ENGINE(listening_anew_keeps_what_stays_and_closes_nothing_in_vain)
{
    struct client client = {0}, other = {0};
    struct ring_listen_options here = {.address = "127.0.0.1", .port = bed->port, .backlog = 1};
    struct ring_listen_options all = {.address = "0.0.0.0", .port = bed->port, .backlog = 1};
    net_relisten_begin(bed->net);
    CHECK(!net_keep_listening(bed->net, &all));
    CHECK(net_listen(bed->net, &all) == 0); /* Where "here" still is. */
    net_relisten_end(bed->net, false);
    bed_settle(bed);
    client_open(&client, bed);
    client_send(&client, "echo a\r\n");
    client_expect(&client, "$1\r\na\r\n");
    net_relisten_begin(bed->net);
    CHECK(net_keep_listening(bed->net, &here) && !net_keep_listening(bed->net, &here));
    CHECK(net_listen(bed->net, &all) == -EADDRINUSE);
    net_relisten_end(bed->net, true);
    CHECK(net_listen(bed->net, &all) == -EADDRINUSE);
    net_relisten_begin(bed->net);
    CHECK(net_listen(bed->net, &all) == 0);
    net_relisten_end(bed->net, true);
    bed_settle(bed);
    client_open(&other, bed);
    client_send(&other, "echo b\r\n");
    client_expect(&other, "$1\r\nb\r\n");
    client_close(&other);
    client_close(&client);
}

/* Lets the process open `more` descriptors beyond those it has. */
static void limit_descriptors(rlim_t more)
{
    struct rlimit limit;
    int next = open("/dev/null", O_RDONLY);
    CHECK(next >= 0 && close(next) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)next + more;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

ON_EVERY_ENGINE(accepting_goes_on_when_descriptors_are_back)
{
    if (bed->world != NULL) {
        return; /* Its descriptors never run out. */
    }
    struct rlimit saved;
    CHECK(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    limit_descriptors(1);
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "echo a\r\n");
    bed_settle(bed);
    CHECK(net_stats(bed->net)->clients == 0 && client.in.len == 0);
    net_tick(bed->net);
    bed_settle(bed);
    CHECK(net_stats(bed->net)->clients == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    net_tick(bed->net);
    client_expect(&client, "$1\r\na\r\n");
    client_close(&client);
}

static void on_refusal(struct ring_op *op, int result)
{
    CHECK(!op->in_flight && result > 0); /* The first piece of it will do. */
}

/* A remote peer exists only in the simulated world. */
TEST(net, protected_mode_refuses_remote_clients)
{
    struct bed bed;
    CHECK(bed_open(&bed, "sim"));
    bed.config.is_protected = true;
    bed_configure(&bed);
    CHECK(net_listen(bed.net, &(struct ring_listen_options){
                                  .address = "10.0.0.1", .port = 6380, .backlog = 5}) == 0);
    struct ring *remote = sim_node_start(bed.world, 1);
    struct client client = {.bed = &bed,
                            .connect.done = client_on_connected,
                            .receive.done = client_on_received,
                            .is_deaf = true};
    client.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(6380)};
    CHECK(inet_pton(AF_INET, "10.0.0.1", &client.address.sin_addr) == 1);
    client.fd = ring_socket(remote, AF_INET, NULL);
    CHECK(client.fd >= 0);
    ring_connect(remote, &client.connect, client.fd, (struct sockaddr *)&client.address,
                 sizeof client.address);
    for (int i = 0; i < 1000 && net_stats(bed.net)->connections_rejected == 0; i++) {
        (void)ring_turn(remote, ring_mono_us(remote) + WAIT_US);
        bed_pump(&bed);
    }
    CHECK(net_stats(bed.net)->connections_rejected == 1 && net_stats(bed.net)->clients == 0);
    char text[2000];
    struct ring_op *op = &client.receive;
    op->done = on_refusal;
    ring_receive_into(remote, op, client.fd, text, sizeof text);
    for (int i = 0; i < 1000 && op->in_flight; i++) {
        bed_pump(&bed);
        (void)ring_turn(remote, ring_mono_us(remote) + WAIT_US);
    }
    CHECK(!op->in_flight && memcmp(text, "-DENIED ", 8) == 0);
    ring_close_fd(remote, client.fd);
    ring_close(remote);
    bed_close(&bed);
}
