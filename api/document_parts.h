/*
 * Pieces that several of the API's documents have. Each writes `"key":value` into a text, without a
 * comma. Private to api/.
 */
#ifndef API_DOCUMENT_PARTS_H
#define API_DOCUMENT_PARTS_H

#include "api/image.h"
#include "api/params.h"
#include "api/text.h"

void document_put_string(struct text *t, const char *key, const char *value);
void document_put_number(struct text *t, const char *key, double value);
/* Milliseconds to the microsecond. */
void document_put_ms(struct text *t, const char *key, double ms);

void document_put_model_ref(struct text *t, const struct dn_model_info *info);
void document_put_determinism(struct text *t, const struct dn_model_info *info);
/* The resolved parameters: with the model, a request body that draws the same images again. */
void document_put_params(struct text *t, const struct sample_params *p);
/* digest, mime and b64. */
void document_put_png(struct text *t, const struct image *image);
/* With a comma in front. */
void document_put_sheet(struct text *t, const struct sample_params *p, const struct image *sheet);

#endif
