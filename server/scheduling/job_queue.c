#include "server/scheduling/job_queue.h"

#include <assert.h>

void job_queue_enter(struct job_queue *q, struct job *job)
{
    job->older = q->newest;
    job->newer = NULL;
    *(q->newest ? &q->newest->newer : &q->oldest) = job;
    q->newest = job;
}

void job_queue_leave(struct job_queue *q, struct job *job)
{
    *(job->older ? &job->older->newer : &q->oldest) = job->newer;
    *(job->newer ? &job->newer->older : &q->newest) = job->older;
}

int job_magnitude(uint64_t evaluations)
{
    assert(evaluations > 0);
    return 63 - __builtin_clzll(evaluations);
}

int job_class(const struct job *job)
{
    return job_magnitude(job->evaluations - job->evaluations_done);
}

void job_queue_put(struct job_queue *q, struct job *job)
{
    int class = job_class(job);
    if (job->is_waiting && job->class == class) {
        return;
    }
    job_queue_take(q, job);
    job->is_waiting = true;
    job->class = class;
    bool has_begun = job->state != JOB_QUEUED;
    job->ready_prev = has_begun ? NULL : q->last[class];
    job->ready_next = has_begun ? q->first[class] : NULL;
    *(job->ready_prev ? &job->ready_prev->ready_next : &q->first[class]) = job;
    *(job->ready_next ? &job->ready_next->ready_prev : &q->last[class]) = job;
    q->classes |= UINT64_C(1) << class;
}

void job_queue_take(struct job_queue *q, struct job *job)
{
    int class = job->class;
    if (!job->is_waiting) {
        return;
    }
    *(job->ready_prev ? &job->ready_prev->ready_next : &q->first[class]) = job->ready_next;
    *(job->ready_next ? &job->ready_next->ready_prev : &q->last[class]) = job->ready_prev;
    if (!q->first[class]) {
        q->classes &= ~(UINT64_C(1) << class);
    }
    job->is_waiting = false;
}

struct job *job_queue_first(const struct job_queue *q)
{
    return q->classes ? q->first[__builtin_ctzll(q->classes)] : NULL;
}

struct job *job_queue_oldest(const struct job_queue *q)
{
    struct job *job = q->classes ? q->oldest : NULL;
    while (job && !job->is_waiting) {
        job = job->newer; /* past the few whose rows are all at work or with an encoder */
    }
    return job;
}
