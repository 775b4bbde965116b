#include "server/http/pump.h"

#include "server/http/receive.h"

static void on_timer(uv_timer_t *timer)
{
    pump_run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    pump_run(poll->data);
}

void pump_run(struct pump *pump)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    uint64_t before = *pump->n_connections;
    pump->is_woken = false;
    receive_for(pump->connections);
    MHD_run(pump->mhd);
    if (*pump->n_connections < before) {
        /* At its limit the library stops listening, and looks whether it may again only at the
         * start of a run: without this one nothing would ever wake it. */
        MHD_run(pump->mhd);
    }
    receive_for(NULL);
    if (pump->is_woken) { /* in that very run: by a request that ended another's wait */
        pump_wake(pump);
    } else if (MHD_get_timeout(pump->mhd, &timeout_ms) == MHD_YES) {
        uv_timer_start(&pump->timer, on_timer, timeout_ms, 0);
    } else {
        uv_timer_stop(&pump->timer);
    }
}

void pump_wake(struct pump *pump)
{
    pump->is_woken = true;
    uv_timer_start(&pump->timer, on_timer, 0, 0);
}

int pump_open(struct pump *pump, uv_loop_t *loop, struct MHD_Daemon *mhd,
              struct connection_list *connections, const uint64_t *n_connections)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD);
    *pump = (struct pump){.mhd = mhd, .connections = connections, .n_connections = n_connections};
    if (uv_poll_init(loop, &pump->poll, info->epoll_fd) != 0) {
        return -1;
    }
    pump->poll.data = pump;
    uv_timer_init(loop, &pump->timer);
    pump->timer.data = pump;
    uv_poll_start(&pump->poll, UV_READABLE, on_readable);
    return 0;
}

void pump_close(struct pump *pump)
{
    uv_close((uv_handle_t *)&pump->poll, NULL);
    uv_close((uv_handle_t *)&pump->timer, NULL);
}
