/* What the files of geo commands share. */
#pragma once

#include "commands/geo_math.h"
#include "commands/zsets.h"

/* Reads "longitude latitude" at `index`; false: the error is in the reply. */
bool geo_parse_point(struct call *call, uint32_t index, struct geo_point *point);

/* Metres in the unit that an argument names; false: the error is in the reply. */
bool geo_parse_unit(struct call *call, uint32_t index, double *metres);

/* A distance with four decimals, as a bulk in either protocol. */
void geo_reply_distance(struct reply *out, double distance);

/* [longitude, latitude] */
void geo_reply_point(struct reply *out, struct geo_point point);
