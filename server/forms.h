/*
 * The forms in which a finished drawing can be had. Const; any thread.
 */
#ifndef SERVER_FORMS_H
#define SERVER_FORMS_H

#include <stdbool.h>

#include "server/drawing.h"

extern const struct form form_json;      /* every image in one document */
extern const struct form form_png;       /* the only image, or the sheet */
extern const struct form form_zip;       /* every picture in an archive */
extern const struct form form_multipart; /* every picture as a part */
extern const struct form form_openai;    /* OpenAI's document */
extern const struct form form_grid;      /* all images as one picture, whatever the layout */
extern const struct form form_image;     /* one image, whatever the layout */

/* The form that an Accept header asks for by a media type, or NULL. */
const struct form *form_by_type(const char *media_type);

/* Can images of these parameters be had in the form? A picture is one. */
bool form_fits(const struct form *form, const struct sample_params *p);

#endif
