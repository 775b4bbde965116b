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
    size_t idx;         /* in its band */
    size_t heap_idx;    /* while it waits */
    uint64_t key;       /* in the heap: what the client had when it was put there */
    uint64_t owed;      /* to the job that came first, times FAIR_OLDEST_SHARE */
    uint64_t oldest_ns; /* for fair_queue_settle() */
    /* By magnitude of what a job needed at first: the evaluations that its jobs still need, and
     * all that such jobs, which begin one after the other, ever had. */
    uint64_t left[JOB_CLASSES], served[JOB_CLASSES];
};

/* What others ask of a lane, side by side for all of a band: there may be thousands. */
struct lane_sum {
    struct lane *lane;
    const struct fair_share *share;
    uint64_t had;  /* by its client, in this priority */
    uint64_t left; /* evaluations that its jobs still need */
};

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
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

/* Room for one more lane. Returns 0 or DN_ENOMEM. */
static int band_reserve(struct fair_band *band)
{
    if (band->n_lanes < band->capacity) {
        return 0;
    }
    size_t capacity = band->capacity ? 2 * band->capacity : 8;
    struct lane **heap = realloc(band->heap, capacity * sizeof *heap);
    if (!heap) {
        return DN_ENOMEM;
    }
    band->heap = heap;
    struct lane_sum *lanes = realloc(band->lanes, capacity * sizeof *lanes);
    if (!lanes) {
        return DN_ENOMEM;
    }
    band->lanes = lanes;
    band->capacity = capacity;
    return 0;
}

/* NULL when there is no memory for it. */
static struct lane *lane_new(struct fair_queue *q, struct fair_share *share, enum priority priority)
{
    struct fair_band *band = &q->bands[priority];
    struct lane *lane = band_reserve(band) == 0 ? calloc(1, sizeof *lane) : NULL;
    if (!lane) {
        return NULL;
    }
    lane->queue = q;
    lane->share = share;
    lane->priority = priority;
    lane->share_next = share->lanes;
    if (lane->share_next) {
        lane->share_next->share_prev = lane;
    }
    share->lanes = lane;
    lane->idx = band->n_lanes++;
    band->lanes[lane->idx] =
        (struct lane_sum){.lane = lane, .share = share, .had = share->had[priority]};
    return lane;
}

static void lane_free(struct fair_queue *q, struct lane *lane)
{
    struct fair_band *band = band_of(q, lane);
    struct lane_sum last = band->lanes[--band->n_lanes];
    last.lane->idx = lane->idx;
    band->lanes[lane->idx] = last;
    *(lane->share_prev ? &lane->share_prev->share_next : &lane->share->lanes) = lane->share_next;
    if (lane->share_next) {
        lane->share_next->share_prev = lane->share_prev;
    }
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

static void share_set(struct fair_share *share, enum priority priority, uint64_t had)
{
    share->had[priority] = had;
    for (struct lane *lane = share->lanes; lane; lane = lane->share_next) {
        if (lane->priority == priority) {
            lane->queue->bands[priority].lanes[lane->idx].had = had;
        }
    }
}

int fair_queue_enter(struct fair_queue *q, struct job *job)
{
    struct fair_share *share = job->share;
    struct lane *lane = lane_find(q, share, job->priority);
    lane = lane ? lane : lane_new(q, share, job->priority);
    if (!lane) {
        return DN_ENOMEM;
    }
    share_set(share, job->priority, share_start(share, q->clock, job->priority));
    share->n_jobs[job->priority]++;
    lane->n_jobs++;
    q->n_jobs++;
    int class = job_magnitude(job->evaluations);
    uint64_t left = job->evaluations - job->evaluations_done;
    job->turn = lane->served[class] + lane->left[class];
    lane->left[class] += left;
    band_of(q, lane)->lanes[lane->idx].left += left;
    band_of(q, lane)->left += left;
    job->lane = lane;
    job_queue_enter(&lane->jobs, job);
    return 0;
}

void fair_queue_leave(struct fair_queue *q, struct job *job)
{
    struct lane *lane = job->lane;
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
    uint64_t had = job->share->had[job->priority], *now = &q->clock->now[job->priority];
    *now = had > *now ? had : *now;
    share_set(job->share, job->priority, had + evaluations);
}

static void settle_row(struct fair_queue *q, const struct batch_row *b, uint32_t n_steps)
{
    const struct job *job = b->job;
    uint64_t evaluations = (uint64_t)b->evaluations * n_steps;
    struct lane *lane = job->lane;
    struct fair_clock *clock = q->clock;
    if (n_steps > 1) { /* the first one was counted when it was handed out */
        share_set(job->share, job->priority,
                  job->share->had[job->priority] + evaluations - b->evaluations);
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
    struct lane *lane = job->lane;
    int class = job_magnitude(job->evaluations);
    lane->left[class] -= evaluations;
    lane->served[class] += evaluations;
    band_of(q, lane)->lanes[lane->idx].left -= evaluations;
    band_of(q, lane)->left -= evaluations;
}

void fair_queue_drop(struct fair_queue *q, struct job *job)
{
    uint64_t left = job->evaluations - job->evaluations_done;
    if (job->state == JOB_QUEUED) {
        /* It was before those behind it alone, which is what `served` cannot say. */
        job->lane->served[job_magnitude(job->evaluations)] -= left;
        for (struct job *later = job->ready_next; later; later = later->ready_next) {
            later->turn -= left;
        }
    }
    fair_queue_take(q, job);
    fair_queue_shrink(q, job, left);
}

int fair_queue_move(struct fair_queue *q, struct job *job, struct fair_share *share,
                    enum priority priority)
{
    bool waits = job->is_waiting;
    uint64_t left = job->evaluations - job->evaluations_done;
    struct lane *lane = lane_find(q, share, priority);
    lane = lane ? lane : lane_new(q, share, priority);
    if (!lane) {
        return DN_ENOMEM;
    }
    fair_queue_drop(q, job);
    fair_queue_leave(q, job);
    if (job->state != JOB_QUEUED) {
        /* It goes before those of its new lane that have not begun. */
        int class = job_magnitude(job->evaluations);
        for (struct job *later = lane->jobs.first[class]; later; later = later->ready_next) {
            later->turn += later->state == JOB_QUEUED ? left : 0;
        }
    }
    job->share = share;
    job->priority = priority;
    int rc = fair_queue_enter(q, job);
    assert(rc == 0); /* its lane is there */
    if (waits) {
        fair_queue_put(q, job);
    }
    return rc;
}

void fair_queue_each(struct fair_queue *q, void (*act)(void *arg, struct job *job), void *arg)
{
    size_t n = q->n_jobs;
    for (int p = 0; n > 0; p++) {
        /* From the last, which takes the place of one that goes. */
        for (size_t i = q->bands[p].n_lanes; n > 0 && i > 0; i--) {
            const struct lane *lane = q->bands[p].lanes[i - 1].lane;
            for (struct job *job = lane->jobs.oldest, *newer; job; job = newer) {
                newer = job->newer;
                act(arg, job);
                n--;
            }
        }
    }
}

/* ---- what goes before ----------------------------------------------------------------------- */

/* Of the client's own jobs those that need about as much or less. */
static uint64_t ahead_in_lane(const struct lane *lane, uint64_t evaluations)
{
    uint64_t sum = 0;
    for (int class = 0; class <= job_magnitude(evaluations); class ++) {
        sum += lane->left[class];
    }
    return sum;
}

/* For one of them, which has not begun: of those that need about as much, the ones before it. */
static uint64_t ahead_of_job(const struct job *job)
{
    const struct lane *lane = job->lane;
    int class = job_magnitude(job->evaluations);
    uint64_t smaller = ahead_in_lane(lane, job->evaluations) - lane->left[class];
    assert(job->turn >= lane->served[class]);
    return smaller + (job->turn - lane->served[class]);
}

/* For one of them that has begun: those of which less is left than of it, for it goes first among
 * its like. */
static uint64_t ahead_of_begun(const struct lane *lane, uint64_t left)
{
    int class = job_magnitude(left);
    return ahead_in_lane(lane, left) - lane->left[class];
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

/* Of a client that has `own` to do first: seconds for all that is done until its next evaluations,
 * so many, begin. It had `start`. They are those of `job`, or a new one's where that is NULL. */
static double ahead_of_all(const struct fair_clock *clock, const struct fair_share *share,
                           enum priority priority, uint64_t start, struct work own,
                           uint64_t evaluations, const struct job *job)
{
    const struct lane *its = job ? job->lane : NULL;
    struct work ahead = own, lower = {.evaluations = 0};
    /* The others go first until they had as much as this client will have had then. */
    uint64_t end = start + own.evaluations + evaluations;
    const struct fair_queue *q;
    LIST_FOREACH(q, &clock->queues, link)
    {
        for (int p = 0; p < PRIORITIES; p++) {
            bool has_it = its && its->queue == q && (int)its->priority == p;
            uint64_t left = q->bands[p].left - (has_it ? evaluations : 0);
            work_add(&ahead, q, p < (int)priority ? left : 0);
            work_add(&lower, q, p > (int)priority ? left : 0);
        }
        uint64_t others = 0;
        for (size_t i = 0; i < q->bands[priority].n_lanes; i++) {
            const struct lane_sum *lane = &q->bands[priority].lanes[i];
            bool goes_first = lane->share != share && lane->had < end;
            uint64_t left = lane->left - (lane->lane == its ? evaluations : 0);
            others += goes_first ? minimum(left, end - lane->had) : 0;
        }
        work_add(&ahead, q, others);
    }
    uint64_t owed = (ahead.evaluations + evaluations) / (FAIR_PRIORITY_SHARE - 1);
    if (lower.evaluations > owed) {
        lower.seconds = lower.seconds * (double)owed / (double)lower.evaluations;
    }
    return ahead.seconds + lower.seconds;
}

/* A job's own client has these to do first, where it has the job; another one all that it would
 * have before a new job. */
static uint64_t ahead_of_own(const struct lane *lane, const struct job *job, uint64_t evaluations)
{
    if (!job || lane != job->lane) {
        return ahead_in_lane(lane, evaluations);
    }
    return job->state == JOB_QUEUED ? ahead_of_job(job) : ahead_of_begun(lane, evaluations);
}

static double place_s(const struct fair_clock *clock, const struct job *job,
                      const struct fair_share *share, enum priority priority, uint64_t evaluations)
{
    struct work own = {.evaluations = 0};
    for (const struct lane *lane = share->lanes; lane; lane = lane->share_next) {
        if (lane->priority == priority) {
            work_add(&own, lane->queue, ahead_of_own(lane, job, evaluations));
        }
    }
    uint64_t start = share_start(share, clock, priority);
    return ahead_of_all(clock, share, priority, start, own, evaluations, job);
}

double fair_clock_ahead_s(const struct fair_clock *clock, const struct fair_share *share,
                          enum priority priority, uint64_t evaluations)
{
    return place_s(clock, NULL, share, priority, evaluations);
}

double fair_clock_before_s(const struct fair_clock *clock, const struct job *job,
                           const struct fair_share *share, enum priority priority)
{
    return place_s(clock, job, share, priority, job->evaluations - job->evaluations_done);
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
        free(q->bands[p].lanes);
    }
}
