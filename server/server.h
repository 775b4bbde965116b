/*
 * The daemon as a whole: what its parts share. One struct server on the stack of cmd_serve(); the
 * loop thread owns all of it.
 *
 *     LOADING --> READY --> LEAVING --> DRAINING --> STOPPING
 *        |                                 ^            ^
 *        +---------------------------------+            |  a second signal, or the drain's time is
 *        +----------------------------------------------+  up: what still runs is canceled
 *
 * One that is LEAVING does all that it did, but says that it is not ready, and closes each
 * connection with its next answer.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <uv.h>

#include "api/params.h"
#include "server/base/alarm.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/clients/clients.h"
#include "server/clients/proxies.h"
#include "server/drawing/gate.h"
#include "server/http/idempotency.h"
#include "server/models/model_loads.h"
#include "server/models/models.h"
#include "server/routes/rendering.h"
#include "server/scheduling/scheduler.h"
#include "server/system/listen.h"
#include "server/system/supervisor.h"

struct http;
struct cache;
struct jobs;

enum server_state {
    SERVER_LOADING,
    SERVER_READY,
    SERVER_LEAVING,
    SERVER_DRAINING,
    SERVER_STOPPING
};

struct server {
    uv_loop_t loop;
    const struct options *options;
    struct log log;
    struct metrics metrics;
    enum server_state state;
    bool finished; /* the loop has been told to end */
    int exit_status;
    uint32_t n_workers;
    uint32_t max_connections; /* as many of --max-connections as there are descriptors for */

    /* set once loading is over */
    struct model_set models;
    struct model_loads loads;
    bool reload_when_ready; /* SIGHUP came while loading */
    struct api_context api;
    struct scheduler *scheduler; /* NULL while loading */

    struct clients clients;
    struct gate gate;
    struct idempotency idempotency;
    struct listener listener, admin_listener;
    struct proxies proxies;
    struct http *http;
    struct http *admin_http; /* NULL without --admin-listen */
    struct alarm_list alarms;
    struct jobs *jobs;
    struct cache *cache;
    struct renderings renderings;
    uint64_t frames_bytes; /* of films that are being drawn */
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

/* Is new work taken? */
bool server_takes_work(const struct server *server);

/* Something ended: see whether a server that is going down has nothing left to do. */
void server_check_idle(struct server *server);

#endif
