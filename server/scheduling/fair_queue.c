#include "server/scheduling/fair_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "server/scheduling/worker.h"

/* The jobs of one client, model and priority. */
struct lane {
    struct job_queue jobs;
    size_t n_jobs;
    struct fair_share *share;
    struct lane *share_prev, *share_next; /* of the same client */
    const struct fair_queue *queue;
    enum priority priority;
    struct lane *prev, *next;    /* of the same band */
    size_t heap_idx;             /* while it waits */
    uint64_t key;                /* in the heap: what the client had when it was put there */
    uint64_t owed;               /* to the job that came first, times FAIR_OLDEST_SHARE */
    uint64_t oldest_ns;          /* for fair_queue_settle() */
    uint64_t left;               /* evaluations that its jobs still need */
    uint64_t sizes[JOB_CLASSES]; /* evaluations that its jobs needed at first, by magnitude */
};

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t job_size(const struct job *job)
{
    return job->evaluations;
}

/* ---- debts ---------------------------------------------------------------------------------- */

/* `share` evaluations were owed for each that others had: never more than a batch can give back. */
static void debt_pay(uint64_t *owed, uint64_t evaluations, uint64_t share)
{
    *owed -= minimum(*owed, evaluations * share);
}

static void debt_grow(uint64_t *owed, uint64_t evaluations, uint64_t share)
{
    *owed = minimum(*owed + evaluations, share * ROW_MAX_EVALUATIONS * WORKER_MAX_STEPS);
}

static bool debt_is_due(uint64_t owed, uint64_t share)
{
    return owed >= share * ROW_MAX_EVALUATIONS;
}

/* ---- the heap of lanes that wait ------------------------------------------------------------ */

static void heap_set(struct fair_band *band, size_t i, struct lane *lane)
{
    band->heap[i] = lane;
    lane->heap_idx = i;
}

static void heap_rise(struct fair_band *band, struct lane *lane, size_t i)
{
    for (size_t up; i > 0 && band->heap[up = (i - 1) / 2]->key > lane->key; i = up) {
        heap_set(band, i, band->heap[up]);
    }
    heap_set(band, i, lane);
}

static void heap_sink(struct fair_band *band, struct lane *lane, size_t i)
{
    for (size_t down; (down = 2 * i + 1) < band->n_waiting; i = down) {
        down += down + 1 < band->n_waiting && band->heap[down + 1]->key < band->heap[down]->key;
        if (band->heap[down]->key >= lane->key) {
            break;
        }
        heap_set(band, i, band->heap[down]);
    }
    heap_set(band, i, lane);
}

static void heap_add(struct fair_band *band, struct lane *lane)
{
    lane->key = lane->share->had[lane->priority];
    heap_rise(band, lane, band->n_waiting++);
}

static void heap_remove(struct fair_band *band, struct lane *lane)
{
    struct lane *last = band->heap[--band->n_waiting];
    if (last != lane) {
        size_t i = lane->heap_idx;
        heap_sink(band, last, i);
        heap_rise(band, last, last->heap_idx);
    }
}

/* What clients had grows while they are in the heap: keys are brought up to date where it counts.
 */
static struct lane *heap_first(struct fair_band *band)
{
    while (band->n_waiting > 0) {
        struct lane *lane = band->heap[0];
        uint64_t had = lane->share->had[lane->priority];
        if (lane->key == had) {
            return lane;
        }
        lane->key = had;
        heap_sink(band, lane, 0);
    }
    return NULL;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static struct fair_band *band_of(struct fair_queue *q, const struct lane *lane)
{
    return &q->bands[lane->priority];
}

static struct lane *lane_find(const struct fair_queue *q, const struct fair_share *share,
                              enum priority priority)
{
    struct lane *lane = share->lanes;
    while (lane && (lane->queue != q || lane->priority != priority)) {
        lane = lane->share_next;
    }
    return lane;
}

/* NULL when there is no memory for it. */
static struct lane *lane_new(struct fair_queue *q, struct fair_share *share, enum priority priority)
{
    struct fair_band *band = &q->bands[priority];
    if (band->n_lanes == band->capacity) {
        size_t capacity = band->capacity ? 2 * band->capacity : 8;
        struct lane **heap = realloc(band->heap, capacity * sizeof(struct lane *));
        if (!heap) {
            return NULL;
        }
        band->heap = heap;
        band->capacity = capacity;
    }
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane) {
        return NULL;
    }
    lane->queue = q;
    lane->share = share;
    lane->priority = priority;
    lane->next = band->lanes;
    lane->share_next = share->lanes;
    if (lane->next) {
        lane->next->prev = lane;
    }
    if (lane->share_next) {
        lane->share_next->share_prev = lane;
    }
    band->lanes = share->lanes = lane;
    band->n_lanes++;
    return lane;
}

static void lane_free(struct fair_queue *q, struct lane *lane)
{
    struct fair_band *band = band_of(q, lane);
    *(lane->prev ? &lane->prev->next : &band->lanes) = lane->next;
    *(lane->share_prev ? &lane->share_prev->share_next : &lane->share->lanes) = lane->share_next;
    if (lane->next) {
        lane->next->prev = lane->prev;
    }
    if (lane->share_next) {
        lane->share_next->share_prev = lane->share_prev;
    }
    band->n_lanes--;
    free(lane);
}

/* What a client had when its next job begins: it cannot save up more than its credit. */
static uint64_t share_start(const struct fair_share *share, const struct fair_clock *clock,
                            enum priority priority)
{
    uint64_t had = share->had[priority], now = clock->now[priority];
    uint64_t least = now > FAIR_CREDIT ? now - FAIR_CREDIT : 0;
    return share->n_jobs[priority] == 0 && had < least ? least : had;
}

int fair_queue_enter(struct fair_queue *q, struct job *job)
{
    struct fair_share *share = job->share;
    struct lane *lane = lane_find(q, share, job->priority);
    lane = lane ? lane : lane_new(q, share, job->priority);
    if (!lane) {
        return DN_ENOMEM;
    }
    share->had[job->priority] = share_start(share, q->clock, job->priority);
    share->n_jobs[job->priority]++;
    lane->n_jobs++;
    q->n_jobs++;
    uint64_t size = job_size(job);
    lane->sizes[job_magnitude(size)] += size;
    lane->left += size;
    band_of(q, lane)->left += size;
    job->lane = lane;
    job_queue_enter(&lane->jobs, job);
    return 0;
}

void fair_queue_leave(struct fair_queue *q, struct job *job)
{
    struct lane *lane = job->lane;
    uint64_t size = job_size(job);
    lane->sizes[job_magnitude(size)] -= size;
    job_queue_leave(&lane->jobs, job);
    job->share->n_jobs[job->priority]--;
    job->lane = NULL;
    q->n_jobs--;
    if (--lane->n_jobs == 0) {
        lane_free(q, lane);
    }
}

void fair_queue_put(struct fair_queue *q, struct job *job)
{
    struct lane *lane = job->lane;
    bool waited = lane->jobs.classes != 0;
    job_queue_put(&lane->jobs, job);
    if (!waited) {
        heap_add(band_of(q, lane), lane);
        q->clock->n_waiting[lane->priority]++;
    }
}

void fair_queue_take(struct fair_queue *q, struct job *job)
{
    struct lane *lane = job->lane;
    bool waited = lane->jobs.classes != 0;
    job_queue_take(&lane->jobs, job);
    if (waited && lane->jobs.classes == 0) {
        heap_remove(band_of(q, lane), lane);
        q->clock->n_waiting[lane->priority]--;
    }
}

/* ---- who goes first ------------------------------------------------------------------------- */

bool fair_queue_is_empty(const struct fair_queue *q)
{
    return q->n_jobs == 0;
}

bool fair_queue_waits(const struct fair_queue *q)
{
    bool waits = false;
    for (int p = 0; p < PRIORITIES; p++) {
        waits |= q->bands[p].n_waiting > 0;
    }
    return waits;
}

struct job *fair_queue_first(struct fair_queue *q)
{
    struct lane *lane = NULL;
    for (int p = 0; p < PRIORITIES && !lane; p++) {
        lane = heap_first(&q->bands[p]);
    }
    return lane ? job_queue_first(&lane->jobs) : NULL;
}

/* The lowest priority that waits and is owed something, or PRIORITIES. */
static int owed_priority(const struct fair_queue *q)
{
    int p = PRIORITIES - 1;
    while (p > 0 &&
           (q->bands[p].n_waiting == 0 || !debt_is_due(q->clock->owed[p], FAIR_PRIORITY_SHARE))) {
        p--;
    }
    return p > 0 ? p : PRIORITIES;
}

struct job *fair_queue_owed(struct fair_queue *q)
{
    int p = owed_priority(q);
    struct lane *lane = p < PRIORITIES ? heap_first(&q->bands[p]) : NULL;
    bool is_owed = lane != NULL;
    for (p = 0; p < PRIORITIES && !lane; p++) {
        lane = heap_first(&q->bands[p]);
    }
    if (lane && debt_is_due(lane->owed, FAIR_OLDEST_SHARE)) {
        return job_queue_oldest(&lane->jobs);
    }
    return is_owed ? job_queue_first(&lane->jobs) : NULL;
}

bool fair_queue_goes_before(struct fair_queue *a, struct fair_queue *b)
{
    int owed_a = owed_priority(a), owed_b = owed_priority(b);
    if (owed_a < PRIORITIES || owed_b < PRIORITIES) {
        return owed_a < owed_b;
    }
    const struct job *first_a = fair_queue_first(a), *first_b = fair_queue_first(b);
    if (first_a->priority != first_b->priority) {
        return first_a->priority < first_b->priority;
    }
    return first_a->lane->key < first_b->lane->key;
}

bool fair_queue_displaces(const struct job *job, const struct job *other)
{
    if (job->priority != other->priority) {
        return job->priority < other->priority;
    }
    if (job->share == other->share) {
        return job_class(job) < job_class(other);
    }
    return job->share->had[job->priority] + FAIR_LEAD <= other->share->had[job->priority];
}

/* ---- counting ------------------------------------------------------------------------------- */

void fair_queue_hand_out(struct fair_queue *q, const struct job *job, uint32_t evaluations)
{
    uint64_t *had = &job->share->had[job->priority], *now = &q->clock->now[job->priority];
    *now = *had > *now ? *had : *now;
    *had += evaluations;
}

static void settle_row(struct fair_queue *q, const struct batch_row *b, uint32_t n_steps)
{
    const struct job *job = b->job;
    uint64_t evaluations = (uint64_t)b->evaluations * n_steps;
    struct lane *lane = job->lane;
    struct fair_clock *clock = q->clock;
    if (n_steps > 1) { /* the first one was counted when it was handed out */
        job->share->had[job->priority] += evaluations - b->evaluations;
    }
    debt_grow(&lane->owed, evaluations, FAIR_OLDEST_SHARE);
    if (job->submitted_ns == lane->oldest_ns) {
        debt_pay(&lane->owed, evaluations, FAIR_OLDEST_SHARE);
    }
    for (int p = (int)job->priority; p < PRIORITIES; p++) {
        bool waits = clock->n_waiting[p] > 0 || p == (int)job->priority;
        debt_grow(&clock->owed[p], waits ? evaluations : 0, FAIR_PRIORITY_SHARE);
    }
    debt_pay(&clock->owed[job->priority], evaluations, FAIR_PRIORITY_SHARE);
}

/* The first of a lane is the oldest of its jobs in the batch and of those that wait: where the
 * oldest are served anyway, nothing is owed. Jobs of the batch do not wait yet. */
void fair_queue_settle(struct fair_queue *q, const struct worker *w)
{
    for (uint32_t i = 0; i < w->n_batch; i++) {
        struct lane *lane = w->batch[i].job->lane;
        const struct job *oldest = job_queue_oldest(&lane->jobs);
        lane->oldest_ns = oldest ? oldest->submitted_ns : UINT64_MAX;
    }
    for (uint32_t i = 0; i < w->n_batch; i++) {
        struct lane *lane = w->batch[i].job->lane;
        lane->oldest_ns = minimum(lane->oldest_ns, w->batch[i].job->submitted_ns);
    }
    for (uint32_t i = 0; i < w->n_batch; i++) {
        settle_row(q, &w->batch[i], w->n_steps);
    }
}

void fair_queue_shrink(struct fair_queue *q, const struct job *job, uint64_t evaluations)
{
    job->lane->left -= evaluations;
    band_of(q, job->lane)->left -= evaluations;
}

void fair_queue_each(struct fair_queue *q, void (*act)(void *arg, struct job *job), void *arg)
{
    size_t n = q->n_jobs;
    for (int p = 0; n > 0; p++) {
        for (struct lane *lane = q->bands[p].lanes, *next; n > 0 && lane; lane = next) {
            next = lane->next;
            for (struct job *job = lane->jobs.oldest, *newer; job; job = newer) {
                newer = job->newer;
                act(arg, job);
                n--;
            }
        }
    }
}

/* ---- what goes before ----------------------------------------------------------------------- */

/* Of the client's own jobs those that need about as much or less. Work that is half done counts in
 * full, but never as more than all there is. */
static uint64_t ahead_in_lane(const struct lane *lane, uint64_t evaluations)
{
    uint64_t sum = 0;
    for (int class = 0; class <= job_magnitude(evaluations); class ++) {
        sum += lane->sizes[class];
    }
    return minimum(sum, lane->left);
}

struct work {
    uint64_t evaluations;
    double seconds;
};

static void work_add(struct work *work, const struct fair_queue *q, uint64_t evaluations)
{
    work->evaluations += evaluations;
    work->seconds += (double)evaluations * q->evaluation_s;
}

double fair_clock_ahead_s(const struct fair_clock *clock, const struct fair_share *share,
                          enum priority priority, uint64_t evaluations)
{
    struct work ahead = {.evaluations = 0}, lower = {.evaluations = 0};
    for (const struct lane *lane = share->lanes; lane; lane = lane->share_next) {
        if (lane->priority == priority) {
            work_add(&ahead, lane->queue, ahead_in_lane(lane, evaluations));
        }
    }
    /* The others go first until they had as much as this client will have had then. */
    uint64_t end = share_start(share, clock, priority) + ahead.evaluations + evaluations;
    const struct fair_queue *q;
    LIST_FOREACH(q, &clock->queues, link)
    {
        for (int p = 0; p < PRIORITIES; p++) {
            work_add(&ahead, q, p < (int)priority ? q->bands[p].left : 0);
            work_add(&lower, q, p > (int)priority ? q->bands[p].left : 0);
        }
        for (const struct lane *lane = q->bands[priority].lanes; lane; lane = lane->next) {
            uint64_t had = lane->share->had[priority];
            bool goes_first = lane->share != share && had < end;
            work_add(&ahead, q, goes_first ? minimum(lane->left, end - had) : 0);
        }
    }
    uint64_t owed = (ahead.evaluations + evaluations) / (FAIR_PRIORITY_SHARE - 1);
    if (lower.evaluations > owed) {
        lower.seconds = lower.seconds * (double)owed / (double)lower.evaluations;
    }
    return ahead.seconds + lower.seconds;
}

double fair_clock_left_s(const struct fair_clock *clock)
{
    struct work left = {.evaluations = 0};
    const struct fair_queue *q;
    LIST_FOREACH(q, &clock->queues, link)
    {
        for (int p = 0; p < PRIORITIES; p++) {
            work_add(&left, q, q->bands[p].left);
        }
    }
    return left.seconds;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

void fair_clock_init(struct fair_clock *clock)
{
    *clock = (struct fair_clock){.n_waiting = {0}};
    LIST_INIT(&clock->queues);
}

void fair_queue_init(struct fair_queue *q, struct fair_clock *clock)
{
    *q = (struct fair_queue){.clock = clock};
    LIST_INSERT_HEAD(&clock->queues, q, link);
}

void fair_queue_deinit(struct fair_queue *q)
{
    LIST_REMOVE(q, link);
    for (int p = 0; p < PRIORITIES; p++) {
        assert(q->bands[p].n_lanes == 0);
        free(q->bands[p].heap);
    }
}
