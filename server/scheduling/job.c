#include "server/scheduling/job.h"

#include <assert.h>

#define TO(state) (1u << (state))

static const unsigned job_edges[] = {
    [JOB_QUEUED] = TO(JOB_RUNNING) | TO(JOB_FAILED) | TO(JOB_CANCELED),
    [JOB_RUNNING] = TO(JOB_FINISHING) | TO(JOB_FAILED) | TO(JOB_CANCELED),
    [JOB_FINISHING] = TO(JOB_SUCCEEDED) | TO(JOB_FAILED) | TO(JOB_CANCELED),
    [JOB_SUCCEEDED] = 0,
    [JOB_FAILED] = 0,
    [JOB_CANCELED] = 0,
};

void job_move(struct job *job, enum job_state to)
{
    assert(job_edges[job->state] & TO(to));
    job->state = to;
}
