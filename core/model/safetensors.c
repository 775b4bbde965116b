#include "core/model/safetensors.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/model/file_kind.h"
#include "core/model/utf8.h"

#define CONFIG_KEY "denoised.config"

static const size_t HEADER_MAX_BYTES = (size_t)16 << 20;
static const size_t START_BYTES = 512; /* tell what a file is */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct dn_tensor *)a)->name, ((const struct dn_tensor *)b)->name);
}

static int compare_data(const void *a, const void *b)
{
    const struct dn_tensor *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static const struct {
    const char *name;
    size_t bytes; /* a value */
} types[] = {
    [DN_TENSOR_F32] = {"F32", 4}, [DN_TENSOR_F16] = {"F16", 2}, [DN_TENSOR_BF16] = {"BF16", 2}};

static int type_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return (int)i;
    return -1;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: every value of it is one of fp32. */
static float float_of_half(uint32_t half)
{
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 0) /* too small to be normal, or zero */
        return float_of_bits(sign | 0x3f800000) * ((float)fraction * 0x1p-24f);
    uint32_t wide = exponent == 31 ? 255 : exponent - 15 + 127;
    return float_of_bits(sign | wide << 23 | fraction << 13);
}

/* Whole number 0..2^53 of a JSON item. */
static bool whole_number(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item))
        return false;
    double d = item->valuedouble;
    if (!(d >= 0 && d <= 0x1p53) || d != floor(d))
        return false;
    *value = (int64_t)d;
    return true;
}

static int read_metadata(struct dn_safetensors *st, const cJSON *metadata, struct dn_error *err)
{
    if (!cJSON_IsObject(metadata))
        return dn_fail(err, DN_EFORMAT, "__metadata__: an object expected");
    for (const cJSON *item = metadata->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return dn_fail(err, DN_EFORMAT, "__metadata__: %.80s: a string expected", item->string);
        if (strcmp(item->string, CONFIG_KEY) != 0)
            continue;
        if (st->config)
            return dn_fail(err, DN_EFORMAT, "__metadata__: %s: given twice", CONFIG_KEY);
        st->config = dn_strndup(item->valuestring, strlen(item->valuestring));
        if (!st->config)
            return dn_fail(err, DN_ENOMEM, "out of memory");
    }
    return 0;
}

/* Shape, type and place of one tensor. `data` is the file's data section. */
static int read_tensor(struct dn_tensor *t, const cJSON *item, const uint8_t *data,
                       size_t data_bytes, struct dn_error *err)
{
    const char *name = item->string;
    const cJSON *dtype = NULL, *shape = NULL, *offsets = NULL;
    int64_t begin, end;

    if (!cJSON_IsObject(item))
        return dn_fail(err, DN_EFORMAT, "tensor %.200s: an object expected", name);
    for (const cJSON *field = item->child; field; field = field->next) {
        const cJSON **slot = strcmp(field->string, "dtype") == 0          ? &dtype
                             : strcmp(field->string, "shape") == 0        ? &shape
                             : strcmp(field->string, "data_offsets") == 0 ? &offsets
                                                                          : NULL;
        if (!slot)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: unknown field %.80s", name,
                           field->string);
        if (*slot)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: %s given twice", name, field->string);
        *slot = field;
    }
    if (!cJSON_IsString(dtype))
        return dn_fail(err, DN_EFORMAT, "tensor %.200s: dtype: a string expected", name);
    int type = type_by_name(dtype->valuestring);
    if (type < 0)
        return dn_fail(err, DN_EFORMAT,
                       "tensor %.200s: dtype F32, F16 or BF16 expected, %.20s found", name,
                       dtype->valuestring);
    if (!cJSON_IsArray(shape))
        return dn_fail(err, DN_EFORMAT, "tensor %.200s: shape: an array expected", name);
    t->rank = 0;
    t->count = 1;
    for (const cJSON *d = shape->child; d; d = d->next) {
        if (t->rank == DN_TENSOR_MAX_RANK)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: shape: more than %d dimensions", name,
                           DN_TENSOR_MAX_RANK);
        int64_t n;
        if (!whole_number(d, &n) || n == 0)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: shape: positive whole numbers expected",
                           name);
        if ((uint64_t)n > data_bytes || t->count > data_bytes / (size_t)n)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: shape: larger than the file", name);
        t->count *= (size_t)n;
        t->shape[t->rank++] = n;
    }
    if (cJSON_GetArraySize(offsets) != 2 || !cJSON_IsArray(offsets) ||
        !whole_number(offsets->child, &begin) || !whole_number(offsets->child->next, &end))
        return dn_fail(err, DN_EFORMAT, "tensor %.200s: data_offsets: two whole numbers expected",
                       name);
    if (begin > end || (uint64_t)end > data_bytes)
        return dn_fail(err, DN_EFORMAT,
                       "tensor %.200s: data_offsets [%lld,%lld] outside the file's %zu data bytes: "
                       "is the file truncated?",
                       name, (long long)begin, (long long)end, data_bytes);
    t->bytes = data + begin;
    t->n_bytes = (size_t)(end - begin);
    if (t->n_bytes != (uint64_t)t->count * types[type].bytes)
        return dn_fail(err, DN_EFORMAT, "tensor %.200s: %zu bytes expected by its shape, %zu found",
                       name, t->count * types[type].bytes, t->n_bytes);
    t->type = (enum dn_tensor_type)type;
    t->name = dn_strndup(name, strlen(name));
    return t->name ? 0 : dn_fail(err, DN_ENOMEM, "out of memory");
}

/* The tensors cover the data once, without a hole. */
static int check_coverage(const struct dn_safetensors *st, const uint8_t *data, size_t data_bytes,
                          struct dn_error *err)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct dn_tensor *t = &st->tensors[i];
        if (t->bytes < at)
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: overlaps tensor %.200s", t->name,
                           st->tensors[i - 1].name);
        if (t->bytes > at)
            return dn_fail(err, DN_EFORMAT,
                           "tensor %.200s: %zu bytes before it belong to no tensor", t->name,
                           (size_t)(t->bytes - at));
        at = t->bytes + t->n_bytes;
    }
    if (at != data + data_bytes)
        return dn_fail(err, DN_EFORMAT, "%zu bytes at the end belong to no tensor",
                       (size_t)(data + data_bytes - at));
    return 0;
}

/* The values as floats, and every one finite. They stay where they are in the file if they are
 * floats already, on an address for floats; writers need not see to that. */
static int read_values(struct dn_tensor *t, struct dn_error *err)
{
    if (t->type == DN_TENSOR_F32 && (uintptr_t)t->bytes % _Alignof(float) == 0) {
        t->data = (const float *)(const void *)t->bytes;
    } else {
        t->data = t->converted = dn_alloc(t->count * sizeof *t->converted);
        if (!t->converted)
            return dn_fail(err, DN_ENOMEM, "out of memory");
        if (t->type == DN_TENSOR_F32)
            memcpy(t->converted, t->bytes, t->n_bytes);
        for (size_t i = 0; i < t->count && t->type != DN_TENSOR_F32; i++) {
            uint16_t bits;
            memcpy(&bits, t->bytes + i * sizeof bits, sizeof bits);
            t->converted[i] = t->type == DN_TENSOR_F16 ? float_of_half(bits)
                                                       : float_of_bits((uint32_t)bits << 16);
        }
    }
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(t->data[i]))
            return dn_fail(err, DN_EFORMAT, "tensor %.200s: value %zu is not finite", t->name, i);
    return 0;
}

/* What the file is where it cannot be safetensors; NULL where it can, or cannot be told. */
static const char *other_kind(const uint8_t *start, size_t size, uint64_t header_bytes)
{
    bool may_be = size > 8 && header_bytes <= HEADER_MAX_BYTES && header_bytes <= size - 8 &&
                  memchr("{ \t\r\n", start[8], 5);
    return may_be ? NULL : dn_file_kind(start, size < START_BYTES ? size : START_BYTES);
}

/* The length of the header, by the first START_BYTES of a file of `size` bytes or all of a shorter
 * one. */
static int read_start(size_t *length, const uint8_t *start, size_t size, struct dn_error *err)
{
    uint64_t header_bytes = 0;

    for (int i = 7; i >= 0 && size >= 8; i--)
        header_bytes = header_bytes << 8 | start[i];
    const char *kind = other_kind(start, size, header_bytes);
    if (kind)
        return dn_fail(err, DN_EFORMAT, "not a safetensors file but %s", kind);
    if (size < 8)
        return dn_fail(err, DN_EFORMAT, "truncated: %zu bytes, a header length of 8 expected",
                       size);
    if (header_bytes > HEADER_MAX_BYTES)
        return dn_fail(err, DN_EFORMAT, "header of %llu bytes: at most %zu are allowed",
                       (unsigned long long)header_bytes, HEADER_MAX_BYTES);
    if (header_bytes > size - 8)
        return dn_fail(err, DN_EFORMAT, "truncated: a header of %llu bytes in a file of %zu",
                       (unsigned long long)header_bytes, size);
    *length = (size_t)header_bytes;
    return 0;
}

/* The header, which alone is read; of the tensors' values only the addresses are known then. */
static int read_header(struct dn_safetensors *st, const uint8_t *bytes, size_t size,
                       size_t header_bytes, struct dn_error *err)
{
    cJSON *header = NULL;
    bool has_metadata = false;
    int rc;

    const char *text = (const char *)bytes + 8;
    const uint8_t *data = bytes + 8 + header_bytes;
    size_t data_bytes = size - 8 - header_bytes;
    if (!dn_utf8_valid(text, header_bytes))
        return dn_fail(err, DN_EFORMAT, "header: not UTF-8");

    const char *end = NULL;
    errno = 0; /* the library does not tell a lack of memory from a fault; malloc() does */
    header = cJSON_ParseWithLengthOpts(text, header_bytes, &end, 0);
    if (!header || !cJSON_IsObject(header)) {
        rc = !header && errno == ENOMEM ? dn_fail(err, DN_ENOMEM, "out of memory")
                                        : dn_fail(err, DN_EFORMAT, "header: not a JSON object");
        goto out;
    }
    while (end < (const char *)data &&
           (*end == ' ' || *end == '\n' || *end == '\t' || *end == '\r'))
        end++;
    if (end != (const char *)data) {
        rc = dn_fail(err, DN_EFORMAT, "header: text behind the JSON object");
        goto out;
    }
    int count = cJSON_GetArraySize(header);
    if (count > DN_TENSOR_MAX_COUNT) {
        rc = dn_fail(err, DN_EFORMAT, "header: more than %d tensors", DN_TENSOR_MAX_COUNT);
        goto out;
    }
    st->tensors = calloc((size_t)count + 1, sizeof *st->tensors);
    if (!st->tensors) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    for (const cJSON *item = header->child; item; item = item->next) {
        if (strcmp(item->string, "__metadata__") == 0) {
            rc = has_metadata ? dn_fail(err, DN_EFORMAT, "__metadata__: given twice")
                              : read_metadata(st, item, err);
            has_metadata = true;
        } else {
            rc = read_tensor(&st->tensors[st->n_tensors], item, data, data_bytes, err);
            if (rc == 0)
                st->n_values += st->tensors[st->n_tensors++].count;
        }
        if (rc)
            goto out;
    }
    qsort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_data);
    rc = check_coverage(st, data, data_bytes, err);
    if (rc)
        goto out;
    qsort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_names);
    for (size_t i = 1; i < st->n_tensors; i++) {
        if (strcmp(st->tensors[i].name, st->tensors[i - 1].name) == 0) {
            rc = dn_fail(err, DN_EFORMAT, "tensor %.200s: given twice", st->tensors[i].name);
            goto out;
        }
    }
    rc = 0;
    if (!st->config)
        rc = dn_fail(err, DN_EFORMAT, "__metadata__: %s: missing", CONFIG_KEY);
out:
    cJSON_Delete(header);
    return rc;
}

static int read_all_values(struct dn_safetensors *st, struct dn_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < st->n_tensors && rc == 0; i++)
        rc = read_values(&st->tensors[i], err);
    return rc;
}

int dn_safetensors_parse(struct dn_safetensors *st, const uint8_t *bytes, size_t size,
                         struct dn_error *err)
{
    size_t header_bytes;

    *st = (struct dn_safetensors){0};
    int rc = read_start(&header_bytes, bytes, size, err);
    rc = rc ? rc : read_header(st, bytes, size, header_bytes, err);
    rc = rc ? rc : read_all_values(st, err);
    if (rc)
        dn_safetensors_deinit(st);
    return rc;
}

int dn_safetensors_read_header(struct dn_safetensors *st, struct dn_file *file,
                               struct dn_error *err)
{
    size_t header_bytes = 0;

    *st = (struct dn_safetensors){0};
    int rc = dn_file_read_to(file, START_BYTES, err);
    rc = rc ? rc : read_start(&header_bytes, file->bytes, file->size, err);
    rc = rc ? rc : dn_file_read_to(file, 8 + header_bytes, err);
    rc = rc ? rc : read_header(st, file->bytes, file->size, header_bytes, err);
    if (rc)
        dn_safetensors_deinit(st);
    return rc;
}

int dn_safetensors_read_values(struct dn_safetensors *st, struct dn_file *file,
                               struct dn_error *err)
{
    int rc = dn_file_read_to(file, file->size, err);
    return rc ? rc : read_all_values(st, err);
}

void dn_safetensors_deinit(struct dn_safetensors *st)
{
    for (size_t i = 0; i < st->n_tensors; i++) {
        free(st->tensors[i].name);
        free(st->tensors[i].converted);
    }
    free(st->tensors);
    free(st->config);
    *st = (struct dn_safetensors){0};
}

static void print_shape(char *text, size_t bytes, const int64_t *shape, int rank)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < rank && used < bytes; i++) {
        int n = snprintf(text + used, bytes - used, "%s%lld", i ? "," : "", (long long)shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

const float *dn_safetensors_use(struct dn_safetensors *st, const char *name, const int64_t *shape,
                                int rank, struct dn_error *err)
{
    struct dn_tensor key = {.name = (char *)(uintptr_t)name};
    struct dn_tensor *t = st->n_tensors ? bsearch(&key, st->tensors, st->n_tensors,
                                                  sizeof *st->tensors, compare_names)
                                        : NULL;
    if (!t) {
        dn_fail(err, DN_EFORMAT, "tensor %.200s: missing", name);
        return NULL;
    }
    if (t->rank != rank || memcmp(t->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        char expected[96], found[96];
        print_shape(expected, sizeof expected, shape, rank);
        print_shape(found, sizeof found, t->shape, t->rank);
        dn_fail(err, DN_EFORMAT, "tensor %.200s: shape [%s] expected, [%s] found", name, expected,
                found);
        return NULL;
    }
    t->used = true;
    return t->data;
}

int dn_safetensors_check_all_used(const struct dn_safetensors *st, struct dn_error *err)
{
    for (size_t i = 0; i < st->n_tensors; i++)
        if (!st->tensors[i].used)
            return dn_fail(err, DN_EFORMAT,
                           "tensor %.200s: surplus, the architecture has none of that name",
                           st->tensors[i].name);
    return 0;
}
