/* Strings: an integer, or bytes. */
#include "types/codec/codec_internal.h"
#include "types/string/string.h"

enum codec_result read_string(struct reading *reading)
{
    struct codec_text text;
    enum codec_result result = codec_read_text(reading->reader, &text);
    if (result != CODEC_OK) {
        return result;
    }
    reading->place.value = string_try_new(reading->key, text.text, reading->rules->has_expire);
    codec_text_deinit(&text);
    return reading->place.value != NULL ? CODEC_OK : CODEC_NO_MEMORY;
}
