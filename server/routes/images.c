#include "server/routes/images.h"

#include "api/openai.h"
#include "server/drawing/forms.h"
#include "server/routes/events.h"
#include "server/routes/replies.h"
#include "server/routes/samples.h"
#include "server/routes/seed.h"
#include "server/routes/service.h"

void images_create(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    bool is_stream = false;
    if (r->out_of_memory) {
        reply_no_memory(r);
        return;
    }
    int rc = openai_params_from_body(&params, &is_stream, &service_of(r)->serving.api,
                                     r->body ? r->body : "", r->body_bytes, &problem);
    if (rc == 0 && is_stream && r->stored_answer) {
        problem_add(&problem, "/Idempotency-Key", "not with stream true: it cannot be sent again");
        params_free(&params);
        rc = -1;
    }
    if (rc != 0) {
        request_reply_problem(r, &problem);
    } else if (seed_draw(r, &params) != 0) {
        return;
    } else if (is_stream) {
        events_start(r, &params, true);
    } else {
        samples_start(r, &params, &form_openai, false, "", 0);
    }
}
