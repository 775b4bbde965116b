/* Fuzz target: the file of API keys. */
#include <string.h>

#include "api/keyring.h"
#include "tests/fuzz/fuzz.h"

static void check_keyring(const struct keyring *k)
{
    for (size_t i = 0; i < k->n_keys; i++) {
        const struct key *key = &k->keys[i];
        size_t length = strlen(key->name);
        fuzz_check(length > 0 && length < KEYRING_NAME_BYTES, "a name");
        fuzz_check(i == 0 || strcmp(k->keys[i - 1].name, key->name) < 0, "names, in order");
        fuzz_check(keyring_find_name(k, key->name) == (int)i, "found by name");
        fuzz_check(k->digests[i].key_idx < k->n_keys, "a digest is some key's");
        fuzz_check(key->limits.rows_per_minute <= KEYRING_LIMIT_MAX &&
                       key->limits.burst_rows <= KEYRING_LIMIT_MAX &&
                       key->limits.rows_in_flight <= KEYRING_LIMIT_MAX,
                   "limits");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct key_limits defaults = {.rows_per_minute = 60};
    static const uint8_t salt[KEYRING_SALT_BYTES] = "salt";
    struct keyring k;
    char error[KEYRING_ERROR_BYTES] = "";
    const char *text = size ? (const char *)data : "";
    if (keyring_parse(&k, text, size, &defaults, salt, error) != 0) {
        fuzz_check(error[0] && strlen(error) < sizeof error, "a refusal has a reason");
        return 0;
    }
    check_keyring(&k);
    int found = keyring_find(&k, text, size);
    fuzz_check(found < (int)k.n_keys, "whatever is asked for");
    keyring_free(&k);
    return 0;
}
