/* AMX: eight tiles of up to 16 rows of 64 bytes. Floor 2. */
#ifndef UFK_X86_AMX_H
#define UFK_X86_AMX_H

#include <immintrin.h>
#include <stdint.h>

enum { UFK_TILE_ROWS = 16, UFK_TILE_ROW_BYTES = 64, UFK_TILES = 8 };

/* What ldtilecfg reads; it costs hundreds of cycles and clears the tiles. */
typedef struct ufk_tile_config {
    uint8_t palette, start_row, reserved[14]; /* palette: 1 */
    uint16_t row_bytes[16];
    uint8_t rows[16];
} ufk_tile_config;

static inline void ufk_load_tile_config(const ufk_tile_config *c)
{
    __asm__ volatile("ldtilecfg %0" ::"m"(*c));
}

#endif
