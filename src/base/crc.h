/* Checksums that Redis's formats use. */
#pragma once

#include <stdint.h>

#include "base/slice.h"

/* CRC-64 (Jones polynomial, reflected, no final xor): RDB files and DUMP payloads. Chain by passing
 * the last value. */
uint64_t crc64(uint64_t crc, struct slice bytes);

/* CRC-16 XMODEM: cluster key slots. */
uint16_t crc16(struct slice bytes);
