/*
 * The forms in which a finished drawing can be had. Const; any thread.
 */
#ifndef SERVER_DRAWING_FORMS_H
#define SERVER_DRAWING_FORMS_H

#include "server/drawing/drawing.h"

extern const struct form form_json;      /* every image in one document */
extern const struct form form_png;       /* the only image, or the sheet */
extern const struct form form_apng;      /* the same of a film */
extern const struct form form_zip;       /* every picture in an archive */
extern const struct form form_multipart; /* every picture as a part */
extern const struct form form_openai;    /* OpenAI's document */
extern const struct form form_grid;      /* all images as one picture; of a list a still one */
extern const struct form form_image;     /* one image; of a grid a still one */

/* How a picture compares with the drawing, which has it as its claim. */
extern const struct form form_verification;

/* The form that an Accept header asks for by a media type, or NULL. */
const struct form *form_by_type(const char *media_type);

/* NULL if images of these parameters can be had in the form, or the parameter that they cannot be
 * for: a picture is one, and only films have frames. */
const char *form_fault(const struct form *form, const struct sample_params *p);

#endif
