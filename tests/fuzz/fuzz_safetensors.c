/* Fuzz target: the model file's reader and the config's, on any bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/graph/graph.h"
#include "core/model/config.h"
#include "core/model/safetensors.h"
#include "core/nets/nets.h"
#include "tests/fuzz/fuzz.h"

static const float *weight_of(void *context, const char *name, const int64_t *shape, int rank,
                              struct dn_error *err)
{
    return dn_safetensors_use(context, name, shape, rank, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dn_safetensors st;
    struct dn_config config;
    struct dn_graph *graph;
    struct dn_error err = {0};
    uint8_t *bytes = dn_alloc(size);

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (dn_safetensors_parse(&st, bytes, size, &err) == 0) {
        const struct dn_weight_source source = {weight_of, &st};
        if (dn_config_parse(&config, st.config, &err) == 0) {
            const struct dn_net *net = dn_net_by_type(config.arch_type);
            if (net && dn_graph_new(&graph, &source, &err) == 0) {
                net->record(graph, &config, &err);
                dn_graph_free(graph);
            }
            dn_config_deinit(&config);
        }
        dn_safetensors_deinit(&st);
    }
    free(bytes);
    return 0;
}
