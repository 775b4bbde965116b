#include "server/drawing/refusal.h"

void refusal_set(struct refusal *refusal, const struct studio *studio, enum refusal_kind why)
{
    static const struct {
        enum problem_kind kind;
        enum job_reason reason;
        const char *text;
    } kinds[] = {
        [REFUSED_NO_MEMORY] = {PROBLEM_OUT_OF_MEMORY, REASON_OUT_OF_MEMORY,
                               "There was no memory for the request."},
        [REFUSED_QUEUE_FULL] = {PROBLEM_QUEUE_FULL, REASON_QUEUE_FULL,
                                "There is no room in the queue for this many images now."},
        [REFUSED_QUEUE_PART] = {PROBLEM_QUEUE_FULL, REASON_QUEUE_FULL,
                                "This key has so many images in the queue that the rest of the "
                                "room is kept for others."},
        [REFUSED_FRAMES_FULL] = {PROBLEM_QUEUE_FULL, REASON_QUEUE_FULL,
                                 "There is no room for the frames of this many films now."},
        [REFUSED_CLAIMS_FULL] = {PROBLEM_QUEUE_FULL, REASON_QUEUE_FULL,
                                 "There is no room for the files of this many pictures now."},
        [REFUSED_DRAINING] = {PROBLEM_DRAINING, REASON_DRAINING,
                              "The server finishes its work and shuts down."},
        [REFUSED_JOBS_FULL] = {PROBLEM_JOBS_FULL, REASON_JOBS_FULL,
                               "As many jobs as can be stored are waiting or at work."},
        [REFUSED_JOBS_PART] = {PROBLEM_JOBS_FULL, REASON_JOBS_FULL,
                               "This key has so many jobs that wait or are at work that the rest "
                               "of the room is kept for others."},
    };
    const struct serving *serving = studio->serving;
    problem_set(&refusal->problem, kinds[why].kind, "%s", kinds[why].text);
    metrics_count_job(serving->metrics, OUTCOME_REJECTED, kinds[why].reason);
    refusal->retry_after_s = why == REFUSED_NO_MEMORY ? 0 : scheduler_eta_s(serving->scheduler);
}
