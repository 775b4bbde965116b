/*
 * POST /v1/images/generations: the parameters and the answer of OpenAI's Images API. Any thread.
 *
 * Fields that cannot change the result are checked all the same: a value that this server cannot
 * honour is refused, not ignored.
 */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include <stdbool.h>
#include <stddef.h>

#include "api/params.h"

/* Read the body. As params_from_body; faults carry the names of this route's fields. *is_stream
 * says whether the answer is to be events. */
int openai_params_from_body(struct sample_params *p, bool *is_stream,
                            const struct api_context *context, const char *body, size_t bytes,
                            struct problem *problem);

/* A problem in OpenAI's shape. The caller frees; NULL when memory ran out. */
char *openai_error(const struct problem *problem, size_t *bytes);

#endif
