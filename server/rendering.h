/*
 * Answers from drawings that have ended, made by a worker thread: documents, archives and pictures
 * that take longer to encode than the loop thread has time for. Loop thread only.
 */
#ifndef SERVER_RENDERING_H
#define SERVER_RENDERING_H

#include "server/drawing.h"

/* Answer `r` with a drawing that has succeeded, in a form; `i` is the image where the form is one
 * image. Suspends the request, or answers that there is no memory. The drawing may lose its other
 * observers meanwhile. */
void rendering_start(struct request *r, struct drawing *d, const struct form *form, size_t i);

#endif
