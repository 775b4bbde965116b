#include "api/keyring.h"

#include <assert.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
/* RFC 6750, b64token: what may follow "Bearer". */
#define KEY_CHARACTERS NAME_CHARACTERS "~+/="
#define KEY_MIN_BYTES 16 /* shorter ones are guessed */
#define KEY_MAX_BYTES 512

static_assert(KEYRING_DIGEST_BYTES == SHA256_DIGEST_SIZE, "the digest is SHA-256");

/* A word of a line. */
struct word {
    const char *at;
    size_t bytes;
};

static struct word take_word(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r')) {
        ++*at;
    }
    struct word w = {.at = *at};
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r') {
        ++*at;
    }
    w.bytes = (size_t)(*at - w.at);
    return w;
}

static bool is_made_of(const char *at, size_t bytes, const char *characters)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] == '\0' || !strchr(characters, at[i])) {
            return false;
        }
    }
    return bytes > 0;
}

static void digest_key(uint8_t digest[KEYRING_DIGEST_BYTES], const char *key, size_t bytes)
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, bytes, (const uint8_t *)key);
    sha256_digest(&ctx, KEYRING_DIGEST_BYTES, digest);
}

static void add_salt(uint8_t digest[KEYRING_DIGEST_BYTES], const uint8_t salt[KEYRING_SALT_BYTES])
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, KEYRING_SALT_BYTES, salt);
    sha256_update(&ctx, KEYRING_DIGEST_BYTES, digest);
    sha256_digest(&ctx, KEYRING_DIGEST_BYTES, digest);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return found ? (int)(found - digits) : -1;
}

static const char *read_key(uint8_t digest[KEYRING_DIGEST_BYTES], struct word w)
{
    if (w.bytes > 7 && memcmp(w.at, "sha256:", 7) == 0) {
        if (w.bytes != 7 + 2 * KEYRING_DIGEST_BYTES) {
            return "64 hexadecimal digits are expected after sha256:";
        }
        for (size_t i = 0; i < KEYRING_DIGEST_BYTES; i++) {
            int high = hex_digit(w.at[7 + 2 * i]), low = hex_digit(w.at[8 + 2 * i]);
            if (high < 0 || low < 0) {
                return "64 hexadecimal digits are expected after sha256:";
            }
            digest[i] = (uint8_t)(high * 16 + low);
        }
        return NULL;
    }
    if (!is_made_of(w.at, w.bytes, KEY_CHARACTERS)) {
        return "a key of letters, digits and -._~+/= is expected after the name";
    }
    if (w.bytes < KEY_MIN_BYTES || w.bytes > KEY_MAX_BYTES) {
        return "a key has 16 to 512 characters";
    }
    digest_key(digest, w.at, w.bytes);
    return NULL;
}

/* Does the word begin so? Then what follows is in *value. */
static bool has_name(struct word w, const char *name, struct word *value)
{
    size_t bytes = strlen(name);
    *value = (struct word){.at = w.at + bytes, .bytes = w.bytes - bytes};
    return w.bytes > bytes && memcmp(w.at, name, bytes) == 0;
}

static const char *read_priority(struct key_limits *limits, struct word value)
{
    for (int p = 0; p < PRIORITIES; p++) {
        if (value.bytes == strlen(priority_names[p]) &&
            memcmp(value.at, priority_names[p], value.bytes) == 0) {
            limits->priority = (enum priority)p;
            return NULL;
        }
    }
    return "a priority is high, normal or low";
}

static const char *read_limit(struct key_limits *limits, struct word w)
{
    struct {
        const char *name;
        uint32_t *value;
    } rows[] = {{"rows-per-minute=", &limits->rows_per_minute},
                {"burst-rows=", &limits->burst_rows},
                {"rows-in-flight=", &limits->rows_in_flight}};
    struct word value;
    if (has_name(w, "priority=", &value)) {
        return read_priority(limits, value);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!has_name(w, rows[i].name, &value)) {
            continue;
        }
        if (value.bytes > 10 || !is_made_of(value.at, value.bytes, "0123456789")) {
            return "a limit is a whole number up to 1000000000, 0 for none";
        }
        uint64_t number = 0;
        for (size_t k = 0; k < value.bytes; k++) {
            number = number * 10 + (uint64_t)(value.at[k] - '0');
        }
        if (number > KEYRING_LIMIT_MAX) {
            return "a limit is a whole number up to 1000000000, 0 for none";
        }
        *rows[i].value = (uint32_t)number;
        return NULL;
    }
    return "rows-per-minute=N, burst-rows=N, rows-in-flight=N or priority=high|normal|low is "
           "expected after the key";
}

/* One line that is not empty. Returns NULL, or what is wrong with it. */
static const char *read_line(struct key *key, uint8_t digest[KEYRING_DIGEST_BYTES], const char *at,
                             const char *end, const struct key_limits *defaults)
{
    struct word name = take_word(&at, end);
    if (name.bytes >= KEYRING_NAME_BYTES || !is_made_of(name.at, name.bytes, NAME_CHARACTERS)) {
        return "a name of at most 63 letters, digits and ._- is expected";
    }
    memset(key->name, 0, sizeof key->name);
    memcpy(key->name, name.at, name.bytes);
    key->limits = *defaults;
    const char *fault = read_key(digest, take_word(&at, end));
    for (struct word w; !fault && (w = take_word(&at, end)).bytes > 0;) {
        fault = read_limit(&key->limits, w);
    }
    if (!fault && key->limits.burst_rows && !key->limits.rows_per_minute) {
        fault = "burst-rows goes with rows-per-minute";
    }
    return fault;
}

/* Digests in it are no keys, but let a guess be tried. */
static void free_wiped(void *memory, size_t bytes)
{
    if (memory) {
        explicit_bzero(memory, bytes);
        free(memory);
    }
}

/* A key and its digest, while they are being sorted. */
struct entry {
    struct key key;
    uint8_t digest[KEYRING_DIGEST_BYTES];
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key.name, ((const struct entry *)b)->key.name);
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(((const struct key_digest *)a)->digest, ((const struct key_digest *)b)->digest,
                  KEYRING_DIGEST_BYTES);
}

/* Fill the ring with what was read, sorted both ways. Returns NULL or what is wrong. */
static const char *keyring_fill(struct keyring *k, struct entry *entries, char *name)
{
    qsort(entries, k->n_keys, sizeof *entries, compare_names);
    for (size_t i = 0; i < k->n_keys; i++) {
        if (i > 0 && strcmp(entries[i].key.name, entries[i - 1].key.name) == 0) {
            memcpy(name, entries[i].key.name, KEYRING_NAME_BYTES);
            return "occurs twice";
        }
        k->keys[i] = entries[i].key;
        k->digests[i].key_idx = (uint32_t)i;
        memcpy(k->digests[i].digest, entries[i].digest, KEYRING_DIGEST_BYTES);
        add_salt(k->digests[i].digest, k->salt);
    }
    qsort(k->digests, k->n_keys, sizeof *k->digests, compare_digests);
    for (size_t i = 1; i < k->n_keys; i++) {
        if (compare_digests(&k->digests[i], &k->digests[i - 1]) == 0) {
            memcpy(name, k->keys[k->digests[i].key_idx].name, KEYRING_NAME_BYTES);
            return "has the key of another";
        }
    }
    return NULL;
}

/* The lines of the text, at most [n_lines]. Returns 0 or -1 with the error. */
static int read_lines(struct entry *entries, size_t *n_keys, const char *text, size_t bytes,
                      const struct key_limits *defaults, char error[KEYRING_ERROR_BYTES])
{
    const char *end = text + bytes;
    size_t line = 1;
    for (const char *at = text; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end, *peek = at;
        struct word first = take_word(&peek, line_end);
        if (first.bytes > 0 && *first.at != '#') {
            struct entry *e = &entries[*n_keys];
            const char *fault = read_line(&e->key, e->digest, at, line_end, defaults);
            if (fault) {
                snprintf(error, KEYRING_ERROR_BYTES, "line %zu: %s", line, fault);
                return -1;
            }
            ++*n_keys;
        }
        at = line_end + 1;
    }
    if (*n_keys == 0) {
        snprintf(error, KEYRING_ERROR_BYTES, "there is no key in it");
        return -1;
    }
    return 0;
}

int keyring_parse(struct keyring *k, const char *text, size_t bytes,
                  const struct key_limits *defaults, const uint8_t salt[KEYRING_SALT_BYTES],
                  char error[KEYRING_ERROR_BYTES])
{
    *k = (struct keyring){.n_keys = 0};
    memcpy(k->salt, salt, KEYRING_SALT_BYTES);
    size_t n_lines = 1;
    for (size_t i = 0; i < bytes; i++) {
        n_lines += text[i] == '\n';
    }
    int rc = -1;
    struct entry *entries = malloc(n_lines * sizeof *entries);
    k->keys = malloc(n_lines * sizeof *k->keys);
    k->digests = malloc(n_lines * sizeof *k->digests);
    if (!entries || !k->keys || !k->digests) {
        snprintf(error, KEYRING_ERROR_BYTES, "out of memory");
        goto out;
    }
    if (read_lines(entries, &k->n_keys, text, bytes, defaults, error) != 0) {
        goto out;
    }
    char name[KEYRING_NAME_BYTES];
    const char *fault = keyring_fill(k, entries, name);
    if (fault) {
        snprintf(error, KEYRING_ERROR_BYTES, "%s %s", name, fault);
        goto out;
    }
    rc = 0;
out:
    free_wiped(entries, n_lines * sizeof *entries);
    if (rc != 0) {
        keyring_free(k);
    }
    return rc;
}

int keyring_find(const struct keyring *k, const char *key, size_t bytes)
{
    struct key_digest wanted;
    digest_key(wanted.digest, key, bytes);
    add_salt(wanted.digest, k->salt);
    size_t low = 0, high = k->n_keys;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_digests(&k->digests[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == k->n_keys ||
        !memeql_sec(k->digests[low].digest, wanted.digest, KEYRING_DIGEST_BYTES)) {
        return -1;
    }
    return (int)k->digests[low].key_idx;
}

static int compare_name(const void *name, const void *key)
{
    return strcmp(name, ((const struct key *)key)->name);
}

int keyring_find_name(const struct keyring *k, const char *name)
{
    struct key *found =
        k->n_keys ? bsearch(name, k->keys, k->n_keys, sizeof *k->keys, compare_name) : NULL;
    return found ? (int)(found - k->keys) : -1;
}

void keyring_free(struct keyring *k)
{
    free(k->keys);
    free_wiped(k->digests, k->n_keys * sizeof *k->digests);
    explicit_bzero(k, sizeof *k);
}
