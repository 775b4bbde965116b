/*
 * What the daemon counts, as text for Prometheus (exposition format 0.0.4). Loop thread only.
 */
#ifndef SERVER_ROUTES_METRICS_TEXT_H
#define SERVER_ROUTES_METRICS_TEXT_H

#include "server/base/metrics.h"
#include "server/models/models.h"

/* Everything as text. `models` is NULL while they load. The caller frees; NULL when out of memory.
 */
char *metrics_text(const struct metrics *m, const struct model_set *models, size_t *bytes);

#endif
