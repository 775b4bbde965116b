/*
 * The events of a streamed answer to POST /v1/images/generations, in OpenAI's shape. As
 * document.h: malloc'd text that the caller frees, or NULL when memory ran out. Any thread.
 */
#ifndef API_OPENAI_EVENTS_H
#define API_OPENAI_EVENTS_H

#include "api/image.h"
#include "api/problem.h"

/* The estimate of image `i` after `step`, pixels [H,W,C], as a PNG of scale 1. */
char *openai_event_partial(const struct sample_params *p, uint32_t i, uint32_t step,
                           const uint8_t *pixels, int64_t created, size_t *bytes);
char *openai_event_completed(const struct sample_params *p, uint32_t i, const struct image *image,
                             int64_t created, size_t *bytes);
char *openai_event_error(const struct problem *problem, size_t *bytes);
/* After the last one: what tells a whole stream from a broken one. */
char *openai_event_done(size_t *bytes);

#endif
