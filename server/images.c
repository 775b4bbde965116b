#include "api/openai.h"
#include "server/forms.h"
#include "server/handlers.h"
#include "server/samples.h"
#include "server/server.h"

void images_create(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    if (r->out_of_memory) {
        drawing_reply_refused(r, ADMISSION_NO_MEMORY);
        return;
    }
    if (openai_params_from_body(&params, &r->server->api, r->body ? r->body : "", r->body_bytes,
                                &problem) != 0) {
        request_reply_problem(r, &problem);
    } else if (samples_draw_seed(r, &params) == 0) {
        samples_start(r, &params, &form_openai, false, "", 0);
    }
}
