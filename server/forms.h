/*
 * The forms in which a finished drawing can be had. Const; any thread.
 */
#ifndef SERVER_FORMS_H
#define SERVER_FORMS_H

#include "server/drawing.h"

extern const struct form form_json;   /* every image in one document */
extern const struct form form_png;    /* the only image, or the sheet */
extern const struct form form_openai; /* OpenAI's document */

#endif
