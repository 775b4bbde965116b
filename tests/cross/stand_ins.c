/*
 * What stands in for the parts of core that need a library built for the other processor: the
 * config (cJSON) and the OpenBLAS kernels. See digests.h.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/kernels/kernels.h"
#include "tests/cross/digests.h"

/* ---- the architecture's fields, from a struct instead of JSON ---------------------------------
 */

static const struct arch *arch_of(const struct dn_config *config)
{
    return (const struct arch *)(const void *)config->arch;
}

int dn_arch_int(struct dn_config *config, const char *field, int least, int most, int *value,
                struct dn_error *err)
{
    const struct arch *a = arch_of(config);
    const struct {
        const char *field;
        int value;
    } fields[] = {
        {"context_dim", a->context_dim},
        {"time_dim", a->time_dim},
        {"heads", a->heads},
        {"depth", a->depth},
        {"groups", a->groups},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *value = fields[i].value;
        if (strcmp(fields[i].field, field) == 0 && *value >= least && *value <= most)
            return 0;
    }
    return dn_fail(err, DN_EFORMAT, "%s: not in the stand-in for the config", field);
}

int dn_arch_ints(struct dn_config *config, const char *field, int least, int most, int *values,
                 int max, int *count, struct dn_error *err)
{
    const struct arch *a = arch_of(config);
    if (strcmp(field, "channels") != 0 || a->levels > max)
        return dn_fail(err, DN_EFORMAT, "%s: not in the stand-in for the config", field);
    for (*count = 0; *count < a->levels; ++*count) {
        values[*count] = a->channels[*count];
        if (values[*count] < least || values[*count] > most)
            return dn_fail(err, DN_EFORMAT, "channels: out of range");
    }
    return 0;
}

int dn_arch_string(struct dn_config *config, const char *field, char value[DN_NAME_BYTES],
                   struct dn_error *err)
{
    (void)config;
    if (strcmp(field, "time_embedding") != 0)
        return dn_fail(err, DN_EFORMAT, "%s: not in the stand-in for the config", field);
    strcpy(value, "gaussian_fourier");
    return 0;
}

int dn_arch_check_all_read(const struct dn_config *config, struct dn_error *err)
{
    (void)config, (void)err;
    return 0;
}

/* ---- OpenBLAS: the tables name these, and nothing here asks for those tables' convolutions ------
 */

size_t dn_openblas_conv_packed(const struct dn_conv *conv)
{
    (void)conv;
    abort();
}

void dn_openblas_conv_pack(void *packed, const struct dn_conv *conv, const float *weights)
{
    (void)packed, (void)conv, (void)weights;
    abort();
}

size_t dn_openblas_conv_scratch(const struct dn_conv *conv)
{
    (void)conv;
    abort();
}

void dn_openblas_conv(const struct dn_conv *conv, const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    (void)conv, (void)in, (void)out, (void)epilogue, (void)scratch;
    abort();
}
