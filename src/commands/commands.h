/* The families of commands: one function each, called once at start. `exec` then holds the family's
 * rows until it is freed. */
#pragma once

struct exec;

/* What HELLO tells of the server. Owned by the composition root, which changes it when roles
 * change; the texts are static or outlive exec. */
struct connection_family {
    const char *version; /* "7.2.0" */
    const char *mode;    /* "standalone" or "cluster" */
    const char *role;    /* "master" or "replica" */
};

/* PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET. `family` is borrowed. */
void commands_register_connection(struct exec *exec, const struct connection_family *family);

/* CLIENT and its subcommands. */
void commands_register_client(struct exec *exec);

/* COMMAND and its subcommands. */
void commands_register_command(struct exec *exec);
