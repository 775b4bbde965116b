/*
 * Server-Sent Events (WHATWG HTML, 9.2): what is told of a drawing while it is at work. As
 * document.h: malloc'd text that the caller frees, or NULL when memory ran out. Any thread.
 */
#ifndef API_EVENT_DOCUMENT_H
#define API_EVENT_DOCUMENT_H

#include "api/document.h"
#include "api/job_document.h"
#include "api/problem.h"

/* Of a stored job's sheet, `id`'s, `is_link` tells the URL instead of the picture.
 * `version` becomes the event's id; 0 is none. */
char *event_started(const struct sample_params *p, const char *id, int64_t created,
                    uint64_t version, size_t *bytes);
char *event_progress(const struct job_progress *progress, uint64_t version, size_t *bytes);
/* The estimate of image `i` after `step`, pixels [H,W,C], as a PNG of scale 1. */
char *event_preview(const struct sample_params *p, uint32_t i, uint32_t step, const uint8_t *pixels,
                    uint64_t version, size_t *bytes);
char *event_image(const struct sample_params *p, uint32_t i, const struct image *image,
                  uint64_t version, size_t *bytes);
char *event_completed(const struct sample_params *p, const char *id, const struct image *sheet,
                      bool is_link, const struct sample_timings *timings, uint64_t version,
                      size_t *bytes);
char *event_error(const struct problem *problem, const char *request_id, uint64_t version,
                  size_t *bytes);

#endif
