/*
 * The daemon as a whole, from its start to its end. One struct server on the stack of cmd_serve();
 * the loop thread owns all of it. Its states are in base/life.h.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <uv.h>

#include "core/denoise.h"
#include "server/base/alarm.h"
#include "server/clients/proxies.h"
#include "server/http/http.h"
#include "server/routes/service.h"
#include "server/system/listen.h"
#include "server/system/supervisor.h"

struct server {
    uv_loop_t loop;
    struct service service; /* what requests are served with */
    struct outlet *out;     /* standard output */
    bool finished;          /* the loop has been told to end */
    int exit_status;
    bool reload_when_ready; /* SIGHUP came while loading */
    struct listener listener, admin_listener;
    struct proxies proxies;
    struct http_context http_context;
    struct http *http;
    struct http *admin_http; /* NULL without --admin-listen */
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t stop_timer; /* the delay of the drain, its limit, then the last answers' */
    uv_idle_t ending; /* with ended: what may be the end is looked at when the loop has turned */
    uv_check_t ended;
    struct alarm late_requests; /* set while a drain waits for what may be on its way */
    struct supervisor supervisor;
    uv_work_t load;
    struct dn_error load_error;
    int load_rc;
};

/* Listen, load, serve until a signal or a failure, and clean up. Returns the exit status. */
int server_run(struct server *server);

#endif
