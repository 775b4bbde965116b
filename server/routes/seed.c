#include "server/routes/seed.h"

#include "server/base/random.h"

int seed_draw(struct request *r, struct sample_params *params)
{
    if (params->has_seed || random_seed(&params->seed) == 0) {
        return 0;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_INTERNAL, "The system has no random numbers to give.");
    request_reply_problem(r, &problem);
    params_free(params);
    return -1;
}
