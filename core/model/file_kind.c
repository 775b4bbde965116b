#include "core/model/file_kind.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "core/model/utf8.h"

#define EXPORT ": export the weights as safetensors (docs/model-file.md)"
#define UNPACK ": unpack it first"
#define DOWNLOAD ": was an error or a login page saved instead of the model?"

static const struct {
    const char *start;
    size_t n;
    const char *kind;
} binary[] = {
#define STARTS(text) text, sizeof(text) - 1
    {STARTS("PK\x03\x04"), "a ZIP archive, as PyTorch's .pt files are" EXPORT},
    {STARTS("PK\x05\x06"), "an empty ZIP archive"},
    {STARTS("\x80\x02"), "a Python pickle, as older .pt files are" EXPORT},
    {STARTS("\x80\x03"), "a Python pickle" EXPORT},
    {STARTS("\x80\x04"), "a Python pickle" EXPORT},
    {STARTS("\x80\x05"), "a Python pickle" EXPORT},
    {STARTS("\x1f\x8b"), "compressed with gzip" UNPACK},
    {STARTS("\x28\xb5\x2f\xfd"), "compressed with Zstandard" UNPACK},
    {STARTS("\xfd"
            "7zXZ"),
     "compressed with xz" UNPACK},
    {STARTS("BZh"), "compressed with bzip2" UNPACK},
    {STARTS("7z\xbc\xaf\x27\x1c"), "a 7z archive" UNPACK},
    {STARTS("\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras writes" EXPORT},
    {STARTS("\x93NUMPY"), "a NumPy array" EXPORT},
    {STARTS("GGUF"), "a GGUF model" EXPORT},
    {STARTS("\x7f"
            "ELF"),
     "a program"},
    {STARTS("\x89PNG"), "a PNG picture"},
    {STARTS("%PDF"), "a PDF document"},
#undef STARTS
};

static bool is_text(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] < ' ' ? !memchr("\t\n\r\f", bytes[i], 4) : bytes[i] == 0x7f)
            return false;
    while (size > 0 && bytes[size - 1] >= 0x80) /* perhaps a part of a character */
        size--;
    return size > 0 && dn_utf8_valid((const char *)bytes, size);
}

/* The text's first characters, behind a byte order mark and white space. */
static bool text_starts(const uint8_t *bytes, size_t size, const char *start)
{
    size_t at = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, n = strlen(start);
    while (at < size && memchr(" \t\r\n", bytes[at], 4))
        at++;
    return size - at >= n && strncasecmp((const char *)bytes + at, start, n) == 0;
}

const char *dn_file_kind(const uint8_t *bytes, size_t size)
{
    enum { TAR_MAGIC = 257, LOOKED_AT = 512 };
    if (size == 0)
        return "an empty file";
    size = size < LOOKED_AT ? size : LOOKED_AT;
    for (size_t i = 0; i < sizeof binary / sizeof *binary; i++)
        if (size >= binary[i].n && memcmp(bytes, binary[i].start, binary[i].n) == 0)
            return binary[i].kind;
    if (size >= TAR_MAGIC + 5 && memcmp(bytes + TAR_MAGIC, "ustar", 5) == 0)
        return "a tar archive" UNPACK;
    bool is_zero = true;
    for (size_t i = 0; i < size; i++)
        is_zero = is_zero && bytes[i] == 0;
    if (is_zero)
        return "nothing but zeros at its beginning: was the download cut off?";
    if (!is_text(bytes, size))
        return NULL;
    if (text_starts(bytes, size, "version https://git-lfs.github.com/spec/"))
        return "a Git LFS pointer, which stands for the model: run `git lfs pull`";
    if (text_starts(bytes, size, "<!doctype html") || text_starts(bytes, size, "<html"))
        return "an HTML page" DOWNLOAD;
    if (text_starts(bytes, size, "<"))
        return "an XML or HTML document" DOWNLOAD;
    if (text_starts(bytes, size, "{") || text_starts(bytes, size, "["))
        return "JSON text: the index or the config of a model is not the model";
    return "text" DOWNLOAD;
}
