#include "server/base/alarm.h"

static void list_arm(struct alarm_list *list);

static void on_timer(uv_timer_t *timer)
{
    struct alarm_list *list = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    struct alarm *first;
    while ((first = TAILQ_FIRST(&list->alarms)) && first->at_ms <= now_ms) {
        alarm_clear(list, first);
        first->ring(first);
    }
    list_arm(list);
}

static void list_arm(struct alarm_list *list)
{
    const struct alarm *first = TAILQ_FIRST(&list->alarms);
    if (!first) {
        uv_timer_stop(&list->timer);
        return;
    }
    uint64_t now_ms = uv_now(list->timer.loop);
    uv_timer_start(&list->timer, on_timer, first->at_ms > now_ms ? first->at_ms - now_ms : 0, 0);
}

void alarm_list_init(struct alarm_list *list, uv_loop_t *loop)
{
    TAILQ_INIT(&list->alarms);
    uv_timer_init(loop, &list->timer);
    list->timer.data = list;
}

void alarm_set(struct alarm_list *list, struct alarm *alarm, uint64_t after_ms,
               void (*ring)(struct alarm *alarm))
{
    alarm_clear(list, alarm);
    uv_update_time(list->timer.loop);
    alarm->ring = ring;
    alarm->is_set = true;
    alarm->at_ms = uv_now(list->timer.loop) + after_ms;
    /* Most are set for later than all others. */
    struct alarm *before = TAILQ_LAST(&list->alarms, alarm_queue);
    while (before && before->at_ms > alarm->at_ms) {
        before = TAILQ_PREV(before, alarm_queue, link);
    }
    if (before) {
        TAILQ_INSERT_AFTER(&list->alarms, before, alarm, link);
    } else {
        TAILQ_INSERT_HEAD(&list->alarms, alarm, link);
        list_arm(list);
    }
}

void alarm_clear(struct alarm_list *list, struct alarm *alarm)
{
    if (!alarm->is_set) {
        return;
    }
    alarm->is_set = false;
    TAILQ_REMOVE(&list->alarms, alarm, link);
}
