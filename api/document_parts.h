/*
 * Pieces that several of the API's documents have. Each writes members of an object, without a
 * comma before or behind. Private to api/.
 */
#ifndef API_DOCUMENT_PARTS_H
#define API_DOCUMENT_PARTS_H

#include "api/document.h"
#include "api/image.h"
#include "api/params.h"
#include "api/text.h"

void document_put_string(struct text *t, const char *key, const char *value);
void document_put_number(struct text *t, const char *key, double value);
void document_put_interval(struct text *t, const char *key, struct dn_interval interval);
void document_put_timings(struct text *t, const struct sample_timings *timings);

void document_put_model_ref(struct text *t, const struct dn_model_info *info);
void document_put_determinism(struct text *t, const struct dn_model_info *info);

/* The other names of the model at `model_idx`; none where that is -1. */
void document_put_aliases(struct text *t, const struct api_context *context, int model_idx);

/* model, params and determinism. The params are the resolved ones: with the model, a request body
 * that draws the same images again. */
void document_put_making(struct text *t, const struct sample_params *p);

/* index, label and seed of row `i`. */
void document_put_row(struct text *t, const struct sample_params *p, size_t i);

/* digest and, of one that is encoded, mime and b64. */
void document_put_picture(struct text *t, const struct image *image);

/* rows, columns, height and width of the sheet. */
void document_put_sheet(struct text *t, const struct sample_params *p);

#endif
