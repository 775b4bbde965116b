/*
 * Alarms: one timer of the loop for any number of points in time. Loop thread only.
 *
 * An alarm is embedded in its owner, who clears it before it goes away.
 */
#ifndef SERVER_BASE_ALARM_H
#define SERVER_BASE_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct alarm {
    void (*ring)(struct alarm *alarm);
    bool is_set;
    uint64_t at_ms; /* of uv_now() */
    TAILQ_ENTRY(alarm) link;
};

struct alarm_list {
    uv_timer_t timer;
    TAILQ_HEAD(alarm_queue, alarm) alarms; /* the earliest first */
};

void alarm_list_init(struct alarm_list *list, uv_loop_t *loop);

/* Have `ring` called once, `after_ms` from now. Sets it anew where it is set already. */
void alarm_set(struct alarm_list *list, struct alarm *alarm, uint64_t after_ms,
               void (*ring)(struct alarm *alarm));

/* Nothing happens to one that is not set. */
void alarm_clear(struct alarm_list *list, struct alarm *alarm);

#endif
