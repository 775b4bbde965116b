/*
 * The daemon as a whole: what its parts share. One struct server on the stack of cmd_serve(); the
 * loop thread owns all of it.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <uv.h>

#include "server/base/alarm.h"
#include "server/base/life.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/clients/clients.h"
#include "server/clients/proxies.h"
#include "server/drawing/studio.h"
#include "server/http/idempotency.h"
#include "server/models/model_loads.h"
#include "server/models/serving.h"
#include "server/routes/rendering.h"
#include "server/system/listen.h"
#include "server/system/supervisor.h"

struct http;
struct cache;
struct jobs;

struct server {
    uv_loop_t loop;
    const struct options *options;
    struct log log;
    struct metrics metrics;
    struct life life;
    bool finished; /* the loop has been told to end */
    int exit_status;
    struct serving serving;
    uint32_t max_connections; /* as many of --max-connections as there are descriptors for */

    struct model_loads loads;
    bool reload_when_ready; /* SIGHUP came while loading */

    struct clients clients;
    struct studio studio;
    struct idempotency idempotency;
    struct listener listener, admin_listener;
    struct proxies proxies;
    struct http *http;
    struct http *admin_http; /* NULL without --admin-listen */
    struct alarm_list alarms;
    struct jobs *jobs;
    struct cache *cache;
    struct renderings renderings;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t stop_timer;      /* the delay of the drain, its limit, then the last answers' */
    struct alarm late_requests; /* set while a drain waits for what may be on its way */
    struct supervisor supervisor;
    uv_work_t load;
    struct dn_error load_error;
    int load_rc;
};

/* Listen, load, serve until a signal or a failure, and clean up. Returns the exit status. */
int server_run(struct server *server);

#endif
