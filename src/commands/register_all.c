/* The list of families, in the order in which COMMAND tells them. */
#include "commands/commands.h"

void commands_register_all(struct exec *exec, const struct connection_family *family,
                           struct type_limits *limits)
{
    commands_register_connection(exec, family);
    commands_register_client(exec);
    commands_register_command(exec);
    commands_register_strings(exec);
    commands_register_strings_condition(exec);
    commands_register_strings_parts(exec);
    commands_register_strings_numbers(exec);
    commands_register_strings_many(exec);
    commands_register_strings_lcs(exec);
    commands_register_keys(exec);
    commands_register_keys_copy(exec, limits);
    commands_register_keys_expire(exec);
    commands_register_keys_walk(exec);
    commands_register_transactions(exec);
    commands_register_databases(exec);
    commands_register_object(exec);
    commands_register_lists(exec, limits);
    commands_register_lists_edit(exec, limits);
    commands_register_lists_move(exec, limits);
    commands_register_lists_block(exec, limits);
    commands_register_sort(exec, limits);
    commands_register_dump(exec, limits);
    commands_register_sets(exec, limits);
    commands_register_sets_random(exec, limits);
    commands_register_sets_algebra(exec, limits);
    commands_register_sets_scan(exec);
    commands_register_zsets(exec, limits);
    commands_register_zsets_range(exec, limits);
    commands_register_zsets_pop(exec, limits);
    commands_register_zsets_block(exec, limits);
    commands_register_zsets_combine(exec, limits);
    commands_register_geo(exec, limits);
    commands_register_geo_search(exec, limits);

    commands_register_hashes(exec, limits);
    commands_register_hashes_numbers(exec, limits);
    commands_register_hashes_walk(exec, limits);
    commands_register_hashes_expire(exec, limits);
    commands_register_streams(exec, limits);
    commands_register_streams_range(exec, limits);
    commands_register_streams_read(exec, limits);
    commands_register_streams_group(exec, limits);
    commands_register_streams_pending(exec, limits);
    commands_register_streams_info(exec, limits);
    commands_register_bitmaps(exec);
    commands_register_bitmaps_field(exec);
    commands_register_hyperloglog(exec, limits);
}
