/* What a file is that was given for a model and is none: what people hand over by mistake. */
#ifndef CORE_MODEL_FILE_KIND_H
#define CORE_MODEL_FILE_KIND_H

#include <stddef.h>
#include <stdint.h>

/* What a file that begins with these bytes is, and what to do about it, for a message; NULL where
 * that cannot be told. A few hundred bytes are enough. Ask only of what cannot be safetensors. */
const char *dn_file_kind(const uint8_t *bytes, size_t size);

#endif
